"""Who is behind a region: the classifiers of reidentify.py, and how one is chosen without a look at the clip under test."""
import itertools

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


# In the order in which they are believed where they do equally well.
ATTACKERS = {
    'discriminants': lambda: scaled(PCA(0.98, whiten=True, random_state=0),
                                    LinearDiscriminantAnalysis(solver='lsqr', shrinkage=0.1)),
    'support vectors': lambda: scaled(SVC(C=3)),
    'neighbours': lambda: scaled(KNeighborsClassifier(9, weights='distance')),
    'trees': lambda: ExtraTreesClassifier(50, min_samples_leaf=3, random_state=0),
}


def attack(rows):
    """Tells who is behind each region. `rows` are (person, clip, draw, {kind: features}); a draw is one redaction of all clips.

    Every clip in turn is under test. The attacker learns from the others, in all of their draws, as somebody could who has the
    program and pictures of these people. By what and with which classifier, that too the others decide: each of them is left
    out in turn, and whatever tells most of them is used. Clips of people who have no other are learnt from, never tested.

    Returns the share that is right in each draw, the same for whatever would have been best on average had the clips under
    test decided, and how often what was chosen."""
    people, clips, draws = (np.array([row[i] for row in rows]) for i in range(3))
    names = list(dict.fromkeys(clips))
    person = {name: people[clips == name][0] for name in names}
    several = [name for name in names if sum(p == person[name] for p in person.values()) > 1]
    ways = list(itertools.product(rows[0][3], ATTACKERS))
    # With two clips left out, one is under test and the other one chooses: one fit serves both.
    outs = [frozenset(o) for n in (1, 2) for o in itertools.combinations(several, n)]
    right = {}
    for kind, classifier in ways:
        data = np.array([row[3][kind] for row in rows])
        for out in outs:
            without = np.isin(clips, list(out))
            told = ATTACKERS[classifier]().fit(data[~without], people[~without]).predict(data[without])
            right[kind, classifier, out] = dict(zip(np.flatnonzero(without), told == people[without]))

    def share(way, clip, others=()):
        """Of one clip, with it and others left out."""
        answers = right[*way, frozenset((clip, *others))]
        return np.mean([answers[i] for i in np.flatnonzero(clips == clip)])

    chosen = {}
    for test in several:
        known = [person[name] for name in names if name != test]
        judges = [name for name in several if name != test and known.count(person[name]) > 1]
        chosen[test] = max(ways, key=lambda way: np.mean([share(way, judge, (test,)) for judge in judges]))

    def by_draw(way_for):
        tested = [(i, right[*way_for(clip), frozenset((clip,))][i]) for clip in several for i in np.flatnonzero(clips == clip)]
        return [np.mean([ok for i, ok in tested if draws[i] == draw]) for draw in np.unique(draws)]

    hindsight = max((by_draw(lambda _, way=way: way) for way in ways), key=np.mean)
    counts = {way: list(chosen.values()).count(way) for way in set(chosen.values())}
    return by_draw(chosen.get), hindsight, max(counts, key=counts.get)
