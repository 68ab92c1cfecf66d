//! seccomp: system calls that are refused with "permission denied". A list of what is refused, not of what is allowed: which
//! calls a foreign program and its libraries make changes from version to version, what they never need does not.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads,
};

use super::Network;

/// What neither we nor a child ever needs: other programs' memory, the kernel's insides, and `io_uring`, which opens sockets
/// past every filter.
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
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
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

/// What a child does not need besides: namespaces of its own (our launcher has made them), and signals to others.
const NEVER_A_CHILD: &[c_long] = &[
    libc::SYS_unshare,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filter of a child: it stays when the launcher becomes another program.
pub(crate) fn for_child(network: Network) -> Result<(), String> {
    let mut rules = Rules::new();
    NEVER.iter().chain(NEVER_A_CHILD).for_each(|call| refuse(&mut rules, *call, Vec::new()));
    match network {
        Network::None => refuse(&mut rules, libc::SYS_socket, Vec::new()),
        // Names are asked for by netlink and IP; no unix socket leads to another program's service.
        Network::Connects | Network::Serves(_) => {
            refuse(
                &mut rules,
                libc::SYS_socket,
                families_but(&[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK])?,
            );
        }
    }
    let new_user = libc::CLONE_NEWUSER as u64;
    refuse(&mut rules, libc::SYS_clone, vec![rule(vec![is(0, Op::MaskedEq(new_user), new_user)?])?]);
    apply_filter(&program(rules, libc::EACCES)?).map_err(plain)?;
    // Its flags lie in memory, where no filter can look. Without it, libraries take `clone`.
    let mut rules = Rules::new();
    refuse(&mut rules, libc::SYS_clone3, Vec::new());
    apply_filter(&program(rules, libc::ENOSYS)?).map_err(plain)
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
    NEVER.iter().for_each(|call| refuse(&mut rules, *call, Vec::new()));
    refuse(&mut rules, libc::SYS_socket, families_but(&[libc::AF_UNIX])?);
    program(rules, libc::EACCES)
}

/// A socket of any other family.
fn families_but(allowed: &[i32]) -> Result<Vec<SeccompRule>, String> {
    let others = allowed.iter().map(|family| is(0, Op::Ne, u64::from(family.cast_unsigned())));
    Ok(vec![rule(others.collect::<Result<_, _>>()?)?])
}

/// Refuses a call, or only where one of `when` holds.
fn refuse(rules: &mut Rules, call: c_long, when: Vec<SeccompRule>) {
    #[allow(clippy::useless_conversion, reason = "32 bits on some processors")]
    let call = i64::from(call);
    // The second way to the same call, with pointers of 32 bits.
    #[cfg(target_arch = "x86_64")]
    rules.insert(call | 0x4000_0000, when.clone());
    rules.insert(call, when);
}

fn is(argument: u8, op: Op, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, Len::Dword, op, value).map_err(|error| format!("seccomp: {error}"))
}

fn rule(all: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(all).map_err(|error| format!("seccomp: {error}"))
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, String> {
    let built = || {
        let refused = SeccompAction::Errno(errno.cast_unsigned());
        SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?
            .try_into()
    };
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
