//! Pictures as they must be, and honest starts. What must be refused: tests/admission.rs.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::detect::backend::Backend;
use crate::detect::pass_input::PassInput;
use crate::detect::{ModelStore, Settings};
use crate::policy::{BackendChoice, Preset};

/// Every pass that any preset has, with and without tiles, and what is asked of it, each once.
fn every_pass(backend: BackendChoice) -> Ensemble {
    let mut all = Settings { passes: Vec::new(), ..Preset::Fast.settings(&[]) };
    let asked = |p: &Pass| (p.model.clone(), p.class, size(p), p.tile, p.min_box, p.score);
    for preset in [Preset::Fast, Preset::Balanced, Preset::Careful] {
        let settings = preset.settings(&Class::ALL);
        for pass in settings.clone().in_tiles().passes.into_iter().chain(settings.passes) {
            if !all.passes.iter().any(|p| asked(p) == asked(&pass)) {
                all.passes.push(pass);
            }
        }
    }
    let store = ModelStore::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
    let backend = Backend::choose(backend, 1).unwrap();
    Ensemble::load_unasked(&store, &backend, &all).unwrap()
}

/// One attempt each. Run it with 1,000 when a picture, a model, a preset or the letterbox changes; one in twenty of them
/// with rten.
#[test]
fn honest_starts_are_admitted_wherever_everybody_stands() {
    let starts: u64 = std::env::var("MILKGLASS_ADMISSIONS").map_or(2, |n| n.parse().unwrap());
    // All of them are told, since a run of 1,000 takes long.
    let mut failures = Vec::new();
    for (backend, starts) in [(BackendChoice::Auto, starts), (BackendChoice::Rten, starts.div_ceil(20))] {
        let mut ensemble = every_pass(backend);
        for at in 0..ensemble.passes() {
            let mut failed = Vec::new();
            for seed in 0..starts {
                let (manifest, pass) = ensemble.pass(at);
                let sheets = Sheet::all(pass, manifest, &mut Draw(seed));
                let outcome = ensemble.alone(at, HIGHEST_SCORE, |one| examine(one, &sheets));
                failed.extend(outcome.err().map(|why| (seed, why)));
            }
            let pass = ensemble.pass(at).1;
            let many = failed.len();
            if many > 0 {
                failures.push(format!("{backend:?}, {pass:?}: {many} of {starts}: {failed:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Nobody stands in front of somebody else, everybody is in the picture, and hardly anybody is left out.
#[test]
fn everybody_has_room() {
    let ensemble = every_pass(BackendChoice::Auto);
    for at in 0..ensemble.passes() {
        let (manifest, pass) = ensemble.pass(at);
        for seed in 0..20 {
            let sheets = Sheet::all(pass, manifest, &mut Draw(seed));
            let (last, shown) = sheets.split_last().unwrap();
            assert!(last.placed.is_empty() && shown.len() <= SHEETS, "{pass:?}");
            let placed: usize = shown.iter().map(|sheet| sheet.placed.len()).sum();
            let least = match (pass.class, pass.min_box > 0.0) {
                (Class::Face, false) if pass.long_side.1 >= WIDTH => FACES.len(),
                (Class::Face, false) => 15,
                (Class::Face, true) => 3,
                (Class::Person, _) => PERSONS.len(),
            };
            assert!(placed >= least, "{pass:?}: {placed} of {least}");
            for sheet in shown {
                let (w, h) = sheet.format.size();
                for (i, a) in sheet.placed.iter().enumerate() {
                    let [x0, y0, x1, y1] = a.cell;
                    assert!(x1 <= w && y1 <= h, "{pass:?}: {:?}", a.cell);
                    let wanted = a.wanted.outward(w, h);
                    let inside =
                        wanted.x0 >= x0 && wanted.y0 >= y0 && wanted.x1 <= x1 + 1 && wanted.y1 <= y1 + 1;
                    assert!(inside, "{pass:?}: {wanted:?} of {:?}", a.cell);
                    for b in &sheet.placed[..i] {
                        let apart = x1 <= b.cell[0] || b.cell[2] <= x0 || y1 <= b.cell[1] || b.cell[3] <= y0;
                        assert!(apart, "{pass:?}: {:?} and {:?}", a.cell, b.cell);
                    }
                }
            }
        }
    }
}

/// What the networks are shown, in pixels of their inputs, beside what one look at a picture of 640x480 shows them; larger
/// pictures cost more a look.
#[test]
fn it_costs_no_more_than_eight_looks_of_the_preset() {
    let store = ModelStore::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
    // A look is at one tile of a picture; the test, at all of them.
    let shown = |pass: &Pass, manifest: &Manifest, format: &FrameFormat, one: bool| {
        let mut sight = PassInput::new(pass, format, &manifest.input);
        let tiles = if one { 1 } else { sight.tiles.count() };
        (0..tiles).map(|tile| sight.aim(0, tile).1.tensor().unwrap().len()).sum::<usize>()
    };
    let vga = FrameFormat::new(PixelFormat::Rgb24, 640, 480).unwrap();
    for preset in [Preset::Fast, Preset::Balanced, Preset::Careful] {
        for classes in [&Class::ALL[..], &[Class::Face], &[Class::Person]] {
            let settings = preset.settings(classes);
            for settings in [settings.clone().in_tiles(), settings] {
                let (mut asked, mut look) = (0, 0);
                for pass in &settings.passes {
                    let manifest = store.manifest(&pass.model).unwrap();
                    let sheets = Sheet::all(pass, &manifest, &mut Draw(1));
                    let all = sheets.iter().map(|sheet| shown(pass, &manifest, &sheet.format, false));
                    asked += all.sum::<usize>();
                    look += shown(pass, &manifest, &vga, true);
                }
                let looks = asked as f64 / look as f64;
                assert!(looks <= 8.0, "{preset}, {:?}: {looks} looks", settings.passes);
                assert!(looks > 1.0);
            }
        }
    }
}

#[test]
fn seeds_draw_other_pictures_and_one_seed_the_same() {
    let ensemble = every_pass(BackendChoice::Auto);
    let (manifest, pass) = ensemble.pass(0);
    let pixels = |seed| Sheet::all(pass, manifest, &mut Draw(seed))[0].pixels();
    assert!(pixels(1) == pixels(1) && pixels(1) != pixels(2));
}
