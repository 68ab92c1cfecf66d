#!/usr/bin/env python3
"""The attacking half of reidentify.sh, which prepares what this needs; run that.

Several people, several clips of each. The attacker is given what is inside the hidden region of a head ("inside"), or where
that region is and how large ("place"), or the place of all that is hidden, with hands and shirts that were taken for faces
("everything"); attackers.py says how it learns and is tested. The clips are short and few: a figure is good to about a tenth.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import warnings

import numpy as np

from attackers import attack
from tables import table

EVERY = 4                 # of the frames; neighbours are all but the same picture
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


def regions(clips, file, flags):
    """What the program hides of every EVERYth frame, to the pixel: {clip: [[(x0, y0, x1, y1), ...], ...]}. An attacker would
    read it off the picture; this one is told even where regions overlap."""
    command = [os.environ['MILKGLASS'], '-q', 'detect', *clips, '--json', file, *flags]
    if subprocess.run(command).returncode != 0:
        sys.exit(f'reidentify: milkglass could not look at the clips with {" ".join(flags)}')
    found = collections.defaultdict(list)
    with open(file) as lines:
        for row in map(json.loads, lines):
            name = os.path.splitext(os.path.basename(row['image']))[0]
            found[name].append([(x, y, x + w, y + h) for x, y, w, h in row['regions']])
    return {name: rows[::EVERY] for name, rows in found.items()}


def head(boxes):
    """The head's region: of all the one whose middle is highest. Hands and shirts are below it."""
    return min(boxes, key=lambda box: box[1] + box[3], default=None)


def hidden(boxes, size):
    mask = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def as_written(frame, boxes):
    """The share of the picture in which what is told of the regions and what was written agree."""
    marked = (np.abs(frame.astype(np.int16) - MARK) <= NEAR).all(axis=2)
    return (marked == hidden(boxes, marked.shape)).mean()


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


def of_clip(features):
    """The median over a clip, for each of its frames: what an attacker has who watches all of it."""
    return np.repeat(np.median(features, axis=0)[None], len(features), axis=0)


def places(clip, size):
    """Of each frame of a clip: features of where the head's region is, and of where everything is that is hidden."""
    height, width = size
    x0, y0, x1, y1 = (np.array([head(boxes) for boxes in clip]) / (width, height, width, height)).T
    box = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], axis=1)
    place = {
        'box': box,
        'edges over the clip': of_clip(np.stack([x0, y0, x1, y1], axis=1)),
        'size over the clip': of_clip(np.log(box[:, 2:])),
    }
    # A map of the clip, and how many regions there are.
    cells = np.mean([means(hidden(boxes, size)[:, :, None], 12, 16).ravel() for boxes in clip], axis=0)
    everything = np.append(cells, np.mean([len(boxes) for boxes in clip]))
    rows = [{kind: features[i] for kind, features in place.items()} for i in range(len(clip))]
    return rows, [{'map of the clip': everything}] * len(clip)


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
    told = [regions(paths.values(), os.path.join(args.work, 'plain.json'), [])]
    for draw in range(args.draws):
        print(f'reidentify: padded {draw}', file=sys.stderr)
        told.append(regions(paths.values(), os.path.join(args.work, f'{draw}.json'), ['--shape', 'padded']))

    seen = {what: [] for what in ['bare', *STYLES, 'fill', 'place', 'everything', 'padded', 'padded everything']}
    areas, agree, unseen = ([], []), [], 0
    for name, person in labels.items():
        bare, filled = frames(paths[name]), plain.frames(name)
        styles = {style: clips.frames(name) for style, clips in shown.items()}
        size = bare[0].shape[:2]
        kept = [i for i in range(len(bare)) if all(draw[name][i] for draw in told)]
        unseen += len(bare) - len(kept)
        for draw, found in enumerate(told):
            clip = [found[name][i] for i in kept]
            areas[draw > 0].extend(hidden(boxes, size).mean() for boxes in clip)
            for what, rows in zip(('place', 'everything'), places(clip, size)):
                row_of = what if draw == 0 else f'padded {what}'.removesuffix(' place')
                seen[row_of] += [(person, name, draw, row) for row in rows]
        for i in kept:
            agree.append(as_written(filled[i], told[0][name][i]))
            box = head(told[0][name][i])
            for what, pictures in (('bare', bare), ('fill', filled), *styles.items()):
                seen[what].append((person, name, 0, inside(pictures[i], box)))
    if min(agree) < 0.98:
        sys.exit(f'reidentify: of a frame {1 - min(agree):.3f} is not as `milkglass detect` tells, so nothing here counts')

    print('reidentify: attacking', file=sys.stderr)
    results = {what: attack(rows) for what, rows in seen.items()}
    several = [row[0] for row in seen['bare'] if len({r[1] for r in seen['bare'] if r[0] == row[0]}) > 1]
    chance = max(several.count(person) for person in set(several)) / len(several)
    print(f'{len(set(labels.values()))} people, {len(labels)} clips; tested on {len(set(several))} people, '
          f'who have several clips, {len(several)} frames ({unseen} more in which nothing was hidden); always the most frequent person: {chance:.2f}\n')
    names = {'bare': 'bare face', 'fill': '`fill`, inside', 'place': '`fill`, place and size of the box',
             'everything': '`fill`, place of everything hidden', 'padded': '`shape = "padded"`, place and size',
             'padded everything': '`shape = "padded"`, place of everything hidden'}
    rows = []
    for what, (right, hindsight, way) in results.items():
        most = f'{max(right):.2f}' if len(right) > 1 else ''
        figures = [f'{np.mean(right):.2f}', most, f'{np.mean(hindsight):.2f}']
        rows.append([names.get(what, what), *figures, f'{way[1]}, by {way[0]}'])
    print(table(['what the attacker sees', 'right', f'most of {args.draws} draws', 'best in hindsight', 'mostly chosen'], rows))
    area, area_padded = map(np.mean, areas)
    print(f'share of the picture hidden: {area:.3f} plain, {area_padded:.3f} padded, {area_padded / area:.1f} times\n')

    bars = [
        ('bare faces: the attack is worth something', results['bare'][0][0], '>=', RAW),
        ('plain boxes: the attack is worth something', results['place'][0][0], '>=', PLAIN),
        ('padded, mean of the draws', np.mean(results['padded'][0]), '<=', PADDED),
        ('padded, the draw that tells the most', max(results['padded'][0]), '<=', PADDED),
    ]
    held = [value >= bar if way == '>=' else value <= bar for _, value, way, bar in bars]
    verdicts = [[what, f'{value:.2f}', f'{way} {bar:.2f}', 'pass' if ok else '**miss**']
                for (what, value, way, bar), ok in zip(bars, held)]
    print(table(['bar', 'measured', 'wanted', 'verdict'], verdicts))
    if args.json:
        with open(args.json, 'w') as file:
            json.dump({'frames': len(several), 'clips': len(labels), 'chance': chance, 'area': area, 'area_padded': area_padded,
                       'agree': min(agree), 'right': {what: right for what, (right, _, _) in results.items()},
                       'hindsight': {what: best for what, (_, best, _) in results.items()}}, file, indent=1)
    sys.exit(not all(held))


main()
