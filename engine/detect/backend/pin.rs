//! Which processors inference may run on.

use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A set of the machine's processors: `0,2-3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Processors {
    set: CpuSet,
    text: String,
}

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Processors, String> {
        let wrong = || format!("`{text}` is no list of processors; write for example 2,3 or 2-3");
        let number =
            |s: &str| s.trim().parse::<usize>().ok().filter(|n| *n < CpuSet::MAX_CPU).ok_or_else(wrong);
        let mut set = CpuSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            (first..=last).for_each(|n| set.set(n));
        }
        Ok(Processors { set, text: text.to_string() })
    }
}

impl Processors {
    /// Runs `start` with the calling thread on these processors: threads that it starts inherit them.
    pub(super) fn inherited<R>(&self, start: impl FnOnce() -> R) -> Result<R, String> {
        let before = sched_getaffinity(None).map_err(|e| self.refused(e))?;
        sched_setaffinity(None, &self.set).map_err(|e| self.refused(e))?;
        let made = start();
        sched_setaffinity(None, &before).map_err(|e| self.refused(e))?;
        Ok(made)
    }

    /// Keeps the calling thread on these processors from now on.
    pub(in crate::detect) fn pin_thread(&self) {
        if let Err(e) = sched_setaffinity(None, &self.set) {
            log::warn!("{}; this thread runs anywhere", self.refused(e));
        }
    }

    fn refused(&self, e: rustix::io::Errno) -> String {
        format!("cannot stay on the processors {}: {e}", self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read_and_rubbish_is_refused() {
        let Processors { set, .. } = "0,2-3".parse().unwrap();
        assert_eq!((0..8).filter(|n| set.is_set(*n)).collect::<Vec<_>>(), [0, 2, 3]);
        for text in ["", "a", "3-2", "1,", "-1", "99999", "0-"] {
            assert!(text.parse::<Processors>().unwrap_err().contains("processors"), "{text}");
        }
    }

    #[test]
    fn threads_inherit_them_and_the_caller_keeps_its_own() {
        let own = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|n| own.is_set(*n)).unwrap();
        let pin: Processors = first.to_string().parse().unwrap();
        let seen = pin.inherited(|| std::thread::spawn(|| sched_getaffinity(None).unwrap()).join().unwrap());
        assert_eq!(seen.unwrap().count(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), own);
        let none: Processors = (CpuSet::MAX_CPU - 1).to_string().parse().unwrap();
        assert!(none.inherited(|| ()).unwrap_err().contains("cannot stay"));
    }
}
