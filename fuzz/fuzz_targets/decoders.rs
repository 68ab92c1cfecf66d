//! Whatever a network answers, a decoder says that it is wrong or gives finite boxes with scores from 0 to 1, and what
//! becomes of them in the picture is finite too.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use milkglass::internal::{DECODERS, decode};

#[derive(Arbitrary, Debug)]
struct Answer {
    decoder: u8,
    /// Size of the tensor in units of 32.
    cols: u8,
    rows: u8,
    classes: u8,
    least: u8,
    nms: u8,
    /// One output has a wrong shape or length.
    damaged: Option<(u8, Damage)>,
    /// The numbers, used again from the start when they run out.
    numbers: Vec<Number>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Longer,
    Shorter,
    Side(u8, u8),
    Flat,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Any(f32),
    /// What a network would say.
    Usual(i8),
}

impl Number {
    fn value(self) -> f32 {
        match self {
            Number::Any(v) => v,
            Number::Usual(v) => f32::from(v) / 16.0,
        }
    }
}

fuzz_target!(|answer: Answer| {
    let (w, h) = (32 * usize::from(answer.cols % 3), 32 * usize::from(answer.rows % 3));
    let kind = usize::from(answer.decoder) % DECODERS;
    let classes: Vec<usize> = (0..usize::from(answer.classes % 3)).map(|c| c * 2).collect();
    let mut shapes = shapes(kind, w, h);
    let mut damage = 0;
    if let Some((at, what)) = &answer.damaged {
        let at = usize::from(*at) % shapes.len();
        let shape = &mut shapes[at];
        match what {
            Damage::Longer => damage = 1,
            Damage::Shorter => damage = -1,
            Damage::Side(side, to) => {
                let side = usize::from(*side) % shape.len();
                shape[side] = usize::from(*to);
            }
            Damage::Flat => *shape = vec![shape.iter().product()],
        }
    }
    let mut numbers = answer.numbers.iter().map(|n| n.value()).cycle();
    let outputs: Vec<(Vec<usize>, Vec<f32>)> = shapes
        .into_iter()
        .map(|shape| {
            let len = shape.iter().product::<usize>().min(1 << 16).saturating_add_signed(damage);
            let data = (0..len).map(|_| numbers.next().unwrap_or(0.5)).collect();
            (shape, data)
        })
        .collect();
    let least = f32::from(answer.least) / 255.0;
    let nms = f32::from(answer.nms) / 255.0;
    let Ok(found) = decode(kind, &outputs, (w, h), &classes, least, nms) else { return };
    for c in &found {
        let [x0, y0, x1, y1] = c.edges;
        assert!(c.edges.iter().all(|v| v.is_finite()) && x0 < x1 && y0 < y1, "{c:?}");
        assert!((0.0..=1.0).contains(&c.score) && c.score >= least, "{c:?} with {least}");
        assert!(c.class < classes.len().max(1), "{c:?}");
    }
});

/// The outputs that a decoder reads, as they should be.
fn shapes(kind: usize, w: usize, h: usize) -> Vec<Vec<usize>> {
    let grids = [8, 16, 32].map(|s| (w / s, h / s));
    match kind {
        0 => grids.iter().flat_map(|(c, r)| [1, 1, 4].map(|k| vec![1, c * r, k])).collect(),
        1 => grids.iter().map(|(c, r)| vec![1, 6, *r, *c]).collect(),
        2 => [1, 2, 2].map(|k| vec![1, k, h / 4, w / 4]).to_vec(),
        3 => vec![vec![1, 5, h / 4, w / 4]],
        _ => vec![vec![1, grids.iter().map(|(c, r)| c * r).sum(), 8]],
    }
}
