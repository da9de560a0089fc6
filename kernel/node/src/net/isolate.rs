//! A network for this process alone.
use super::netlink::Netlink;
use std::io;

/// Puts the calling thread, and those that it starts, into a network namespace of their own, with a loopback and nothing
/// else. It is gone when the last of them has ended.
///
/// # Errors
/// If the kernel refuses: it takes root.
pub fn own_namespace() -> io::Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: no file descriptor table or memory is unshared.
    unsafe {
        rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)?;
    }
    let mut here = Netlink::open()?;
    let loopback = here.index_of("lo")?;
    here.set_up(loopback)
}
