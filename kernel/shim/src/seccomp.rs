//! The default system call filter, as Docker's: what ordinary programs need is allowed, the rest is `EPERM`, and what this
//! filter has never heard of is `ENOSYS`, so that programs fall back as they would on an older kernel.
mod table;

use crate::error::SetupError;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    sock_filter,
};
use std::collections::BTreeMap;

/// The first number that the table was not made for.
const UNKNOWN_FROM: u32 = 463;

/// `CLONE_NEW…`, all of them: Docker forbids those of namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const CAP_SYS_ADMIN: u32 = 21;

/// Builds the filter for a container that has these capabilities; some allow more calls.
pub fn filter(capabilities: u64) -> Result<BpfProgram, SetupError> {
    let failed = |error: &dyn std::fmt::Display| SetupError(format!("cannot build the system call filter: {error}"));
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let rules = rules(capabilities).map_err(|error| failed(&error))?;
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, arch).map_err(|error| failed(&error))?;
    let mut program = BpfProgram::try_from(filter).map_err(|error| failed(&error))?;
    let has_admin = capabilities & 1 << CAP_SYS_ADMIN != 0;
    refuse_unknown(&mut program, !has_admin);
    Ok(program)
}

/// Puts tests right behind the instruction that loads the number of the call. `clone3` is unknown, too: what it is asked is
/// in memory, which a filter cannot see, and the C library then falls back to `clone`.
fn refuse_unknown(program: &mut BpfProgram, clone3: bool) {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump = |code: u32, k: u32, jt: u8, jf: u8| sock_filter { code: (libc::BPF_JMP | libc::BPF_K | code) as u16, jt, jf, k };
    let nosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let answer = sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: nosys };
    let tests = if clone3 {
        vec![jump(libc::BPF_JEQ, libc::SYS_clone3 as u32, 1, 0), jump(libc::BPF_JGE, UNKNOWN_FROM, 0, 1), answer]
    } else {
        vec![jump(libc::BPF_JGE, UNKNOWN_FROM, 0, 1), answer]
    };
    if let Some(at) = program.iter().position(|step| step.code == LOAD_NUMBER && step.k == 0) {
        program.splice(at + 1..at + 1, tests);
    }
}

fn rules(capabilities: u64) -> seccompiler::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules = BTreeMap::new();
    let mut restrict = |call: i64, allowed: &[(SeccompCmpOp, u64)]| -> seccompiler::Result<()> {
        let chain = allowed.iter().map(|(compare, value)| {
            SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, compare.clone(), *value)?])
        });
        rules.insert(call, chain.collect::<Result<Vec<_>, _>>()?);
        Ok(())
    };
    // No talk to the hypervisor.
    restrict(libc::SYS_socket, &[(Ne, libc::AF_VSOCK as u64)])?;
    // Linux, 32-bit Linux, with the old layout of addresses or not, and asking.
    let personalities = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    restrict(libc::SYS_personality, &personalities.map(|value| (Eq, value)))?;
    restrict(libc::SYS_clone, &[(MaskedEq(NEW_NAMESPACES), 0)])?;
    for call in table::ALWAYS.iter().chain(table::OF_ARCH) {
        rules.insert(*call, Vec::new());
    }
    for (capability, calls) in table::WITH_CAPABILITY {
        if capabilities & 1 << capability != 0 {
            rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        }
    }
    Ok(rules)
}

/// Puts the calling process, and what it becomes, under a filter. Needs `no_new_privs` or CAP_SYS_ADMIN.
#[allow(unsafe_code)] // the kernel reads the program from memory
pub fn install(program: &BpfProgram) -> std::io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the structure and what it points to live across the call, which reads them; both `sock_filter`s are the
    // kernel's.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_would_take_it() {
        let program = filter(0xa804_25fb).unwrap();
        assert!(program.len() < 4096, "{} instructions", program.len());
        let admin = filter(u64::MAX).unwrap();
        assert!(admin.len() > program.len());
    }
}
