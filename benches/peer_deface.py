#!/usr/bin/env python3
"""Runs the peer, deface, with its defaults, and writes down what it would cover.

    peer_deface.py boxes LABELS.jsonl OUT_DIR        one file of predictions per shape, for the scorer
    peer_deface.py speed CLIP FRAMES                 frames per second of its detection alone, as JSON

`boxes` writes three files, each a row per labelled picture:
    shipped.jsonl    run lengths of the pixels that deface changes with its default settings (ellipses)
    boxes.jsonl      the same with its option --boxes (rectangles)
    raw.jsonl        its boxes alone, not enlarged, for other readings of the mask scale
The pixels come from deface's own drawing code. Its mask scale of 1.3 adds 30 % on EACH side, 1.6 times the width in all.
"""
import json
import os
import sys
import time
from unittest import mock

import imageio.v2 as iio
import numpy as np
from deface.centerface import CenterFace
from deface.deface import anonymize_frame

THRESHOLD = 0.2
MASK_SCALE = 1.3


def detector():
    found = CenterFace(in_shape=None, backend='auto')
    if found.backend != 'onnxrt':
        sys.exit('deface fell back to its slower backend: onnx and onnxruntime must both be installed')
    return found


def covered(dets, shape, ellipse):
    """The pixels deface changes. Its blur is replaced by white paint; where it blurs stays its own affair."""
    canvas = np.zeros((*shape[:2], 3), np.uint8)
    with mock.patch('cv2.blur', lambda roi, _size: np.full_like(roi, 255)):
        for det in dets:
            # One at a time: a box wholly outside the picture has no pixels to blur, and deface would stop there.
            try:
                anonymize_frame([det], canvas, mask_scale=MASK_SCALE, replacewith='blur', ellipse=ellipse,
                                draw_scores=False, replaceimg=None, mosaicsize=20)
            except (ValueError, IndexError):
                pass
    return canvas[:, :, 0] > 0


def run_lengths(mask):
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.r_[0, edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def boxes(labels, out):
    os.makedirs(out, exist_ok=True)
    base = os.path.dirname(os.path.abspath(labels))
    face_finder = detector()
    with open(labels) as f:
        rows = [json.loads(line) for line in f if line.strip()]
    names = ['shipped', 'boxes', 'raw']
    files = {name: open(os.path.join(out, name + '.jsonl'), 'w') for name in names}
    for row in rows:
        picture = iio.imread(os.path.join(base, row['image']))
        dets, _ = face_finder(picture, threshold=THRESHOLD)
        faces = [[float(v) for v in (x0, y0, x1 - x0, y1 - y0, score)] for x0, y0, x1, y1, score in dets]
        common = {key: row[key] for key in ('image', 'frame', 'video') if key in row} | {'faces': faces}
        extra = {
            'shipped': {'rle': run_lengths(covered(dets, picture.shape, True))},
            'boxes': {'rle': run_lengths(covered(dets, picture.shape, False))},
            'raw': {},
        }
        for name in names:
            files[name].write(json.dumps(common | extra[name]) + '\n')
    for file in files.values():
        file.close()


def speed(clip, count):
    face_finder = detector()
    frames = []
    with iio.get_reader(clip) as reader:
        for frame in reader:
            frames.append(frame)
            if len(frames) > count:
                break
    face_finder(frames[0], threshold=THRESHOLD)
    began = time.perf_counter()
    for frame in frames[1:]:
        face_finder(frame, threshold=THRESHOLD)
    print(json.dumps({'frames': len(frames) - 1, 'frames_per_second': (len(frames) - 1) / (time.perf_counter() - began)}))


if __name__ == '__main__':
    match sys.argv[1:]:
        case ['boxes', labels, out]:
            boxes(labels, out)
        case ['speed', clip, count]:
            speed(clip, int(count))
        case _:
            sys.exit(__doc__)
