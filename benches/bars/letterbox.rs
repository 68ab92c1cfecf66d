//! How far each letterbox is from its limit: the frame read once and the tensor written once, doing nothing else.
//!
//!     cargo bench --package milkglass-benches --bench letterbox [-- NAME [cold]]
//!
//! With `cold`, a large buffer is read before each round, so that frame and tensor have left the caches.
//! The two sides take turns, so that a busy machine slows both. For each set: the quickest round of each side, and the
//! median of the ratios of neighbouring rounds.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use milkglass::bench::{Case, InstructionSet, cases};

const ROUNDS: usize = 400;
/// 1080p to 640x384, with the best set of instructions.
const BAR: (&str, f64) = ("letterbox/nv12-1920x1080-640x384", 1.3);

fn time(case: &mut Case, evicting: &[u64]) -> Duration {
    std::hint::black_box(evicting.iter().fold(0, |a, b| a ^ b));
    let start = Instant::now();
    case.run();
    start.elapsed()
}

fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let cold = std::env::args().any(|a| a == "cold");
    let (evicting, rounds) = if cold { (vec![1_u64; 1 << 25], 60) } else { (Vec::new(), ROUNDS) };
    let mut ratio_of_bar = None;
    for set in InstructionSet::available() {
        let mut all = cases(set).into_iter().filter(|c| c.name.starts_with("letterbox")).collect::<Vec<_>>();
        for two in all.chunks_exact_mut(2) {
            let [case, limit] = two else { continue };
            if !case.name.contains(&wanted) {
                continue;
            }
            case.check().unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
            let times: Vec<_> =
                (0..rounds).map(|_| (time(case, &evicting), time(limit, &evicting))).collect();
            let least =
                |of: fn(&(Duration, Duration)) -> Duration| times.iter().map(of).min().unwrap_or_default();
            let (mine, least) = (least(|t| t.0), least(|t| t.1));
            let mut ratios: Vec<f64> = times.iter().map(|t| t.0.as_secs_f64() / t.1.as_secs_f64()).collect();
            ratios.sort_by(f64::total_cmp);
            let (quickest, median) = (mine.as_secs_f64() / least.as_secs_f64(), ratios[rounds / 2]);
            println!(
                "{:<40} {:<7} {mine:>10.1?} limit {least:>10.1?}  ratio {quickest:.2}, median {median:.2}",
                case.name,
                set.name()
            );
            if case.name == BAR.0 {
                ratio_of_bar = Some(quickest);
            }
        }
    }
    if let Some(ratio) = ratio_of_bar {
        println!("bar: {} at most {} times its limit: {ratio:.2}", BAR.0, BAR.1);
        assert!(ratio <= BAR.1, "the letterbox is further from its limit than the bar allows");
    }
}
