//! The TUN device: the kernel's packets come out of it and ours go in, large ones in one piece.
//!
//! It lives as long as this process holds it.
#![allow(unsafe_code)] // The ioctls that make a TUN device are wrapped by nobody.
use crate::packet::OFFLOAD;
use bytes::Bytes;
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
};
use std::{
    io::{self, IoSlice},
    mem,
};

const DEVICE: &str = "/dev/net/tun";

/// Pieces of a packet that one call gives to the kernel.
const PIECES: usize = 128;

/// The longest packet, with what the kernel says of it.
pub(crate) const LONGEST: usize = OFFLOAD + 65_535;

pub(crate) struct Tun {
    fd: OwnedFd,
    /// Whether the kernel takes and gives UDP in one piece; it does from Linux 6.2 on.
    udp: bool,
}

impl Tun {
    /// Makes a device of this name in the network namespace of the calling thread.
    pub fn make(name: &str) -> io::Result<Self> {
        // SAFETY: all zeros is a valid value of this C struct.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        let fits = request.ifr_name.len() - 1;
        if name.is_empty() || name.len() > fits || name.contains(['/', '%', '\0', ' ']) {
            let error = format!("an interface cannot be called \"{name}\": 1 to {fits} bytes without / and blanks");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        for (at, byte) in name.bytes().enumerate() {
            request.ifr_name[at] = libc::c_char::from_ne_bytes([byte]);
        }
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
        request.ifr_ifru.ifru_flags = flags.to_ne_bytes()[..2]
            .try_into()
            .map(i16::from_ne_bytes)
            .unwrap_or_default();
        let open = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(DEVICE, open, Mode::empty())?;
        // SAFETY: the kernel reads and writes one `ifreq`, which lives through the call.
        checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
        let offers = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        let both = offers | libc::TUN_F_USO4 | libc::TUN_F_USO6;
        // SAFETY: the argument is a number.
        let offer =
            |offers| checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offers)) });
        let udp = offer(both).is_ok();
        if !udp {
            offer(offers)?;
        }
        Ok(Tun { fd, udp })
    }

    pub fn takes_udp(&self) -> bool {
        self.udp
    }

    /// The next packet, after what the kernel says of it. None: there is none.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.fd, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the kernel a packet: its beginning, with what the kernel is told, and the pieces after it.
    pub fn write(&self, head: &[u8], parts: &[Bytes]) -> io::Result<()> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        pieces[0] = IoSlice::new(head);
        for (piece, part) in pieces[1..].iter_mut().zip(parts) {
            *piece = IoSlice::new(part);
        }
        let count = (1 + parts.len()).min(PIECES);
        rustix::io::writev(&self.fd, &pieces[..count])?;
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
