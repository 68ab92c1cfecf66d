//! seccomp: which system calls are left. To children those that are listed in `allowed.rs`, everything else is refused with
//! "not permitted"; to our own program all but the network and what it never needs, for what its libraries call changes from
//! version to version.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads,
};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::allowed;
use super::{Access, Network};

/// What our own program never needs: other programs' memory, the kernel's insides, and `io_uring`, which opens sockets
/// past every filter. Mounts stay: a child of ours, which inherits this, builds its own file system before it gives them up.
const NEVER: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filter of a child: it stays when the launcher becomes another program.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn for_child(access: &Access) -> Result<(), String> {
    // The one that is applied last answers where both refuse.
    let mut unknown = Rules::new();
    for call in allowed::UNKNOWN.iter().copied().chain(allowed::NEWER) {
        name(&mut unknown, call, Vec::new());
    }
    let rules = left_to_child(access)?;
    let (refuse, pass) = (SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow);
    let unknown = program(unknown, pass.clone(), SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?;
    let listed = program(rules, refuse, pass)?;
    apply_filter(&unknown).and_then(|()| apply_filter(&listed)).map_err(plain)
}

/// Which calls a processor of another kind has is not known here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn for_child(_access: &Access) -> Result<(), String> {
    Err(format!("seccomp: no list for {}", std::env::consts::ARCH))
}

/// What a child may call, and with which arguments. Calls that are answered with "there is no such call" pass here.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn left_to_child(access: &Access) -> Result<Rules, String> {
    let mut rules = Rules::new();
    let mut lists = vec![allowed::ALWAYS, allowed::UNKNOWN];
    if !access.writes.is_empty() {
        lists.push(allowed::WRITES);
    }
    if access.writes.iter().any(|path| path.is_dir()) {
        lists.push(allowed::FOLDERS);
    }
    match access.network {
        Network::None => {}
        Network::Connects => lists.extend([allowed::SPEAKS, allowed::CONNECTS]),
        Network::Serves(_) => lists.extend([allowed::SPEAKS, allowed::SERVES]),
    }
    if access.devices {
        lists.push(allowed::DEVICES);
    }
    lists
        .into_iter()
        .flatten()
        .copied()
        .chain(allowed::NEWER)
        .for_each(|call| name(&mut rules, call, vec![]));

    // Threads of its own, and neither other programs nor namespaces.
    let thread = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;
    let apart = (libc::CLONE_NEWNS | libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNET) as u64;
    let flags = vec![is(0, Op::MaskedEq(thread), thread)?, is(0, Op::MaskedEq(apart), 0)?];
    name(&mut rules, libc::SYS_clone, vec![rule(flags)?]);
    // Signals to itself: how a library gives up.
    let own = u64::from(std::process::id());
    name(&mut rules, libc::SYS_kill, vec![rule(vec![is(0, Op::Eq, own)?])?]);
    name(&mut rules, libc::SYS_tgkill, vec![rule(vec![is(0, Op::Eq, own)?])?]);
    // Limits and processors of its own: 0 stands for the caller. Nothing is set.
    let own = [0, own];
    let of_its_own = |also: Option<SeccompCondition>| -> Result<Vec<SeccompRule>, String> {
        own.iter().map(|id| rule([is(0, Op::Eq, *id)?].into_iter().chain(also.clone()).collect())).collect()
    };
    let asks =
        SeccompCondition::new(2, Len::Qword, Op::Eq, 0).map_err(|error| format!("seccomp: {error}"))?;
    name(&mut rules, libc::SYS_prlimit64, of_its_own(Some(asks))?);
    name(&mut rules, libc::SYS_sched_getaffinity, of_its_own(None)?);
    name(&mut rules, libc::SYS_sched_getattr, of_its_own(None)?);
    name(&mut rules, libc::SYS_fcntl, one_of(1, allowed::FCNTL)?);
    name(&mut rules, libc::SYS_prctl, one_of(0, allowed::PRCTL)?);
    if !access.devices {
        let requests =
            allowed::IOCTL.iter().map(|request| rule(vec![is(1, Op::Eq, u64::from(*request as u32))?]));
        name(&mut rules, libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    }
    if let Network::Serves(_) = access.network {
        let connects = libc::MSG_FASTOPEN as u64;
        for (call, flags) in allowed::ANSWERS {
            name(&mut rules, *call, vec![rule(vec![is(*flags, Op::MaskedEq(connects), 0)?])?]);
        }
    }
    if access.network != Network::None {
        // Names are asked for by IP, and addresses of this machine by netlink; no unix socket leads to another program's
        // service.
        let mut families = one_of(0, &[libc::AF_INET, libc::AF_INET6])?;
        families.push(rule(vec![
            is(0, Op::Eq, libc::AF_NETLINK as u64)?,
            is(2, Op::Eq, libc::NETLINK_ROUTE as u64)?,
        ])?);
        name(&mut rules, libc::SYS_socket, families);
        name(&mut rules, libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX])?);
    }
    Ok(rules)
}

/// One rule for each value of an argument.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, String> {
    values.iter().map(|value| rule(vec![is(argument, Op::Eq, u64::from(value.cast_unsigned()))?])).collect()
}

/// Takes from this thread, and all that it starts from here on, sockets that lead beyond this machine. Those that are there
/// go on.
pub(crate) fn for_this_thread() -> Result<(), String> {
    apply_filter(&without_network()?).map_err(plain)
}

/// The same for all threads of this program.
pub(crate) fn for_all_threads() -> Result<(), String> {
    apply_filter_all_threads(&without_network()?).map_err(plain)
}

fn without_network() -> Result<BpfProgram, String> {
    let mut rules = Rules::new();
    NEVER.iter().for_each(|call| name_both(&mut rules, *call, Vec::new()));
    name_both(&mut rules, libc::SYS_socket, families_but(&[libc::AF_UNIX])?);
    program(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EACCES.cast_unsigned()))
}

/// A socket of any other family.
fn families_but(allowed: &[i32]) -> Result<Vec<SeccompRule>, String> {
    let others = allowed.iter().map(|family| is(0, Op::Ne, u64::from(family.cast_unsigned())));
    Ok(vec![rule(others.collect::<Result<_, _>>()?)?])
}

/// Puts a call on a list, or only where one of `when` holds.
fn name(rules: &mut Rules, call: c_long, when: Vec<SeccompRule>) {
    #[allow(clippy::useless_conversion, reason = "32 bits on some processors")]
    rules.insert(i64::from(call), when);
}

/// The same, and the second way to the call, with pointers of 32 bits.
fn name_both(rules: &mut Rules, call: c_long, when: Vec<SeccompRule>) {
    #[cfg(target_arch = "x86_64")]
    name(rules, call | 0x4000_0000, when.clone());
    name(rules, call, when);
}

fn is(argument: u8, op: Op, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, Len::Dword, op, value).map_err(|error| format!("seccomp: {error}"))
}

fn rule(all: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(all).map_err(|error| format!("seccomp: {error}"))
}

/// What is done with calls that are not on the list, and with those that are. Another processor's calls end the program.
fn program(rules: Rules, others: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, String> {
    let built = || SeccompFilter::new(rules, others, listed, std::env::consts::ARCH.try_into()?)?.try_into();
    built().map_err(|error: seccompiler::BackendError| format!("seccomp: {error}"))
}

fn plain(error: seccompiler::Error) -> String {
    format!("seccomp: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread finds when it has given up the network.
    #[test]
    fn a_thread_keeps_unix_sockets_alone() {
        let tried = std::thread::spawn(|| {
            let before = std::net::UdpSocket::bind("127.0.0.1:0").is_ok();
            let applied = for_this_thread();
            let inet = std::net::UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|e| e.kind());
            (before, applied, inet, std::os::unix::net::UnixDatagram::unbound().is_ok())
        });
        let (before, applied, inet, unix) = tried.join().unwrap();
        if let Err(why) = applied {
            #[allow(clippy::print_stderr, reason = "says why nothing was tested")]
            return eprintln!("skipped: {why}");
        }
        assert!(before && unix);
        assert_eq!(inet, Err(std::io::ErrorKind::PermissionDenied));
    }
}
