//! A detector in C, by callback; and the gate that no detection passes once its stream is closed.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use milkglass::detect::Proof;
use milkglass::detect::{InStream, look};
use milkglass::frame::DetectJob;
use milkglass::geometry::Rect;
use milkglass::picture::View;
use milkglass::{Class, Detection, Detector, Error, Result};

use crate::fault::{Calling, calling};
use crate::picture::lend;
use crate::types::*;

/// A detector of your own. It is lent a raw picture until it returns: whatever it copies is out of reach of every
/// guarantee. It writes what it found to `found` (zeroed, room for `capacity`), and how many to `*count` (0 before).
///
/// It returns 0 when it has looked at the whole picture. Anything else, and anything impossible in `found`, covers
/// nothing: the frame stays hidden. Never return 0 and a count of 0 for a picture that was not looked at: that says that
/// nobody is there. More than `capacity`: return a count above it; that fails too.
///
/// It is called by one thread at a time: by milkglass_open's caller, then by the stream's own. It must not throw, must not
/// longjmp out, and must return; a C++ exception that leaves it ends the program.
pub type DetectFn = Option<
    unsafe extern "C-unwind" fn(
        context: *mut c_void,
        picture: *const milkglass_picture,
        found: *mut milkglass_detection,
        capacity: usize,
        count: *mut usize,
    ) -> c_int,
>;

/// Room for what one detection finds.
const CAPACITY: usize = 1024;
const NOTHING: milkglass_detection = milkglass_detection {
    kind: 0,
    tentative: 0,
    x: 0.0,
    y: 0.0,
    width: 0.0,
    height: 0.0,
    score: 0.0,
    slack: 0.0,
};

/// A [`Detector`] that asks C.
pub(crate) struct Callback {
    detect: DetectFn,
    context: *mut c_void,
    classes: Vec<Class>,
    proof: Proof,
    found: Vec<milkglass_detection>,
}

// SAFETY: the program promised that its context may be used from the stream's thread, one call at a time.
unsafe impl Send for Callback {}

impl Callback {
    /// # Safety
    /// `detect` may be called with `context`, from any one thread at a time, as long as this lives.
    pub unsafe fn new(detect: DetectFn, context: *mut c_void, detects: u32, proof: Proof) -> Callback {
        let classes = Class::ALL.into_iter().filter(|class| detects & bit(*class) != 0).collect();
        Callback { detect, context, classes, proof, found: vec![NOTHING; CAPACITY] }
    }
}

impl Detector for Callback {
    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn proof(&self) -> Proof {
        self.proof
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        let refuse = |why: String| Err(Error::other(why));
        let Some(detect) = self.detect else { return refuse("there is no callback".into()) };
        let picture = lend(view, 0);
        self.found.fill(NOTHING);
        let mut count = 0;
        // SAFETY: by the promise of `new`; picture, room and count outlive the call.
        let failed = calling(Calling::Detect, || unsafe {
            detect(self.context, &raw const picture, self.found.as_mut_ptr(), CAPACITY, &raw mut count)
        });
        if failed != 0 {
            return refuse(format!("the callback returned {failed}"));
        }
        match self.found.get(..count) {
            Some(found) => found.iter().map(|d| detection(d, &self.classes)).collect(),
            None => refuse(format!("the callback found {count}, and there is room for {CAPACITY}")),
        }
    }
}

/// The values of an impossible one are not told: they are places of people.
fn detection(d: &milkglass_detection, offers: &[Class]) -> Result<Detection> {
    let refuse = |why: &str| Error::other(format!("the callback found {why}"));
    let class = offers.iter().find(|class| bit(**class) == d.kind);
    let class = class.ok_or_else(|| refuse("something of a kind that `detects` does not name"))?;
    let rect = Rect::new(d.x, d.y, d.width, d.height).ok_or_else(|| refuse("an impossible box"))?;
    if !(d.score.is_finite() && d.slack.is_finite() && d.slack >= 0.0) {
        return Err(refuse("a box with an impossible score or slack"));
    }
    Ok(Detection { class: *class, rect, score: d.score, slack: d.slack, tentative: d.tentative != 0 })
}

fn bit(class: Class) -> u32 {
    match class {
        Class::Face => MILKGLASS_FACES,
        Class::Person => MILKGLASS_PERSONS,
        _ => 0,
    }
}

/// Open until the stream is closed. Closing waits for a detection that runs.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<bool>>);

impl Gate {
    pub fn new() -> Gate {
        Gate(Arc::new(Mutex::new(true)))
    }

    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// A detector behind this gate.
    pub fn guard(&self, mut detector: Box<dyn Detector>) -> Box<dyn Detector> {
        let in_parts = detector.in_stream().is_some_and(|d| d.looks_in_parts());
        Box::new(Gated { detector, in_parts, gate: self.clone() })
    }

    fn pass(&self, detect: impl FnOnce() -> Result<Vec<Detection>>) -> Result<Vec<Detection>> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *open {
            true => detect(),
            false => Err(Error::other("the stream was closed")),
        }
    }
}

struct Gated {
    detector: Box<dyn Detector>,
    in_parts: bool,
    gate: Gate,
}

impl Detector for Gated {
    fn classes(&self) -> &[Class] {
        self.detector.classes()
    }

    fn proof(&self) -> Proof {
        self.detector.proof()
    }

    fn detect(&mut self, view: &View<'_>) -> Result<Vec<Detection>> {
        self.gate.pass(|| self.detector.detect(view))
    }

    fn in_stream(&mut self) -> Option<&mut dyn InStream> {
        Some(self)
    }
}

impl InStream for Gated {
    fn look(&mut self, job: &mut DetectJob) -> Result<Vec<Detection>> {
        self.gate.pass(|| look(self.detector.as_mut(), job))
    }

    fn looks_in_parts(&self) -> bool {
        self.in_parts
    }

    fn reuse(&mut self, list: Vec<Detection>) {
        if let Some(detector) = self.detector.in_stream() {
            detector.reuse(list);
        }
    }

    fn start(&mut self) {
        if let Some(detector) = self.detector.in_stream() {
            detector.start();
        }
    }

    fn forget(&mut self) {
        if let Some(detector) = self.detector.in_stream() {
            detector.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is asked of it besides detections.
    struct Asked(Arc<[AtomicUsize; 3]>);

    impl Asked {
        fn note(&self, what: usize) {
            self.0[what].fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Detector for Asked {
        fn classes(&self) -> &[Class] {
            &[Class::Face]
        }

        fn proof(&self) -> Proof {
            Proof::Wanted { smallest_face: 7 }
        }

        fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
            Ok(Vec::new())
        }

        fn in_stream(&mut self) -> Option<&mut dyn InStream> {
            Some(self)
        }
    }

    impl InStream for Asked {
        fn look(&mut self, _: &mut DetectJob) -> Result<Vec<Detection>> {
            Ok(Vec::new())
        }

        fn looks_in_parts(&self) -> bool {
            true
        }

        fn reuse(&mut self, _: Vec<Detection>) {
            self.note(0);
        }

        fn start(&mut self) {
            self.note(1);
        }

        fn forget(&mut self) {
            self.note(2);
        }
    }

    /// One that is not told to forget keeps the last picture, in privacy mode too.
    #[test]
    fn a_detector_behind_the_gate_is_asked_everything() {
        let asked = Arc::<[AtomicUsize; 3]>::default();
        let mut gated = Gate::new().guard(Box::new(Asked(Arc::clone(&asked))));
        assert_eq!(gated.proof(), Proof::Wanted { smallest_face: 7 });
        let inner = gated.in_stream().unwrap();
        assert!(inner.looks_in_parts());
        inner.reuse(Vec::new());
        inner.start();
        inner.forget();
        assert_eq!(asked.each_ref().map(|n| n.load(Ordering::Relaxed)), [1; 3]);
    }
}
