//! A policy that its owner signed, and every way to weaken it: for the engine's test and for the C interface's.

/// The policy that the owner signed.
pub const OWNERS: &str = r##"
preset = "balanced"
faces = "pixelate"
persons = "blur"
shape = "padded"
color = "#202020"
cells = 4
min_score = 0.2
grow = 1.3
hold = "1s"
speed = 4.0
detect_every = 3
backend = "auto"
threads = 2
look_ahead = "100ms"
deadline = "600ms"
on_deadline = "obscure"
max_gap = "300ms"
max_exposure = "400ms"
motion_cover = true

[[zone]]
name = "window"
area = [[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]

[[zone]]
name = "street"
area = [[0, 0.8], [0.5, 0.7], [0.5, 1], [0, 1]]
style = "pixelate"
cells = 3

[[zone]]
name = "desk"
area = [[0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]]
inverted = true
"##;

/// Every way to weaken it: what is replaced by what, and the key that must be named.
pub const WEAKER: &[(&str, &str, &str)] = &[
    ("preset = \"balanced\"", "preset = \"fast\"", "preset"),
    ("faces = \"pixelate\"", "faces = \"off\"", "faces"),
    ("persons = \"blur\"", "persons = \"off\"", "persons"),
    ("persons = \"blur\"", "", "persons"),
    ("shape = \"padded\"", "shape = \"box\"", "shape"),
    ("shape = \"padded\"", "", "shape"),
    ("color = \"#202020\"", "color = \"#ffffff\"", "color"),
    ("color = \"#202020\"", "", "color"),
    ("cells = 4\n", "cells = 5\n", "cells"),
    ("min_score = 0.2", "min_score = 0.21", "min_score"),
    ("min_score = 0.2", "", "min_score"),
    ("grow = 1.3", "grow = 1.29", "grow"),
    ("grow = 1.3", "", "grow"),
    ("hold = \"1s\"", "hold = \"999ms\"", "hold"),
    ("speed = 4.0", "speed = 3.9", "speed"),
    ("detect_every = 3", "detect_every = 4", "detect_every"),
    ("backend = \"auto\"", "backend = \"rten\"", "backend"),
    ("threads = 2", "threads = 1", "threads"),
    ("threads = 2", "", "threads"),
    ("look_ahead = \"100ms\"", "look_ahead = \"99ms\"", "look_ahead"),
    ("look_ahead = \"100ms\"", "", "look_ahead"),
    ("deadline = \"600ms\"", "deadline = \"700ms\"", "deadline"),
    ("deadline = \"600ms\"", "", "deadline"),
    ("on_deadline = \"obscure\"", "on_deadline = \"drop\"", "on_deadline"),
    ("max_gap = \"300ms\"", "max_gap = \"301ms\"", "max_gap"),
    ("max_gap = \"300ms\"", "", "max_gap"),
    ("max_exposure = \"400ms\"", "max_exposure = \"401ms\"", "max_exposure"),
    ("max_exposure = \"400ms\"", "", "max_exposure"),
    ("motion_cover = true", "motion_cover = false", "motion_cover"),
    ("motion_cover = true", "", "motion_cover"),
    ("motion_cover = true", "motion_cover = true\ntiles = true", "tiles"),
    ("motion_cover = true", "motion_cover = true\nself_test = \"off\"", "self_test"),
    ("max_exposure = \"400ms\"", "max_exposure = \"400ms\"\nladder = [\"fast\"]", "ladder"),
    ("name = \"window\"", "name = \"windows\"", "zone"),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.49], [0.6, 0.5]]",
        "zone.area",
    ),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.5, 0.1], [0.8, 0.1], [0.8, 0.5], [0.5, 0.5]]",
        "zone.area",
    ),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]\nenabled = false",
        "zone.enabled",
    ),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]\nstyle = \"blur\"",
        "zone.area",
    ),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]\ncolor = \"#ff0000\"",
        "zone.color",
    ),
    (
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]",
        "[[0.6, 0.1], [0.9, 0.1], [0.9, 0.5], [0.6, 0.5]]\ninverted = true",
        "zone.area",
    ),
    ("cells = 3", "cells = 4", "zone.area"),
    ("cells = 3", "", "zone.area"),
    ("[0.95, 0.95], [0.05, 0.95]]", "[0.96, 0.96], [0.05, 0.95]]", "zone.area"),
    ("inverted = true", "", "zone.area"),
    (
        "inverted = true",
        "inverted = true\n[[zone]]\nname = \"peephole\"\narea = [[0, 0], [0.04, 0], [0.04, 0.04]]\ninverted = true",
        "zone.area",
    ),
];
