//! The record as one SVG that any browser shows: what a board can hold, how long it looks, how close kernels are to memory.

use std::fmt::Write as _;

use super::record::{Group, Record, Row};
use super::table::duration;

const WIDTH: f64 = 1100.0;
const NAMES: f64 = 390.0;
const FIGURES: f64 = 130.0;
const BAR: f64 = 15.0;
const STEP: f64 = 21.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222;paint-order:stroke;stroke:#fff;stroke-width:3px}.h{font-weight:600;font-size:16px}.n{fill:#555}\
    .g{stroke:#ddd}.f{stroke:#c33;stroke-dasharray:4 3}.t{stroke:#222}.a{fill:#2b7a78}.b{fill:#8bbdb9}.c{fill:#d98e3f}";

/// One bar: its length, where its whisker ends, what is written beside it.
struct Bar {
    name: String,
    value: f64,
    whisker: Option<f64>,
    text: String,
    class: &'static str,
}

/// Some bars on one axis.
struct Panel {
    title: String,
    note: &'static str,
    bars: Vec<Bar>,
    logarithmic: bool,
    /// Dashed lines: where, and what they mean.
    marks: Vec<(f64, &'static str)>,
    unit: fn(f64) -> String,
}

/// Draws the record.
pub fn svg(record: &Record) -> String {
    let panels: Vec<Panel> =
        [verdicts(record), live(record), looks(record), kernels(record)].into_iter().flatten().collect();
    let mut body = String::new();
    let m = &record.machine;
    let title = format!("milkglass {} on {}, {} cores", record.milkglass, m.cpu, m.cores);
    let backends: Vec<&str> = record.backends.iter().map(|b| b.name.as_str()).collect();
    let about = format!(
        "{}, Linux {}, {} kernels, inference by {}, {} threads, {} build, commit {}",
        m.arch,
        m.kernel,
        record.kernels,
        if backends.is_empty() { "nothing".into() } else { backends.join(" and ") },
        record.threads,
        record.build,
        record.commit
    );
    text(&mut body, 20.0, 32.0, "h", &title);
    text(&mut body, 20.0, 52.0, "n", &about);
    let mut y = 84.0;
    for panel in &panels {
        y = panel.draw(&mut body, y) + 34.0;
    }
    if panels.is_empty() {
        text(&mut body, 20.0, y, "n", "Nothing was measured.");
        y += 30.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         {body}</svg>\n",
        escape(&title)
    )
}

fn verdicts(record: &Record) -> Option<Panel> {
    let bars = record.verdicts.iter().map(|v| Bar {
        name: format!(
            "{}, {}, {} stream{}",
            v.preset,
            v.size,
            v.streams,
            if v.streams == 1 { "" } else { "s" }
        ),
        value: v.every_frame_fps,
        whisker: None,
        text: format!("{:.1}/s, exposure {}", v.every_frame_fps, duration(v.exposure_ns)),
        class: if v.holds_30_fps { "a" } else { "c" },
    });
    panel(
        "Frames per second of each stream when every frame is looked at (computed)",
        "More frames than that are covered too, between two looks. Orange: 30 frames/s need a max_gap above the default 500 ms.",
        bars.collect(),
        vec![(30.0, "30/s")],
        |v| format!("{v}/s"),
    )
}

fn live(record: &Record) -> Option<Panel> {
    let bar = |r: &Row| {
        let covered = r.covered.unwrap_or(0.0);
        let text = format!("{}, {:.1} % covered", duration(r.timing.median_ns), covered * 100.0);
        let class = if covered >= 0.95 { "a" } else { "c" };
        Bar { class, ..timed(r, text) }
    };
    panel(
        "From dequeue to hand-over, the whole pipeline (measured)",
        "Bar: median; line: 99th percentile. Orange: fewer than 95 % of the frames left covered, the others obscured or not at all.",
        of(record, Group::Live).map(bar).collect(),
        vec![(33.3e6, "1 frame at 30/s"), (500e6, "max_gap")],
        duration,
    )
}

fn looks(record: &Record) -> Option<Panel> {
    panel(
        "One look at a frame (measured)",
        "Bar: median; line: 99th percentile.",
        of(record, Group::Detect).map(|r| timed(r, duration(r.timing.median_ns))).collect(),
        vec![(33.3e6, "1 frame at 30/s")],
        duration,
    )
}

fn kernels(record: &Record) -> Option<Panel> {
    let rows = of(record, Group::Kernel).chain(of(record, Group::Path));
    let bar = |r: &Row| {
        let limit = r.limit_ns?;
        let times = |ns: f64| ns / limit.max(1.0);
        Some(Bar {
            name: r.name.clone(),
            value: times(r.timing.median_ns),
            whisker: Some(times(r.timing.p99_ns)),
            text: format!("x {:.2} = {}", times(r.timing.median_ns), duration(r.timing.median_ns)),
            class: "b",
        })
    };
    panel(
        "Kernels, in units of reading and writing the same bytes once (measured)",
        "1 is as fast as this machine's memory. Bar: median; line: 99th percentile.",
        rows.filter_map(bar).collect(),
        vec![(1.0, "memory")],
        |v| format!("x {v}"),
    )
}

fn of(record: &Record, group: Group) -> impl Iterator<Item = &Row> {
    record.rows.iter().filter(move |r| r.group == group)
}

fn timed(r: &Row, text: String) -> Bar {
    let (value, whisker) = (r.timing.median_ns, Some(r.timing.p99_ns));
    Bar { name: r.name.clone(), value, whisker, text, class: "a" }
}

fn panel(
    title: &str,
    note: &'static str,
    bars: Vec<Bar>,
    marks: Vec<(f64, &'static str)>,
    unit: fn(f64) -> String,
) -> Option<Panel> {
    let values = || bars.iter().flat_map(|b| [Some(b.value), b.whisker]).flatten();
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    // Small figures would vanish beside large ones.
    let logarithmic = most > 12.0 * least;
    (!bars.is_empty()).then(|| Panel { title: title.into(), note, bars, logarithmic, marks, unit })
}

impl Panel {
    fn range(&self) -> (f64, f64) {
        let values = self.bars.iter().flat_map(|b| [Some(b.value), b.whisker]).flatten();
        let (least, most) = values.fold((f64::INFINITY, 0.0), |(l, m): (f64, f64), v| (l.min(v), m.max(v)));
        if self.logarithmic {
            (10f64.powf(least.log10().floor()), 10f64.powf((most * 1.02).log10().ceil()))
        } else {
            (0.0, most * 1.05)
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (least, most) = self.range();
        let share = if self.logarithmic {
            (value / least).log10() / (most / least).log10()
        } else {
            value / most.max(f64::MIN_POSITIVE)
        };
        NAMES + share.clamp(0.0, 1.0) * (WIDTH - NAMES - FIGURES - 90.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let (least, most) = self.range();
        if self.logarithmic {
            let decades = (least.log10().round() as i32)..=(most.log10().round() as i32);
            return decades.map(|d| 10f64.powi(d)).collect();
        }
        let rough = most / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= rough);
        let step = step.unwrap_or(rough);
        (0..=(most / step) as u32).map(|n| f64::from(n) * step).collect()
    }

    /// Draws the panel below `y`; where it ends.
    fn draw(&self, body: &mut String, y: f64) -> f64 {
        text(body, 20.0, y, "h", &self.title);
        let scale = if self.logarithmic { " The axis is logarithmic." } else { "" };
        text(body, 20.0, y + 18.0, "n", &format!("{}{scale}", self.note));
        let top = y + 46.0;
        let bottom = top + STEP * self.bars.len() as f64;
        for tick in self.ticks() {
            let x = self.x(tick);
            vertical(body, x, top, bottom, "g");
            label(body, x, bottom + 14.0, &(self.unit)(tick).replace(".00 ", " ").replace(".0 ", " "));
        }
        for (n, bar) in self.bars.iter().enumerate() {
            let y = top + STEP * n as f64 + (STEP - BAR) / 2.0;
            let (x, end) = (self.x(bar.value), bar.whisker.map_or(0.0, |w| self.x(w)));
            let width = (x - NAMES).max(1.0);
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"{}\" x=\"{NAMES}\" y=\"{y:.1}\" \
                 width=\"{width:.1}\" height=\"{BAR}\"/>",
                NAMES - 8.0,
                y + BAR - 3.0,
                escape(&bar.name),
                bar.class
            );
            if end > x {
                let middle = y + BAR / 2.0;
                let _ = writeln!(
                    body,
                    "<path class=\"t\" d=\"M{x:.1} {middle:.1}H{end:.1}M{end:.1} {:.1}v8\"/>",
                    middle - 4.0
                );
            }
            text(body, x.max(end) + 8.0, y + BAR - 3.0, "", &bar.text);
        }
        let (least, most) = self.range();
        for (at, what) in self.marks.iter().filter(|(at, _)| (least..=most).contains(at)) {
            let x = self.x(*at);
            vertical(body, x, top - 4.0, bottom, "f");
            label(body, x, top - 8.0, what);
        }
        bottom + 18.0
    }
}

fn vertical(body: &mut String, x: f64, y0: f64, y1: f64, class: &str) {
    let _ = writeln!(body, "<path class=\"{class}\" d=\"M{x:.1} {y0:.1}V{y1:.1}\"/>");
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn label(body: &mut String, x: f64, y: f64, text: &str) {
    let text = escape(text);
    let _ =
        writeln!(body, "<text class=\"n\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
