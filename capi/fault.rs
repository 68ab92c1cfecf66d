//! How a call fails: a status for the program, a line of text for its author. And the border that no panic crosses.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use milkglass::Error;
use milkglass::policy::PolicyError;

use crate::types::milkglass_status;

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub status: milkglass_status,
    pub text: String,
}

impl Fault {
    pub fn new(status: milkglass_status, text: impl Into<String>) -> Fault {
        Fault { status, text: text.into() }
    }

    /// The caller broke a rule.
    pub fn argument(text: impl Into<String>) -> Fault {
        Fault::new(milkglass_status::ARGUMENT, text)
    }
}

impl From<PolicyError> for Fault {
    fn from(e: PolicyError) -> Fault {
        Fault::new(milkglass_status::POLICY, e.to_string())
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        let status = match &e {
            Error::Policy(_) => milkglass_status::POLICY,
            Error::Detector(_) | Error::Model(_) => milkglass_status::DETECTOR,
            Error::Camera(_) | Error::Io { .. } | Error::Evidence(_) | Error::Sink(_) => {
                milkglass_status::CAMERA
            }
            Error::Ended | Error::Failed { .. } | Error::Panicked { .. } => milkglass_status::STOPPED,
            _ => milkglass_status::ARGUMENT,
        };
        Fault::new(status, e.to_string())
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
    static CALLING: Cell<Calling> = const { Cell::new(Calling::Nothing) };
}

/// Runs a call from C. Whatever fails in it becomes a status, a panic too.
pub(crate) fn answer(call: impl FnOnce() -> Result<(), Fault>) -> milkglass_status {
    let fault = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return milkglass_status::OK,
        Ok(Err(fault)) => fault,
        Err(panic) => {
            forget(panic);
            Fault::new(milkglass_status::BUG, "a bug in milkglass; please report what was called")
        }
    };
    let text = CString::new(fault.text.replace('\0', " ")).unwrap_or_default();
    // While a thread ends its text may be gone already; then there is only the status.
    let _ = LAST.try_with(|last| last.replace(text));
    fault.status
}

/// What a panic carries could panic again when it is dropped.
fn forget(panic: Box<dyn Any + Send>) {
    std::mem::forget(panic);
}

pub(crate) fn last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Which function of the program this thread is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calling {
    Nothing,
    Detect,
    Log,
}

/// Refuses calls that would wait for the very callback they come from.
pub(crate) fn outside_callbacks(function: &str) -> Result<(), Fault> {
    match CALLING.get() {
        Calling::Nothing => Ok(()),
        _ => Err(Fault::argument(format!("{function} cannot be called from a callback"))),
    }
}

/// Refuses every call about a stream from a log callback: the line may come from the thread that would have to answer.
pub(crate) fn outside_log() -> Result<(), Fault> {
    match CALLING.get() {
        Calling::Log => Err(Fault::argument("no stream can be used from a log callback")),
        _ => Ok(()),
    }
}

/// Marks this thread as being in a function of the program.
pub(crate) fn calling<T>(which: Calling, call: impl FnOnce() -> T) -> T {
    let before = CALLING.replace(which);
    let result = call();
    CALLING.set(before);
    result
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::Arc;

    use milkglass::error::{DetectorKind, PartError, SinkKind};

    use super::*;

    /// The end of a stream is told from a target that cannot be opened, and from whatever ended it.
    #[test]
    fn statuses_follow_from_the_kind_of_an_error() {
        let status = |e: Error| Fault::from(e).status;
        let detector = || Error::from(PartError::new(DetectorKind::Own, "asleep"));
        assert_eq!(status(detector()), milkglass_status::DETECTOR);
        assert_eq!(
            status(PartError::new(SinkKind::Unsupported, "no slots").into()),
            milkglass_status::CAMERA
        );
        assert_eq!(status(PolicyError::HidesNothing.into()), milkglass_status::POLICY);
        let ends = [
            Error::Ended,
            Error::Panicked { thread: "detect".into() },
            Error::Failed { thread: "capture".into(), source: Arc::new(detector()) },
        ];
        assert!(ends.map(status).iter().all(|status| *status == milkglass_status::STOPPED));
    }

    /// What a panic carries may panic itself when it is dropped.
    struct Worse;

    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("a panic in a panic's own data");
        }
    }

    #[test]
    fn no_panic_crosses_the_border() {
        for panic in [|| panic!("a bug"), || std::panic::panic_any(Worse)] {
            let status = answer(|| {
                panic();
                Ok(())
            });
            assert_eq!(status, milkglass_status::BUG);
            // SAFETY: the text of this thread's last call that failed, and none is made meanwhile.
            let said = unsafe { CStr::from_ptr(last_error()) };
            assert!(said.to_string_lossy().contains("a bug in milkglass"));
        }
    }
}
