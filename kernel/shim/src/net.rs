//! The one interface that a new network namespace has, brought up.
#![allow(unsafe_code)] // an ioctl with a structure of the kernel's

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{io, mem, os::fd::AsRawFd};

/// Sets `lo` up in the network namespace of the caller.
pub fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zeroes is a valid `ifreq`; the ioctl reads it as such, and it lives across the call.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
