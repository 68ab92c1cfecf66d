"""The canonical form of a policy, by what docs/POLICY.md says and nothing else: for everybody who wants to check a hash.

    python3 tests/canonical.py POLICY.toml [--pixel-aspect W:H] [--own-detector] [--zones]

prints the form; its SHA-256 is what reports and the evidence log tell (--zones: that of the zones)."""

import re
import struct
import sys
import tomllib

# What the presets stand for: models/README.md. Model, class, longer side, score, keep, least box.
YUNET = [("yunet", "face", (192, 192), 48.0), ("yunet", "face", (320, 320), 32.0)]
PRESETS = {
    "fast": {"most": 800, "score": 0.25, "persons": [(416, 0.1)], "every": 4},
    "balanced": {"most": 1152, "score": 0.25, "persons": [(416, 0.1), (640, 0.1)], "every": 3},
    "careful": {"most": 1920, "score": 0.2, "persons": [(416, 0.1), (640, 0.1), (960, 0.2)], "every": 1},
}
GROW = {"face": 1.16, "person": 1.2}
# Key, default and how a value is written, in the order of the table.
KEYS = [
    ("faces", "fill", "word"),
    ("persons", "off", "word"),
    ("reversible", True, "switch"),
    ("shape", "box", "word"),
    ("color", "#000000", "color"),
    ("cells", 4, "whole"),
    ("hold", "1s", "time"),
    ("speed", 4.0, "number"),
    ("motion_cover", None, "switch"),
    ("tiles", False, "switch"),
    ("detect_every", None, "whole"),
    ("backend", "auto", "word"),
    ("threads", "none", "whole"),
    ("look_ahead", "0s", "time"),
    ("deadline", "none", "time"),
    ("on_deadline", "obscure", "word"),
    ("max_gap", "500ms", "time"),
    ("max_exposure", "none", "time"),
    ("ladder", [], "words"),
    ("self_test", "300s", "time"),
]


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def single(x):
    """The shortest decimal that reads back as the same single-precision number, with nine digits after the point."""
    bits = struct.pack("f", x)
    for digits in range(1, 10):
        short = float(f"{x:.{digits}g}")
        if struct.pack("f", short) == bits:
            return f"{short:.9f}"
    return f"{x:.9f}"


def nanoseconds(value):
    """A time in whole nanoseconds: a number of seconds, or text."""
    if isinstance(value, str):
        number, unit = re.fullmatch(r"([0-9.]+)(ms|s)", value).groups()
        value = float(number) * (0.001 if unit == "ms" else 1.0)
    return round(value * 1_000_000_000)


def seconds(value):
    return f"{nanoseconds(value) // 1_000_000_000}.{nanoseconds(value) % 1_000_000_000:09d}"


def written(value, kind):
    if value == "none" or (kind == "time" and value == "off"):
        return quoted(value)
    return {
        "word": lambda: quoted(value),
        "words": lambda: "[" + ", ".join(map(quoted, value)) + "]",
        "switch": lambda: str(value).lower(),
        "color": lambda: quoted(value.lower()),
        "whole": lambda: str(value),
        "number": lambda: single(value),
        "time": lambda: seconds(value),
    }[kind]()


def classes(policy):
    styles = {"face": policy.get("faces", "fill"), "person": policy.get("persons", "off")}
    return [name for name, style in styles.items() if style != "off"]


def passes(policy, preset):
    """The passes over a picture: model, class, bounds of the longer side, score, keep, least box, tile."""
    stands_for, found = PRESETS[preset], []
    if "face" in classes(policy):
        score = policy.get("min_score", stands_for["score"])
        if policy.get("tiles"):
            found = [("yunet", "face", (320, 320), score, 0.4, 0.0, None), ("yunet", "face", (640, 1920), score, 0.4, 0.0, (640, 640))]
        else:
            found = [(model, name, side, score, 0.4, least, None) for model, name, side, least in YUNET]
            found.append(("yunet", "face", (640, stands_for["most"]), score, 0.4, 0.0, None))
            if preset == "careful":
                found.append(("centerface", "face", (640, 1280), policy.get("min_score", 0.12), 0.4, 0.0, None))
    persons = []
    if "person" in classes(policy):
        persons = [("yolox-nano", "person", (side, side), score, 0.5, 0.0, None) for side, score in stands_for["persons"]]
    # With tiles, those of faces come last.
    return persons + found if policy.get("tiles") and "face" in classes(policy) else found + persons


def keys(policy):
    preset = policy.get("preset", "balanced")
    tiled = policy.get("tiles", False) and "face" in classes(policy)
    implied = {
        "motion_cover": preset == "careful" or policy.get("tiles", False),
        "detect_every": 1 if tiled else PRESETS[preset]["every"],
    }
    lines = []
    for key, default, kind in KEYS:
        value = policy.get(key, implied.get(key, default))
        if key == "max_gap" and "max_exposure" in policy:
            value = min(value, policy["max_exposure"], key=nanoseconds)
        lines.append(f"{key} = {written(value, kind)}")
    for name, own in GROW.items():
        grow = single(policy.get("grow", own)) if name in classes(policy) else quoted("none")
        lines.append(f"grow_{name} = {grow}")
    return lines


def looks(policy):
    lines = []
    ladder = [("rung", rung) for rung in policy.get("ladder", [])]
    moving, stills = policy.get("preset", "balanced"), policy.get("preset", "careful")
    for of, preset in [("moving", moving), ("stills", stills)] + ladder:
        lines += ["", "[[look]]", f"of = {quoted(of)}", f"preset = {quoted(preset)}"]
        for model, name, (least, most), score, keep, min_box, tile in passes(policy, preset):
            lines += [
                "[[look.pass]]",
                f"model = {quoted(model)}",
                f"class = {quoted(name)}",
                f"long_side = [{least}, {most}]",
                f"score = {single(score)}",
                f"keep = {single(keep)}",
                f"min_box = {single(min_box)}",
                "tile = " + (f"[{tile[0]}, {tile[1]}]" if tile else quoted("none")),
            ]
    return lines


def zones(policy):
    lines = []
    for zone in policy.get("zone", []):
        if not zone.get("enabled", True):
            continue
        style = zone.get("style", "fill")
        lines += ["", "[[zone]]", f"name = {quoted(zone['name'])}", f"inverted = {str(zone.get('inverted', False)).lower()}"]
        lines.append(f"style = {quoted(style)}")
        if style == "fill":
            lines.append(f"color = {quoted(zone.get('color', policy.get('color', '#000000')).lower())}")
        else:
            lines.append(f"cells = {zone.get('cells', policy.get('cells', 4))}")
        corners = ", ".join(f"[{x:.9f}, {y:.9f}]" for x, y in zone["area"])
        lines.append(f"corners = [{corners}]")
    return lines


def main(arguments):
    with open(arguments[0], "rb") as file:
        policy = tomllib.load(file)
    lines = []
    if "--zones" not in arguments:
        aspect = arguments[arguments.index("--pixel-aspect") + 1] if "--pixel-aspect" in arguments else "as told"
        lines = ["canonical = 1", *keys(policy), f"pixel_aspect = {quoted(aspect)}"]
        lines += ['detector = "own"'] if "--own-detector" in arguments else looks(policy)
    lines += zones(policy)
    sys.stdout.write("".join(line + "\n" for line in lines))


main(sys.argv[1:])
