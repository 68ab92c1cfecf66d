//! What got slower since an older record.

use std::io::Write;

use super::record::{Record, Row};
use super::table::{duration, line};
use crate::outcome::{Exit, Failure};

/// How a row differs from the older one.
#[derive(Debug, PartialEq)]
pub struct Difference<'a> {
    pub name: &'a str,
    pub old_ns: f64,
    pub new_ns: f64,
    /// New to old: of medians, of minima, and of shares of the memory limit where both have one.
    pub ratios: Vec<f64>,
    /// Live rows: covered share before and now.
    pub covered: Option<(f64, f64)>,
}

impl Difference<'_> {
    /// A row is slower only when every ratio says so: noise moves the median but rarely the minimum, and a machine that is
    /// slower as a whole moves the memory limit too. Frames that no longer leave covered count as slower.
    pub fn slower(&self, tolerance: f64) -> bool {
        let least = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let lost = self.covered.is_some_and(|(old, new)| new < old - tolerance.min(1.0) * old);
        least > 1.0 + tolerance || lost
    }

    pub fn faster(&self, tolerance: f64) -> bool {
        self.ratios.iter().all(|r| *r < 1.0 / (1.0 + tolerance))
    }
}

fn differences<'a>(old: &Record, new: &'a Record) -> Vec<Difference<'a>> {
    let pair = |row: &'a Row| {
        let before = old.rows.iter().find(|r| r.name == row.name)?;
        let (a, b) = (&before.timing, &row.timing);
        let mut ratios = vec![b.median_ns / a.median_ns, b.min_ns / a.min_ns];
        ratios.extend(before.limit_share().zip(row.limit_share()).map(|(old, new)| old / new));
        let covered = before.covered.zip(row.covered);
        Some(Difference { name: &row.name, old_ns: a.median_ns, new_ns: b.median_ns, ratios, covered })
    };
    new.rows.iter().filter_map(pair).collect()
}

/// Prints what differs; fails when something got slower.
pub fn compare(old: &Record, new: &Record, tolerance: f64, out: &mut dyn Write) -> Result<Exit, Failure> {
    let all = differences(old, new);
    if all.is_empty() {
        return Err(Failure::new(
            "the two records have no row in common: measure with the same --only and without --quick in one of them",
        ));
    }
    line(out, "\nCompared with the older record")?;
    for (what, before, now) in [
        ("machine", &old.machine.cpu, &new.machine.cpu),
        ("kernel set", &old.kernels, &new.kernels),
        ("build", &old.build, &new.build),
        ("threads", &old.threads.to_string(), &new.threads.to_string()),
    ] {
        if before != now {
            line(
                out,
                &format!(
                    "  Another {what}: {before} then, {now} now. The ratios are not about the code alone."
                ),
            )?;
        }
    }
    let mut slower = 0;
    for d in &all {
        let verdict = match (d.slower(tolerance), d.faster(tolerance)) {
            (true, _) => "SLOWER",
            (_, true) => "faster",
            _ => continue,
        };
        slower += usize::from(verdict == "SLOWER");
        let ratio = d.new_ns / d.old_ns;
        let covered = d.covered.filter(|(a, b)| (a - b).abs() > 0.005);
        let covered =
            covered.map(|(a, b)| format!(", covered {:.1} % then, {:.1} % now", a * 100., b * 100.));
        line(
            out,
            &format!(
                "  {verdict} {:<56} {:>9} -> {:>9}  x {ratio:.2}{}",
                d.name,
                duration(d.old_ns),
                duration(d.new_ns),
                covered.unwrap_or_default()
            ),
        )?;
    }
    let gone = old.rows.iter().filter(|r| !new.rows.iter().any(|n| n.name == r.name)).count();
    let percent = tolerance * 100.0;
    line(
        out,
        &format!(
            "  {} rows compared, {slower} slower by more than {percent:.0} % (in median, minimum and share of the memory \
             limit alike); {gone} older rows were not measured now.",
            all.len()
        ),
    )?;
    Ok(if slower > 0 { Exit::Failed } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn ended(change: impl Fn(&mut Row)) -> Exit {
        let (old, mut new) = (record(), record());
        change(&mut new.rows[0]);
        compare(&old, &new, 0.25, &mut Vec::new()).unwrap()
    }

    #[test]
    fn only_what_is_slower_in_every_respect_is_slower() {
        assert_eq!(ended(|_| {}), Exit::Done);
        let times = |r: &mut Row, by: f64| {
            (r.timing.median_ns, r.timing.min_ns) = (r.timing.median_ns * by, r.timing.min_ns * by)
        };
        assert_eq!(ended(|r| times(r, 1.3)), Exit::Failed);
        assert_eq!(ended(|r| times(r, 1.2)), Exit::Done);
        assert_eq!(ended(|r| times(r, 0.5)), Exit::Done);
        // The median alone: noise.
        assert_eq!(ended(|r| r.timing.median_ns *= 2.0), Exit::Done);
        // The whole machine is slower: its memory as well.
        assert_eq!(
            ended(|r| {
                times(r, 2.0);
                r.limit_ns = r.limit_ns.map(|l| l * 2.0);
            }),
            Exit::Done
        );
    }

    #[test]
    fn frames_that_are_no_longer_covered_count() {
        let (old, mut new) = (record(), record());
        new.rows.iter_mut().filter(|r| r.covered.is_some()).for_each(|r| r.covered = Some(0.5));
        assert_eq!(compare(&old, &new, 0.25, &mut Vec::new()).unwrap(), Exit::Failed);
    }

    #[test]
    fn records_without_a_common_row_cannot_be_compared() {
        let (old, mut new) = (record(), record());
        new.rows.clear();
        assert!(compare(&old, &new, 0.25, &mut Vec::new()).is_err());
    }
}
