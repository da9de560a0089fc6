//! The default system call filter, as Docker's: what ordinary programs need is allowed, the rest is `EPERM`, and what this
//! filter has never heard of is `ENOSYS`, so that programs fall back as they would on an older kernel.
//!
//! The numbers of calls are cut into ranges with one verdict each, and the program finds the range by halving. That is a
//! tenth of the instructions of one test a call, and the kernel compiles the program anew at every start.
mod table;

use crate::sys;
use std::collections::BTreeMap;

/// One instruction of the kernel's filter machine.
type Step = libc::sock_filter;

/// The first number that the table was not made for.
const UNKNOWN_FROM: u32 = 463;

/// `CLONE_NEW…`, all of them: Docker forbids those of namespaces.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Linux, 32-bit Linux, with the old layout of addresses or not, and asking.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const CAP_SYS_ADMIN: u32 = 21;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Where `struct seccomp_data` has the number, the architecture, and the lower half of the first argument, which is all
/// that the kernel looks at of those that are tested.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENT: u32 = 16;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    Unknown,
    /// Allowed unless the first argument is this.
    Unless(u32),
    /// Allowed if the first argument has none of these bits.
    Without(u32),
    /// Allowed if the first argument is one of [`PERSONALITIES`].
    Personality,
}

/// A filter, ready to be installed.
pub struct Filter(Vec<Step>);

impl Filter {
    /// For a container that has these capabilities; some allow more calls.
    pub fn new(capabilities: u64) -> Filter {
        let mut steps = vec![
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARCH, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, AUDIT_ARCH, 1, 0),
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER, 0, 0),
        ];
        steps.extend(search(&ranges(&verdicts(capabilities))));
        Filter(steps)
    }

    /// Puts the calling process, and what it becomes, under the filter. Needs `no_new_privs` or CAP_SYS_ADMIN.
    pub fn install(&self) -> rustix::io::Result<()> {
        sys::install_filter(&self.0)
    }
}

/// The calls that are not simply denied.
fn verdicts(capabilities: u64) -> BTreeMap<u32, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut set = |call: i64, verdict| {
        if let Ok(call) = u32::try_from(call) {
            verdicts.insert(call, verdict);
        }
    };
    table::ALWAYS
        .iter()
        .chain(table::OF_ARCH)
        .for_each(|call| set(*call, Verdict::Allow));
    // No talk to the hypervisor.
    set(libc::SYS_socket, Verdict::Unless(libc::AF_VSOCK.cast_unsigned()));
    set(libc::SYS_personality, Verdict::Personality);
    set(libc::SYS_clone, Verdict::Without(NEW_NAMESPACES));
    // What it is asked is in memory, which a filter cannot see; the C library then falls back to `clone`.
    set(libc::SYS_clone3, Verdict::Unknown);
    for (capability, calls) in table::WITH_CAPABILITY {
        if capabilities & 1 << capability != 0 {
            calls.iter().for_each(|call| set(*call, Verdict::Allow));
        }
    }
    debug_assert!(capabilities & 1 << CAP_SYS_ADMIN == 0 || verdicts[&(libc::SYS_clone3 as u32)] == Verdict::Allow);
    verdicts
}

/// Where each range of calls begins, from 0 on, and the verdict over it.
fn ranges(verdicts: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for call in 0..=UNKNOWN_FROM {
        let known = verdicts.get(&call).copied().unwrap_or(Verdict::Deny);
        let verdict = if call == UNKNOWN_FROM { Verdict::Unknown } else { known };
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((call, verdict));
        }
    }
    ranges
}

/// Finds the range of the number that is loaded, and gives its verdict.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Step> {
    match ranges {
        [] => judge(Verdict::Deny),
        [(_, verdict)] => judge(*verdict),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (search(lower), search(upper));
            // A conditional jump reaches 255 steps; this one may be further.
            let distance = u32::try_from(below.len()).unwrap_or(u32::MAX);
            let mut steps = vec![
                step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, upper[0].0, 0, 1),
                step(libc::BPF_JMP | libc::BPF_JA, distance, 0, 0),
            ];
            steps.extend(below);
            steps.extend(above);
            steps
        }
    }
}

fn judge(verdict: Verdict) -> Vec<Step> {
    let (allow, deny) = (answer(libc::SECCOMP_RET_ALLOW), refuse(libc::EPERM));
    let load = step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARGUMENT, 0, 0);
    let equals = |value, yes, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Deny => vec![deny],
        Verdict::Unknown => vec![refuse(libc::ENOSYS)],
        Verdict::Unless(value) => vec![load, equals(value, 0, 1), deny, allow],
        Verdict::Without(bits) => {
            vec![
                load,
                step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, 0, 1),
                deny,
                allow,
            ]
        }
        Verdict::Personality => {
            let tests = PERSONALITIES
                .iter()
                .zip((0..=4u8).rev())
                .map(|(value, left)| equals(*value, left + 1, 0));
            [load].into_iter().chain(tests).chain([deny, allow]).collect()
        }
    }
}

fn answer(value: u32) -> Step {
    step(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

fn refuse(errno: i32) -> Step {
    answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> Step {
    Step {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: u64 = 0xa804_25fb;

    /// The kernel's machine, as far as filters of this module use it.
    fn run(filter: &Filter, arch: u32, call: u32, argument: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Step { code, jt, jf, k } = filter.0[at];
            at += 1;
            let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
            match u32::from(code) {
                0x20 => {
                    loaded = if k == NUMBER {
                        call
                    } else if k == ARCH {
                        arch
                    } else {
                        argument
                    }
                }
                0x05 => at += k as usize,
                0x15 => branch(loaded == k),
                0x35 => branch(loaded >= k),
                0x45 => branch(loaded & k != 0),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn on(capabilities: u64, call: i64, argument: u32) -> u32 {
        run(
            &Filter::new(capabilities),
            AUDIT_ARCH,
            u32::try_from(call).unwrap(),
            argument,
        )
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

    #[test]
    fn every_call_gets_the_verdict_of_the_table() {
        let filter = Filter::new(DEFAULT);
        let verdicts = verdicts(DEFAULT);
        for call in 0..600 {
            let expected = match verdicts.get(&call) {
                _ if call >= UNKNOWN_FROM => ENOSYS,
                Some(Verdict::Allow | Verdict::Unless(_) | Verdict::Without(_) | Verdict::Personality) => ALLOW,
                Some(Verdict::Unknown) => ENOSYS,
                Some(Verdict::Deny) | None => EPERM,
            };
            assert_eq!(run(&filter, AUDIT_ARCH, call, 0), expected, "call {call}");
        }
        // The 32-bit ways in.
        assert_eq!(run(&filter, AUDIT_ARCH, 0x4000_0001, 0), ENOSYS);
        assert_eq!(run(&filter, 0x4000_0003, 1, 0), libc::SECCOMP_RET_KILL_PROCESS);
        assert!(filter.0.len() < 500, "{} steps", filter.0.len());
    }

    #[test]
    fn arguments_and_capabilities_count() {
        assert_eq!(on(DEFAULT, libc::SYS_socket, 2), ALLOW);
        assert_eq!(on(DEFAULT, libc::SYS_socket, 40), EPERM);
        assert_eq!(on(DEFAULT, libc::SYS_clone, 0x003d_0f00), ALLOW);
        assert_eq!(on(DEFAULT, libc::SYS_clone, 0x1000_0000), EPERM);
        for (persona, expected) in [
            (8, ALLOW),
            (0xffff_ffff, ALLOW),
            (0x2_0008, ALLOW),
            (0x4_0000, EPERM),
            (1, EPERM),
        ] {
            assert_eq!(on(DEFAULT, libc::SYS_personality, persona), expected, "{persona:#x}");
        }
        for call in [
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_kexec_load,
        ] {
            assert_eq!(on(DEFAULT, call, 0), EPERM);
        }
        let admin = 1 << CAP_SYS_ADMIN;
        assert_eq!(
            (on(admin, libc::SYS_mount, 0), on(admin, libc::SYS_clone, 0x1000_0000)),
            (ALLOW, ALLOW)
        );
        assert_eq!(
            (on(admin, libc::SYS_clone3, 0), on(DEFAULT, libc::SYS_clone3, 0)),
            (ALLOW, ENOSYS)
        );
        assert_eq!(
            (on(admin, libc::SYS_chroot, 0), on(DEFAULT, libc::SYS_chroot, 0)),
            (EPERM, ALLOW)
        );
    }
}
