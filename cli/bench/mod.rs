//! `milkglass bench`: what this machine can do, measured, for people who choose a board.
//!
//! Every row asserts its result before it counts: kernels are compared with the plain ones to the bit, detectors must find
//! the people in a known picture, frames must leave with them hidden, clips with as many frames as went in.

mod chart;
mod clip;
mod compare;
mod detection;
mod live;
mod machine;
mod picture;
mod plan;
mod record;
mod table;
mod timing;
mod verdict;

use std::io::Write;
use std::time::Duration;

use milkglass_benches::InstructionSet;

use crate::args::BenchArgs;
use crate::outcome::{Exit, Failure};
use crate::progress;
use live::Ran;
use machine::Machine;
use plan::Plan;
use record::{Group, Missing, Record, Row, SCHEMA};
use timing::{Memory, by_turns};

/// Runs the command: 1 when something got slower than in the older record.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    if !(0.0..=100.0).contains(&args.tolerance) {
        return Err(Failure::new("--tolerance is a share from 0 to 100: 0.25 allows a quarter more"));
    }
    // What would fail at the end fails before minutes of measuring.
    let old = args.compare.as_deref().map(Record::read).transpose()?;
    for path in [&args.json, &args.csv, &args.chart].into_iter().flatten() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        if path.is_dir() || folder.is_some_and(|f| !f.is_dir()) {
            return Err(Failure::new("it is a folder, or in one that does not exist").about(path));
        }
    }
    let record = match &args.read {
        Some(path) => Record::read(path)?,
        None => {
            let machine = Machine::this();
            let mut plan = Plan::new(args)?;
            if args.list {
                return list(&plan, &mut out);
            }
            if args.check {
                return check(&mut plan, &mut out);
            }
            if let Some(why) = &machine.emulator {
                return Err(Failure::new(format!(
                    "this is an emulator ({why}), whose times say nothing about any board: nothing was measured; --check \
                     checks the results alone"
                )));
            }
            if cfg!(debug_assertions) {
                log::warn!("a debug build: its times mean nothing; build with --release");
            }
            measure(plan, machine, args.quick)?
        }
    };
    table::print(&record, &mut out)?;
    if let Some(path) = &args.json {
        record.write_json(path)?;
    }
    if let Some(path) = &args.csv {
        record.write_csv(path)?;
    }
    if let Some(path) = &args.chart {
        record::write(path, &chart::svg(&record))?;
    }
    old.map_or(Ok(Exit::Done), |old| compare::compare(&old, &record, args.tolerance, &mut out))
}

fn list(plan: &Plan, out: &mut dyn Write) -> Result<Exit, Failure> {
    plan.names().try_for_each(|name| table::line(out, &name))?;
    for m in &plan.missing {
        table::line(out, &format!("# not here: {}: {}", m.what, m.why))?;
    }
    Ok(Exit::Done)
}

/// Results alone, without a clock.
fn check(plan: &mut Plan, out: &mut dyn Write) -> Result<Exit, Failure> {
    let mut checked = 0;
    for (set, cases) in &mut plan.kernels {
        for case in cases {
            case.check().map_err(|why| wrong(&case.name, *set, &why))?;
            checked += 1;
        }
    }
    if let Some(store) = &plan.store {
        for look in &plan.looks {
            look.run(store, None)?;
            checked += 1;
        }
    }
    table::line(out, &format!("{checked} results are right; nothing was timed"))?;
    Ok(Exit::Done)
}

fn measure(mut plan: Plan, machine: Machine, quick: bool) -> Result<Record, Failure> {
    let memory = [64 << 10, 64 << 20].map(|bytes| Memory::measure(bytes, if quick { 5 } else { 30 }));
    let mut rows = Vec::new();
    let all: usize = plan.kernels.iter().map(|(_, cases)| cases.len()).sum();
    for (set, cases) in &mut plan.kernels {
        for case in cases.iter_mut() {
            case.check().map_err(|why| wrong(&case.name, *set, &why))?;
        }
        let share = cases.len() as f64 / all.max(1) as f64;
        let budget = Duration::from_secs_f64(share * (all as f64 / 6.0).min(if quick { 6.0 } else { 45.0 }));
        let timings = by_turns(cases, budget)?;
        for (case, (timing, limit)) in cases.iter().zip(timings) {
            let group = if case.name.starts_with("path/") { Group::Path } else { Group::Kernel };
            let name = kernel_row(&case.name, *set);
            let (pixels, limit_ns) = (Some(case.pixels), Some(limit.median_ns));
            rows.push(Row { pixels, limit_ns, ..Row::new(name, group, timing) });
        }
    }
    // Their memory is not needed any more, and boards have little.
    plan.kernels.clear();
    let steps = plan.looks.len() + plan.lives.len() + plan.clips.len();
    let bar = progress::bar(Some(steps as u64), "rows", "");
    if let Some(store) = &plan.store {
        for look in &plan.looks {
            bar.set_message(look.name.clone());
            let budget = Duration::from_millis(if quick { 600 } else { 3000 });
            rows.extend(look.run(store, Some(budget))?);
            bar.inc(1);
        }
    }
    for live in std::mem::take(&mut plan.lives) {
        bar.set_message(live.name.clone());
        match live::run(&live.name, &plan.origin(&live)?, plan.detectors(&live)?, live.time)? {
            Ran::Measured(row) => rows.push(*row),
            Ran::Refused(why) => {
                let how = "this preset at this rate is too much here: fewer streams, a faster preset, or more threads";
                plan.missing.push(Missing { what: live.name, why, how: how.into() });
            }
        }
        bar.inc(1);
    }
    for clip in &plan.clips {
        bar.set_message(clip.name.clone());
        rows.push(clip.run(plan.threads, plan.models.as_deref())?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut record = Record {
        schema: SCHEMA,
        milkglass: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("MILKGLASS_COMMIT").unwrap_or("unknown").into(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
        quick,
        threads: plan.threads,
        kernels: InstructionSet::chosen().name().into(),
        machine,
        backends: plan.backends_used(),
        models: plan.models_used,
        memory: memory.to_vec(),
        rows,
        verdicts: Vec::new(),
        missing: plan.missing,
    };
    record.verdicts = verdict::verdicts(&record);
    Ok(record)
}

fn kernel_row(case: &str, set: InstructionSet) -> String {
    format!("{case}/{}", set.name())
}

fn wrong(case: &str, set: InstructionSet, why: &str) -> Failure {
    let name = kernel_row(case, set);
    Failure::new(format!(
        "{name} gives a wrong result and was not timed: {why}; please report it, with the output of `milkglass doctor`"
    ))
}

#[cfg(test)]
mod tests {
    use super::record::*;
    use super::timing::{Memory, Timing};

    /// A record as a small machine would write it.
    pub fn record() -> Record {
        let time = |min_ns: f64, median_ns: f64, p99_ns: f64| Timing {
            samples: 99,
            min_ns,
            median_ns,
            p95_ns: p99_ns,
            p99_ns,
        };
        let kernel = Row {
            pixels: Some(40_000),
            limit_ns: Some(4000.),
            ..Row::new("pixelate/nv12-200x200-4/scalar", Group::Kernel, time(9e3, 1e4, 2e4))
        };
        let live = Row {
            covered: Some(0.998),
            frames_per_second: Some(29.9),
            longest_gap_ns: Some(66e6),
            cpu_ns_per_frame: Some(21e6),
            ..Row::new("live/picture-balanced-1280x720/1-stream", Group::Live, time(38e6, 42e6, 60e6))
        };
        Record {
            schema: SCHEMA,
            milkglass: "0.1.0".into(),
            commit: "unknown".into(),
            build: "release".into(),
            quick: true,
            threads: 2,
            kernels: "scalar".into(),
            machine: super::Machine { cpu: "A <small> board & more".into(), cores: 2, ..Default::default() },
            backends: vec![BackendUsed { name: "ort".into(), library_sha256: None }],
            models: vec![],
            memory: vec![Memory { bytes: 65536, read_gb_s: 40., write_gb_s: 30., copy_gb_s: 20. }],
            rows: vec![
                kernel,
                Row::new("detect/preset-balanced-1280x720/ort", Group::Detect, time(38e6, 40e6, 50e6)),
                live,
            ],
            verdicts: vec![],
            missing: vec![],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        let record = record();
        record.write_json(&path).unwrap();
        let again = Record::read(&path).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&record).unwrap());
        std::fs::write(&path, "{\"schema\": 1}").unwrap();
        assert!(Record::read(&path).unwrap_err().message.contains("no record"));
    }
}
