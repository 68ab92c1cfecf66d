//! The open streams, by number. Numbers are never used twice, so a stale one finds nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Stream;
use crate::fault::{Fault, outside_log};
use crate::types::{milkglass_status, milkglass_stream};

struct Table {
    last: milkglass_stream,
    open: BTreeMap<milkglass_stream, Arc<Stream>>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { last: 0, open: BTreeMap::new() });

pub(crate) fn add(stream: Stream) -> milkglass_stream {
    let mut table = lock();
    table.last += 1;
    let number = table.last;
    table.open.insert(number, Arc::new(stream));
    number
}

pub(crate) fn find(number: milkglass_stream) -> Result<Arc<Stream>, Fault> {
    outside_log()?;
    lock().open.get(&number).cloned().ok_or_else(|| missing(number))
}

pub(crate) fn remove(number: milkglass_stream) -> Result<Arc<Stream>, Fault> {
    lock().open.remove(&number).ok_or_else(|| missing(number))
}

fn missing(number: milkglass_stream) -> Fault {
    Fault::new(
        milkglass_status::NO_STREAM,
        format!("there is no stream {number}: it was closed or never opened"),
    )
}

fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}
