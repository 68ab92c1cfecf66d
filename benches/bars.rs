//! What the kernels must reach: ratios of two sides that take turns in one process, on one thread. Exit code 1 when a bar is
//! missed, or when a result is wrong.
//!
//!     cargo bench --package milkglass-benches --bench bars [-- [--rounds N] [NAME]]
//!
//! Each round runs one side and then the other, in another order each time. Of each side the shortest and the median time
//! per run are printed; the ratio of the medians is what counts, unless a row says otherwise.
#![allow(clippy::print_stdout, missing_docs)]

mod peers;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use milkglass_benches::{Case, InstructionSet, cases};
use peers::Side;

/// `ours` takes at most `most` times as long as `other`.
struct Bar {
    what: &'static str,
    ours: &'static str,
    other: Other,
    most: f64,
    /// Before each run, other memory is read until neither side's is in a cache.
    cold: bool,
}

enum Other {
    /// A case of the list.
    Case(&'static str),
    /// Every peer of a group, each for itself.
    Peers(fn() -> Vec<Side>),
    /// A fixed time in milliseconds, or a multiple of a case if that is less.
    AtMost(f64, &'static str),
}

const BARS: [Bar; 11] = [
    Bar {
        what: "pixelate, against one read and one write",
        ours: "pixelate/nv12-200x200-4",
        other: Other::Case("limit/read-write-nv12-200x200"),
        most: 1.5,
        cold: false,
    },
    Bar {
        what: "pixelate, against peers (at least 3 times faster)",
        ours: "pixelate/nv12-200x200-4",
        other: Other::Peers(peers::mosaics),
        most: 1.0 / 3.0,
        cold: false,
    },
    Bar {
        what: "blur, against pixelate",
        ours: "blur/nv12-200x200-5",
        other: Other::Case("pixelate/nv12-200x200-4"),
        most: 2.0,
        cold: false,
    },
    Bar {
        what: "blur, against peers",
        ours: "blur/nv12-200x200-5",
        other: Other::Peers(peers::blurs),
        most: 1.0,
        cold: false,
    },
    Bar {
        what: "fill, against memset",
        ours: "fill/nv12-200x200",
        other: Other::Case("limit/write-nv12-200x200"),
        most: 1.2,
        cold: false,
    },
    Bar {
        what: "polygon, against memset",
        ours: "polygon/nv12-61-percent",
        other: Other::Case("limit/write-nv12-61-percent"),
        most: 1.2,
        cold: false,
    },
    Bar {
        what: "held cells, against one read and one write",
        ours: "pixelate-held/nv12-200x200-4",
        other: Other::Case("limit/read-write-nv12-200x200"),
        most: 1.0,
        cold: false,
    },
    Bar {
        what: "blur in RGB, against pixelate in RGB",
        ours: "blur/rgb24-200x200-5",
        other: Other::Case("pixelate/rgb24-200x200-4"),
        most: 2.0,
        cold: false,
    },
    Bar {
        what: "whole path outside inference (1.2 ms or 3 copies)",
        ours: "path/engine-nv12-1920x1080-5-faces-2-zones",
        other: Other::AtMost(1.2, "limit/copy-nv12-1920x1080"),
        most: 3.0,
        cold: false,
    },
    Bar {
        what: "letterbox of a frame that has just come in, against one read and one write",
        ours: "letterbox/nv12-1920x1080-640x384",
        other: Other::Case("letterbox-limit/nv12-1920x1080-640x384"),
        most: 1.3,
        cold: true,
    },
    Bar {
        what: "letterbox in cache, against one read and one write",
        ours: "letterbox/nv12-1920x1080-640x384",
        other: Other::Case("letterbox-limit/nv12-1920x1080-640x384"),
        most: 1.3,
        cold: false,
    },
];

/// Larger than the caches of the machines that this is for.
const COLD_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let (mut rounds, mut wanted) = (200_usize, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(rounds),
            // What cargo adds.
            "--bench" => {}
            name => wanted = name.to_owned(),
        }
    }
    let set = InstructionSet::chosen();
    println!("kernels: {}, {rounds} rounds; times are min / median in microseconds", set.name());
    let mut all_met = true;
    for bar in BARS.iter().filter(|bar| bar.what.contains(&wanted) || bar.ours.contains(&wanted)) {
        let Some(mut ours) = side(bar.ours, set) else {
            all_met = false;
            continue;
        };
        let others = match bar.other {
            Other::Case(name) | Other::AtMost(_, name) => side(name, set).into_iter().collect(),
            Other::Peers(peers) => peers(),
        };
        all_met &= !others.is_empty();
        let elsewhere = vec![1_u64; if bar.cold { COLD_BYTES / 8 } else { 0 }];
        let rounds = if bar.cold { rounds.div_ceil(4) } else { rounds };
        for mut other in others {
            let [a, b] = race(&mut ours, &mut other, rounds, &elsewhere);
            let ratio = a.median / b.median;
            let most = match bar.other {
                Other::AtMost(ms, _) => bar.most.min(ms * 1e3 / b.median),
                _ => bar.most,
            };
            let met = ratio <= most;
            all_met &= met;
            println!(
                "{} {}: {:.2} / {:.2}, {}: {:.2} / {:.2}, ratio {:.3} / {ratio:.3}, at most {most:.3}",
                if met { "met   " } else { "MISSED" },
                bar.what,
                a.least,
                a.median,
                other.name,
                b.least,
                b.median,
                a.least / b.least,
            );
        }
    }
    if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A case, checked; `None` when its result is wrong or there is none of that name.
fn side(name: &str, set: InstructionSet) -> Option<Side> {
    let Some(mut case): Option<Case> = cases(set).into_iter().find(|case| case.name == name) else {
        println!("MISSED {name}: there is no such case");
        return None;
    };
    if let Err(wrong) = case.check() {
        println!("MISSED {name}: {wrong}");
        return None;
    }
    Some(Side { name: name.to_owned(), run: Box::new(move || case.run()) })
}

struct Times {
    least: f64,
    median: f64,
}

/// Both by turns, as often in each round as makes a round long enough for the clock; once, where `elsewhere` is read before.
fn race(a: &mut Side, b: &mut Side, rounds: usize, elsewhere: &[u64]) -> [Times; 2] {
    let mut sides = [a, b];
    let most = if elsewhere.is_empty() { 1000 } else { 1 };
    let times = sides.each_mut().map(|side| {
        (0..3).for_each(|_| (side.run)());
        let started = Instant::now();
        (side.run)();
        (Duration::from_micros(200).as_nanos() / started.elapsed().as_nanos().max(1)).clamp(1, most) as u32
    });
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let i = (round + turn) % 2;
            std::hint::black_box(elsewhere.iter().fold(0, |a, b| a ^ b));
            let started = Instant::now();
            (0..times[i]).for_each(|_| (sides[i].run)());
            taken[i].push(started.elapsed().as_secs_f64() * 1e6 / f64::from(times[i]));
        }
    }
    taken.map(|mut taken| {
        taken.sort_by(f64::total_cmp);
        Times { least: taken[0], median: taken[taken.len() / 2] }
    })
}
