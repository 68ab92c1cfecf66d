//! A thread that starts children, and does nothing else. What a thread has given up its children lack too, so where children
//! need the network, they are started by a thread that was there before the others gave it up.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use super::handing::with_files_of;

static STARTER: OnceLock<SyncSender<Order>> = OnceLock::new();

struct Order {
    command: Command,
    started: Sender<io::Result<Child>>,
}

/// From here on [`start`] starts children from a thread that keeps what this one has now. It lives as long as the program:
/// children die with the thread that started them.
pub(crate) fn keep_a_starter() -> io::Result<()> {
    let (queue, orders) = sync_channel::<Order>(1);
    std::thread::Builder::new().name("starter".into()).spawn(move || {
        for Order { mut command, started } in orders {
            // Who ordered it waits for the answer.
            let _ = started.send(spawn(&mut command));
        }
    })?;
    let _ = STARTER.set(queue);
    Ok(())
}

/// Starts a child: by the starter, if there is one. It inherits the files that its arguments name ([`super::hand_over`]).
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let Some(queue) = STARTER.get() else { return spawn(command) };
    let (started, answer) = channel();
    let command = std::mem::replace(command, Command::new(""));
    let ended = |_| io::Error::other("the thread that starts children has ended");
    queue.send(Order { command, started }).map_err(|_| ended(()))?;
    answer.recv().map_err(|_| ended(()))?
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    with_files_of(command, Command::spawn)
}
