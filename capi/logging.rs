//! What the library says, to a function of the program.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{OnceLock, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::fault::{Calling, Fault, calling, outside_callbacks};

/// Is told a line: its level, 1 (error) to 5 (trace), and its text, good until it returns. May be called from several
/// threads at once. It must not throw and must not longjmp out.
pub type LogFn = Option<unsafe extern "C-unwind" fn(context: *mut c_void, level: c_int, text: *const c_char)>;

struct Route {
    log: LogFn,
    context: *mut c_void,
}

// SAFETY: the program promised that function and context may be used from every thread.
unsafe impl Send for Route {}
// SAFETY: as above; calls at once are part of the promise.
unsafe impl Sync for Route {}

static ROUTE: RwLock<Route> = RwLock::new(Route { log: None, context: std::ptr::null_mut() });

/// Whether the facade is ours; the first call decides.
static OURS: OnceLock<bool> = OnceLock::new();

pub(crate) fn route(log: LogFn, context: *mut c_void, level: c_int) -> Result<(), Fault> {
    let filter = match (log, level) {
        (None, _) => LevelFilter::Off,
        (_, 1) => LevelFilter::Error,
        (_, 2) => LevelFilter::Warn,
        (_, 3) => LevelFilter::Info,
        (_, 4) => LevelFilter::Debug,
        (_, 5) => LevelFilter::Trace,
        _ => return Err(Fault::argument(format!("level is {level}: it goes from 1 (errors) to 5 (all)"))),
    };
    if !OURS.get_or_init(|| log::set_logger(&ToC).is_ok()) {
        return Err(Fault::argument("this program has a logger of Rust's own, which the library speaks to"));
    }
    // Waits for lines that are being told.
    *ROUTE.write().unwrap_or_else(PoisonError::into_inner) = Route { log, context };
    log::set_max_level(filter);
    Ok(())
}

struct ToC;

impl Log for ToC {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("milkglass")
    }

    fn log(&self, record: &Record<'_>) {
        // A line that a callback caused by a call of its own is not told: it could wait for itself.
        if !self.enabled(record.metadata()) || outside_callbacks("").is_err() {
            return;
        }
        let route = ROUTE.read().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = route.log else { return };
        let text = CString::new(record.args().to_string().replace('\0', " ")).unwrap_or_default();
        let level = match record.level() {
            Level::Error => 1,
            Level::Warn => 2,
            Level::Info => 3,
            Level::Debug => 4,
            Level::Trace => 5,
        };
        // SAFETY: function and context are good by the caller's promise; the text outlives the call.
        calling(Calling::Log, || unsafe { log(route.context, level, text.as_ptr()) });
    }

    fn flush(&self) {}
}
