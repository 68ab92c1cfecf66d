//! The buffers that nobody uses: taken by the source, given back by whoever drops a frame.

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Things of a fixed number; nothing is ever made or freed.
pub struct FreeList<T> {
    free: Mutex<Vec<T>>,
    returned: Condvar,
}

impl<T> FreeList<T> {
    /// All of them, free.
    pub fn new(all: impl Iterator<Item = T>) -> FreeList<T> {
        FreeList { free: Mutex::new(all.collect()), returned: Condvar::new() }
    }

    /// One of them; `None` when all are in use.
    pub fn take(&self) -> Option<T> {
        self.lock().pop()
    }

    /// Gives one back.
    pub fn give(&self, one: T) {
        self.lock().push(one);
        self.returned.notify_one();
    }

    /// Waits until one is free, at most `patience`; true when one is.
    pub fn wait(&self, patience: Duration) -> bool {
        let waited = self.returned.wait_timeout_while(self.lock(), patience, |free| free.is_empty());
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// How many are free.
    #[allow(clippy::len_without_is_empty, reason = "a count, and never asked whether it is 0")]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Every state of the list is a good one, so a poisoned lock is no reason to lose buffers.
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
