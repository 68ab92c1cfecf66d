//! What is measured, as a list of cases. `milkglass bench`, the criterion benches and the instruction counts share it, so
//! that a figure of one of them is a figure of all.
//!
//! Only synthetic pictures are used here; nothing in this module can reach the pixels of a frame of a camera.

mod letterbox;
mod motion;
mod path;
mod redact;

pub use milkglass::internal::InstructionSet;
use milkglass::picture::PixelFormat;

/// Every format, with its name in those of cases.
const FORMATS: [(PixelFormat, &str); 4] = [
    (PixelFormat::Nv12, "nv12"),
    (PixelFormat::I420, "i420"),
    (PixelFormat::Yuyv, "yuyv"),
    (PixelFormat::Rgb24, "rgb24"),
];

/// Something that can be timed: a kernel, or a few of them in the order in which a frame meets them.
pub struct Case {
    /// Group and what exactly, as `pixelate/nv12-200x200-4`.
    pub name: String,
    /// Luma pixels that one run makes or changes.
    pub pixels: u64,
    /// Bytes that any implementation has to read in one run.
    pub reads: u64,
    /// Bytes that any implementation has to write in one run.
    pub writes: u64,
    run: Box<dyn FnMut()>,
    check: Box<dyn FnMut() -> Result<(), String>>,
}

impl Case {
    /// `work` is what one run amounts to: luma pixels, bytes read and bytes written.
    pub fn new(
        name: impl Into<String>,
        work: (u64, u64, u64),
        run: impl FnMut() + 'static,
        check: impl FnMut() -> Result<(), String> + 'static,
    ) -> Case {
        let (pixels, reads, writes) = work;
        Case { name: name.into(), pixels, reads, writes, run: Box::new(run), check: Box::new(check) }
    }

    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }

    /// Runs it once and compares the result with what it must be: the scalar set's, to the bit.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self) -> Result<(), String> {
        (self.check)()
    }
}

/// Every case, with the loops of `set`.
pub fn cases(set: InstructionSet) -> Vec<Case> {
    let mut cases = redact::cases(set);
    cases.extend(letterbox::cases(set));
    cases.extend(motion::cases(set));
    cases.extend(path::cases(set));
    cases
}
