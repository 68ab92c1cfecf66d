#!/usr/bin/env python3
"""The attacking half of reidentify.sh, which prepares what this needs; run that.

Several people, several clips of each. Every clip in turn is left out; the attacker learns from the others who is who and says
of each frame of the one left out who it is. It is given what is inside the hidden region and nothing else ("inside"), or
where the region is and how large ("place"). Several simple classifiers attack; the best one counts, as it would for an
attacker. The clips are short and few: a figure is good to about a tenth.
"""
import argparse
import json
import os
import subprocess
import sys
import warnings

import numpy as np
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tables import table

EVERY = 2                 # of the frames; neighbours are all but the same picture
MARK = (1, 254, 2)        # a colour that no clip holds
NEAR = 12                 # how far decoding moves it
RAW, PLAIN, PADDED = 0.80, 0.70, 0.50
STYLES = {
    'pixelate, 4 cells': ['--faces', 'pixelate', '--cells', '4'],
    'pixelate, 2 cells': ['--faces', 'pixelate', '--cells', '2'],
    'blur, 4 cells': ['--faces', 'blur', '--cells', '4'],
}
FILL = ['--faces', 'fill', '--color', '#%02x%02x%02x' % MARK]


def frames(path):
    """Every EVERYth frame as RGB."""
    probe = ['ffprobe', '-v', 'error', '-select_streams', 'v:0', '-show_entries', 'stream=width,height', '-of', 'csv=p=0', path]
    width, height = map(int, subprocess.check_output(probe, text=True).strip().split(',')[:2])
    decode = ['ffmpeg', '-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-']
    data = np.frombuffer(subprocess.check_output(decode), np.uint8)
    return data.reshape(-1, height, width, 3)[::EVERY]


class Redacted:
    """The clips as the program lets them out, without loss by an encoder. All at once: the models are loaded once."""

    def __init__(self, clips, folder, flags):
        self.folder = folder
        command = [os.environ['MILKGLASS'], '-q', 'redact', *clips, '-o', folder, '--lossless', '--overwrite', *flags]
        if subprocess.run(command).returncode != 0:
            sys.exit(f'reidentify: milkglass could not redact the clips with {" ".join(flags)}')

    def frames(self, name):
        return frames(os.path.join(self.folder, name + '.mkv'))


def region(frame):
    """The uppermost rectangle in the marker colour, as (x0, y0, x1, y1): the face's. Hands and what is printed on clothes are
    taken for faces too, below it. None without one."""
    mask = (np.abs(frame.astype(np.int16) - MARK) <= NEAR).all(axis=2)
    rows = np.flatnonzero(mask.sum(axis=1) >= 8)
    if not len(rows):
        return None
    # Two rows lower: at an edge the colour of two rows is mixed.
    top = min(rows[0] + 2, len(mask) - 1)
    runs, count = ndimage.label(mask[top])
    lengths = ndimage.sum_labels(mask[top], runs, range(1, count + 1))
    columns = np.flatnonzero(runs == 1 + np.argmax(lengths))
    x0, x1 = columns[0], columns[-1] + 1
    # Down to where it ends, or where another region begins to touch it.
    beside = [x for x in (x0 - 3, x1 + 2) if 0 <= x < mask.shape[1]]
    below = mask[top:, x0 + 2:x1 - 2].all(axis=1) & ~mask[top:, beside].any(axis=1)
    ends = np.flatnonzero(~below)
    return x0, rows[0], x1, top + (ends[0] if len(ends) else len(below))


def share(frame):
    return (np.abs(frame.astype(np.int16) - MARK) <= NEAR).all(axis=2).mean()


def means(picture, rows, columns):
    """A picture as the means of so many cells."""
    ys = np.linspace(0, picture.shape[0], rows + 1).astype(int)
    xs = np.linspace(0, picture.shape[1], columns + 1).astype(int)
    return np.array([[picture[a:max(b, a + 1), c:max(d, c + 1)].mean((0, 1)) for c, d in zip(xs, xs[1:])]
                     for a, b in zip(ys, ys[1:])])


def inside(frame, box):
    """What a region shows: its colours, its brightness without light and contrast, and which way its edges run."""
    x0, y0, x1, y1 = box
    crop = frame[y0:y1, x0:x1].astype(float) / 255
    colours = means(crop, 10, 8)
    gray = means(crop, 40, 32).mean(axis=2)
    level = (gray - gray.mean()) / (gray.std() + 1e-6)
    dy, dx = np.gradient(gray)
    angle, strength = np.arctan2(dy, dx) % np.pi / np.pi * 8, np.hypot(dx, dy)
    edges = np.stack([strength * (angle.astype(int) % 8 == k) for k in range(8)], axis=2)
    edges = edges.reshape(5, 8, 4, 8, 8).sum((1, 3))
    return {
        'colours': colours.ravel(),
        'brightness': means(level[:, :, None], 20, 16).ravel(),
        'edges': np.sqrt(edges / (np.linalg.norm(edges) + 1e-6)).ravel(),
    }


def place(box, size):
    x0, y0, x1, y1 = box
    height, width = size
    return {'place': np.array([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height])}


ATTACKERS = {
    'support vectors': lambda: make_pipeline(StandardScaler(), SVC(C=3)),
    'discriminants': lambda: make_pipeline(StandardScaler(), PCA(0.98, whiten=True, random_state=0), LinearDiscriminantAnalysis()),
    'random forest': lambda: RandomForestClassifier(100, random_state=0),
}


def attack(seen, people, clips):
    """The share of frames that the best attacker is right about, and which it was."""
    best = (0.0, 'nobody')
    for kind in seen[0]:
        data = np.array([s[kind] for s in seen])
        for name, make in ATTACKERS.items():
            right = np.zeros(len(people), bool)
            for clip in np.unique(clips):
                out = clips == clip
                right[out] = make().fit(data[~out], people[~out]).predict(data[out]) == people[out]
            best = max(best, (right.mean(), f'{name}, by {kind}'))
    return best


def read_labels(path, folder):
    with open(path) as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith('#')]
    if any(len(row) != 2 for row in rows):
        sys.exit(f'reidentify: {path}: a line is the name of a clip and a letter')
    labels = {name: person for name, person in rows if os.path.exists(os.path.join(folder, name + '.mkv'))}
    without = sorted({f[:-4] for f in os.listdir(folder) if f.endswith('.mkv')} - set(labels))
    if without:
        print(f'nobody says who is in {", ".join(without)}: left out (add a line to {path})', file=sys.stderr)
    if len(set(labels.values())) < 2:
        sys.exit(f'reidentify: {path} names fewer than two people of {folder}')
    return labels


def main():
    warnings.filterwarnings('ignore')
    parser = argparse.ArgumentParser()
    for flag in ('--clips', '--labels', '--work'):
        parser.add_argument(flag, required=True)
    parser.add_argument('--draws', type=int, default=5)
    parser.add_argument('--json')
    args = parser.parse_args()
    labels = read_labels(args.labels, args.clips)
    paths = {name: os.path.join(args.clips, name + '.mkv') for name in labels}

    def redacted(what, flags):
        print(f'reidentify: {what}', file=sys.stderr)
        return Redacted(paths.values(), os.path.join(args.work, what.replace(' ', '-')), flags)

    plain = redacted('fill', FILL)
    shown = {style: redacted(style, flags) for style, flags in STYLES.items()}
    wide = [redacted(f'padded {i}', [*FILL, '--shape', 'padded']) for i in range(args.draws)]
    seen = {name: [] for name in ['bare', 'place', 'fill', *STYLES]}
    padded = [[] for _ in range(args.draws)]
    people, clips, hidden, hidden_padded, unseen = [], [], [], [], 0
    for name, person in labels.items():
        bare, filled = frames(paths[name]), plain.frames(name)
        styles = {style: clips_of.frames(name) for style, clips_of in shown.items()}
        drawn = [draw.frames(name) for draw in wide]
        for i, frame in enumerate(bare):
            box, boxes = region(filled[i]), [region(d[i]) for d in drawn]
            if box is None or None in boxes:
                unseen += 1
                continue
            people.append(person)
            clips.append(name)
            seen['bare'].append(inside(frame, box))
            seen['fill'].append(inside(filled[i], box))
            seen['place'].append(place(box, frame.shape[:2]))
            for style, pictures in styles.items():
                seen[style].append(inside(pictures[i], box))
            for rows, box in zip(padded, boxes):
                rows.append(place(box, frame.shape[:2]))
            hidden.append(share(filled[i]))
            hidden_padded.append(np.mean([share(d[i]) for d in drawn]))

    people, clips = np.array(people), np.array(clips)
    chance = max(np.mean(people == p) for p in np.unique(people))
    results = {what: attack(rows, people, clips) for what, rows in seen.items()}
    draws = [attack(rows, people, clips) for rows in padded]
    worst, mean = max(draws), np.mean([d[0] for d in draws])

    print(f'{len(np.unique(people))} people, {len(labels)} clips, {len(people)} frames '
          f'({unseen} more in which nothing was hidden); always the most frequent person: {chance:.2f}\n')
    names = {'bare': 'bare face', 'fill': 'fill, inside', 'place': 'fill, place and size of the box'}
    rows = [[names.get(what, what), f'{right:.2f}', by] for what, (right, by) in results.items()]
    rows.append(['fill, shape = "padded", place and size: mean', f'{mean:.2f}', f'{args.draws} draws'])
    rows.append(['the draw that tells the most', f'{worst[0]:.2f}', worst[1]])
    print(table(['what the attacker sees', 'right', 'the best attacker'], rows))
    area, area_padded = np.mean(hidden), np.mean(hidden_padded)
    print(f'share of the picture hidden: {area:.3f} plain, {area_padded:.3f} padded, {area_padded / area:.1f} times\n')

    bars = [
        ('bare faces: the attack is worth something', results['bare'][0], '>=', RAW),
        ('plain boxes: the attack is worth something', results['place'][0], '>=', PLAIN),
        ('padded, the draw that tells the most', worst[0], '<=', PADDED),
    ]
    held = [value >= bar if way == '>=' else value <= bar for _, value, way, bar in bars]
    verdicts = [[what, f'{value:.2f}', f'{way} {bar:.2f}', 'pass' if ok else '**miss**']
                for (what, value, way, bar), ok in zip(bars, held)]
    print(table(['bar', 'measured', 'wanted', 'verdict'], verdicts))
    if args.json:
        with open(args.json, 'w') as file:
            json.dump({'frames': len(people), 'clips': len(labels), 'chance': chance, 'area': area, 'area_padded': area_padded,
                       'right': {what: right for what, (right, _) in results.items()},
                       'padded': [right for right, _ in draws]}, file, indent=1)
    sys.exit(not all(held))


main()
