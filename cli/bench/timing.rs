//! Many short rounds: what is measured and the memory limit by turns, so that both meet the same noise.

use std::hint::black_box;
use std::time::{Duration, Instant};

use milkglass_benches::Case;
use serde::{Deserialize, Serialize};

use crate::outcome::Failure;
use crate::progress;

/// A sample is one run, or the mean of as many as fill this time: clocks are coarse.
const SAMPLE: Duration = Duration::from_micros(20);
const FEWEST_ROUNDS: usize = 15;
const MOST_ROUNDS: usize = 5_000;

/// Nanoseconds of one run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Timing {
    pub samples: usize,
    pub min_ns: f64,
    pub median_ns: f64,
    pub p95_ns: f64,
    pub p99_ns: f64,
}

impl Timing {
    /// From samples in nanoseconds; `None` of none.
    pub fn of(mut samples: Vec<f64>) -> Option<Timing> {
        samples.sort_unstable_by(f64::total_cmp);
        let at =
            |share: f64| samples.get(((samples.len().max(1) - 1) as f64 * share).round() as usize).copied();
        Some(Timing {
            samples: samples.len(),
            min_ns: at(0.0)?,
            median_ns: at(0.5)?,
            p95_ns: at(0.95)?,
            p99_ns: at(0.99)?,
        })
    }
}

/// Memory that is read once and written once, as fast as this machine can: what no kernel on the same bytes can beat.
pub struct Limit {
    source: Vec<u8>,
    target: Vec<u8>,
}

impl Limit {
    /// For at most so many bytes read and written.
    pub fn new(reads: usize, writes: usize) -> Limit {
        Limit { source: vec![1; reads], target: vec![2; writes] }
    }

    /// Copies what is both read and written, then reads or writes the rest.
    pub fn run(&mut self, reads: usize, writes: usize) {
        let both = reads.min(writes);
        let (copied, read) = black_box(&self.source[..reads]).split_at(both);
        let (into, written) = self.target[..writes].split_at_mut(both);
        into.copy_from_slice(copied);
        black_box(sum(read));
        written.fill(black_box(3));
        black_box(&mut self.target);
    }
}

fn sum(bytes: &[u8]) -> u64 {
    // Four sums at a time, so that none waits for the one before.
    let mut sums = [0_u64; 4];
    for chunk in bytes.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk.chunks_exact(8)) {
            *sum = sum.wrapping_add(word.try_into().map_or(0, u64::from_ne_bytes));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

/// Measures the cases by turns, each beside its memory limit: case and limit, in the order given.
pub fn by_turns(cases: &mut [Case], budget: Duration) -> Result<Vec<(Timing, Timing)>, Failure> {
    let most = |bytes: fn(&Case) -> u64| cases.iter().map(bytes).max().unwrap_or(0) as usize;
    let mut limit = Limit::new(most(|c| c.reads), most(|c| c.writes));
    let mut turns: Vec<Turn> = cases.iter_mut().map(|case| Turn::new(case, &mut limit)).collect();
    let bar = progress::bar(Some(budget.as_millis() as u64), "ms", "kernels");
    let start = Instant::now();
    for round in 0..MOST_ROUNDS {
        if round >= FEWEST_ROUNDS && start.elapsed() > budget {
            break;
        }
        for turn in &mut turns {
            if progress::cancelled() {
                return Err(Failure::interrupted());
            }
            turn.take(&mut limit);
            bar.set_position((start.elapsed().as_millis() as u64).min(budget.as_millis() as u64));
        }
    }
    bar.finish_and_clear();
    let timings = turns.into_iter().map(|t| Timing::of(t.samples).zip(Timing::of(t.limits)));
    timings.collect::<Option<_>>().ok_or_else(|| Failure::new("nothing was measured"))
}

struct Turn<'a> {
    case: &'a mut Case,
    runs: u32,
    samples: Vec<f64>,
    limits: Vec<f64>,
}

impl<'a> Turn<'a> {
    fn new(case: &'a mut Case, limit: &mut Limit) -> Turn<'a> {
        let mut once = Duration::MAX;
        // The first runs warm up; the best of them says how many make a sample.
        for _ in 0..5 {
            once = once.min(time(1, || case.run()));
            limit.run(case.reads as usize, case.writes as usize);
        }
        let runs = (SAMPLE.as_nanos() / once.as_nanos().max(1)).clamp(1, 10_000) as u32;
        Turn { case, runs, samples: Vec::new(), limits: Vec::new() }
    }

    fn take(&mut self, limit: &mut Limit) {
        let Turn { case, runs, samples, limits } = self;
        let (reads, writes) = (case.reads as usize, case.writes as usize);
        // The turn before left the cache full of something else.
        case.run();
        samples.push(time(*runs, || case.run()).as_nanos() as f64 / f64::from(*runs));
        limit.run(reads, writes);
        limits.push(time(*runs, || limit.run(reads, writes)).as_nanos() as f64 / f64::from(*runs));
    }
}

fn time(runs: u32, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..runs).for_each(|_| run());
    start.elapsed()
}

/// Gigabytes per second of memory: of more than caches hold, and of what they do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Memory {
    pub bytes: u64,
    pub read_gb_s: f64,
    pub write_gb_s: f64,
    pub copy_gb_s: f64,
}

impl Memory {
    /// Reads, writes and copies so many bytes; the best round counts, since noise only slows.
    pub fn measure(bytes: usize, rounds: u32) -> Memory {
        let mut limit = Limit::new(bytes, bytes);
        let work = [(bytes, 0), (0, bytes), (bytes, bytes)];
        let runs = ((4 << 20) / bytes.max(1)).max(1) as u32;
        let mut best = [f64::INFINITY; 3];
        for _ in 0..=rounds {
            for ((reads, writes), best) in work.into_iter().zip(&mut best) {
                *best = best.min(time(runs, || limit.run(reads, writes)).as_nanos() as f64 / f64::from(runs));
            }
        }
        let [read_gb_s, write_gb_s, copy_gb_s] = best.map(|ns| bytes as f64 / ns.max(1.0));
        Memory { bytes: bytes as u64, read_gb_s, write_gb_s, copy_gb_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let t = Timing::of((1..=101).rev().map(f64::from).collect()).unwrap();
        assert_eq!((t.samples, t.min_ns, t.median_ns, t.p95_ns, t.p99_ns), (101, 1.0, 51.0, 96.0, 100.0));
        assert_eq!(Timing::of(vec![]), None);
    }

    #[test]
    fn a_limit_reads_and_writes_every_byte() {
        let mut limit = Limit::new(5, 9);
        limit.run(5, 9);
        assert_eq!(limit.target, [1, 1, 1, 1, 1, 3, 3, 3, 3]);
        assert_eq!(sum(&[1; 64]), 0x0101_0101_0101_0101 * 8);
    }
}
