//! What is printed: what each figure means, then the figures, then what follows from them.

use std::io::Write;

use super::record::{Group, Record, Row};
use crate::outcome::Failure;

/// A time with three digits or so.
pub fn duration(ns: f64) -> String {
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e5 => format!("{:.1} µs", n / 1e3),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n if n < 1e8 => format!("{:.2} ms", n / 1e6),
        n if n < 1e9 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

pub fn line(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    writeln!(out, "{text}").map_err(|e| Failure::new(format!("cannot be printed: {e}")))
}

/// Prints the whole record.
pub fn print(record: &Record, out: &mut dyn Write) -> Result<(), Failure> {
    head(record, out)?;
    for group in Group::ALL {
        let rows: Vec<&Row> = record.rows.iter().filter(|r| r.group == group).collect();
        if !rows.is_empty() {
            line(out, &format!("\n{}", meaning(group)))?;
            columns(&rows, &pick(group), out)?;
        }
    }
    verdicts(record, out)?;
    if !record.missing.is_empty() {
        line(out, "\nNOT MEASURED")?;
        for m in &record.missing {
            line(out, &format!("  {}: {}\n      {}", m.what, m.why, m.how))?;
        }
    }
    Ok(())
}

fn head(record: &Record, out: &mut dyn Write) -> Result<(), Failure> {
    let m = &record.machine;
    let governor = m.governor.as_ref().map(|g| format!(", governor {g}")).unwrap_or_default();
    let (version, commit, build) = (&record.milkglass, &record.commit, &record.build);
    line(out, &format!("milkglass {version} ({commit}, {build} build), {} kernels", record.kernels))?;
    let (cpu, cores, mb) = (&m.cpu, m.cores, m.memory_mb);
    line(out, &format!("{cpu}, {cores} cores, {mb} MB, {}, Linux {}{governor}", m.arch, m.kernel))?;
    if m.load > 0.3 * cores as f64 {
        line(
            out,
            &format!(
                "BUSY: the load average was {:.1} before this began, so times are too long and vary",
                m.load
            ),
        )?;
    }
    let backends: Vec<&str> = record.backends.iter().map(|b| b.name.as_str()).collect();
    if !backends.is_empty() {
        line(out, &format!("inference by {} with {} threads", backends.join(" and "), record.threads))?;
    }
    for memory in &record.memory {
        let (size, unit) =
            if memory.bytes < 1 << 20 { (memory.bytes >> 10, "KiB") } else { (memory.bytes >> 20, "MiB") };
        line(
            out,
            &format!(
                "memory, {size:>4} {unit}, one thread: read {:.1}, write {:.1}, copy {:.1} GB/s",
                memory.read_gb_s, memory.write_gb_s, memory.copy_gb_s
            ),
        )?;
    }
    Ok(())
}

fn meaning(group: Group) -> &'static str {
    match group {
        Group::Kernel => {
            "KERNELS: one thread, one call. `of limit` is the time that reading and writing the same bytes once takes,\n\
             as a share of the kernel's: 100 % would be as fast as this machine's memory."
        }
        Group::Path => "PATH: what a frame costs beside looking at it: copied in, tracked, hidden, released.",
        Group::Detect => {
            "DETECTION: one look at a frame, from its pixels to boxes. A network is named with the longer side of its\n\
             input, a preset with the size of the frame; every row found the people in a known picture first."
        }
        Group::Live => {
            "LIVE: cameras' frames at their own pace through the whole pipeline, all streams at once. Times are from\n\
             dequeue to hand-over. `covered` counts frames that left with people hidden; all others left obscured whole\n\
             or not at all. `longest gap` is the longest time between two looks, in which somebody new may be seen."
        }
        Group::Clip => {
            "CLIPS: `milkglass redact` per frame, decoder and encoder included. `to ffmpeg` is its time in units of plain\n\
             ffmpeg with the same encoder."
        }
    }
}

type Column = (&'static str, fn(&Row) -> String);

fn pick(group: Group) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![
        ("min", |r| duration(r.timing.min_ns)),
        ("median", |r| duration(r.timing.median_ns)),
        ("p95", |r| duration(r.timing.p95_ns)),
        ("p99", |r| duration(r.timing.p99_ns)),
    ];
    match group {
        Group::Kernel | Group::Path => columns.extend([
            ("per pixel", per_pixel as fn(&Row) -> String),
            ("of limit", |r: &Row| percent(r.limit_share(), 0)),
        ]),
        Group::Detect => columns.extend([
            ("per pixel", per_pixel as fn(&Row) -> String),
            ("looks/s", |r: &Row| number(Some(1e9 / r.timing.median_ns))),
        ]),
        Group::Live => columns.extend([
            ("frames/s", (|r: &Row| number(r.frames_per_second)) as fn(&Row) -> String),
            ("covered", |r: &Row| percent(r.covered, 1)),
            ("longest gap", |r: &Row| r.longest_gap_ns.map_or("-".into(), duration)),
            ("CPU/frame", |r: &Row| r.cpu_ns_per_frame.map_or("-".into(), duration)),
        ]),
        Group::Clip => columns.extend([
            ("frames/s", (|r: &Row| number(r.frames_per_second)) as fn(&Row) -> String),
            ("to ffmpeg", |r: &Row| r.against_ffmpeg.map_or("-".into(), |v| format!("x {v:.2}"))),
        ]),
    }
    columns
}

fn per_pixel(row: &Row) -> String {
    row.pixels.map_or("-".into(), |p| format!("{:.3} ns", row.timing.median_ns / p.max(1) as f64))
}

fn percent(share: Option<f64>, digits: usize) -> String {
    share.map_or("-".into(), |v| format!("{:.digits$} %", v * 100.0))
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| if v < 100.0 { format!("{v:.1}") } else { format!("{v:.0}") })
}

fn columns(rows: &[&Row], columns: &[Column], out: &mut dyn Write) -> Result<(), Failure> {
    let wide = rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0);
    let head: String = columns.iter().map(|(title, _)| format!("{title:>12}")).collect();
    line(out, &format!("  {:<wide$}{head}", ""))?;
    for row in rows {
        let cells: String = columns.iter().map(|(_, cell)| format!("{:>12}", cell(row))).collect();
        line(out, &format!("  {:<wide$}{cells}", row.name))?;
    }
    Ok(())
}

fn verdicts(record: &Record, out: &mut dyn Write) -> Result<(), Failure> {
    if record.verdicts.is_empty() {
        return Ok(());
    }
    line(
        out,
        "\nWHAT THIS MACHINE CAN DO (computed from the detection times above; `measured` is from LIVE)\n\
         D is the 99th percentile of one detection while the other streams run. Cameras deliver more frames than are looked\n\
         at; those between two looks are covered too. At 30 frames/s a stream needs max_gap >= D + 2/30 s, the worst-case\n\
         exposure, and its frames are handed on at most 2 D + 2/30 s old. `30 fps` holds within the default max_gap of 500 ms:\n\
         D may be 433 ms then.",
    )?;
    line(
        out,
        "  preset    frame      streams           D   every frame looked at   exposure   delay at most   30 fps   measured",
    )?;
    for v in &record.verdicts {
        line(
            out,
            &format!(
                "  {:<9} {:<10} {:>7} {:>11} {:>19}/s {:>12} {:>15} {:>8}   {}",
                v.preset,
                v.size,
                v.streams,
                duration(v.detection_ns),
                format!("{:.1}", v.every_frame_fps),
                duration(v.exposure_ns),
                duration(v.delay_ns),
                if v.holds_30_fps { "yes" } else { "no" },
                v.measured_covered.map_or("-".into(), |c| format!("{:.1} % covered", c * 100.0))
            ),
        )?;
    }
    Ok(())
}
