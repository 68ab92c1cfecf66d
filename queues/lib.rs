//! What the engine's threads share: the queue of a target, and the list of free buffers.
//!
//! They are a crate of their own because their tests are: compiled as a test, the locks are those of a model, which runs a few
//! threads in every order that there is. No code but this knows of it.

mod free_list;
mod outbox;
#[cfg(test)]
mod tests;

pub use free_list::FreeList;
pub use outbox::{Outbox, Taken};

/// The locks; in tests those of the model.
mod sync {
    #[cfg(test)]
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
    #[cfg(not(test))]
    pub use std::sync::{Condvar, Mutex, MutexGuard};
}
