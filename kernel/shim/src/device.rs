//! `/dev` of a container.
//!
//! A workload may have CAP_MKNOD, as in Docker, and make a node for the disk. There is no device cgroup to forbid its use:
//! instead every filesystem of a container is mounted `nodev`, so that a node on it opens nothing, and the few devices
//! that belong into a container are binds of the node's own.
use crate::{
    error::{Doing, SetupError},
    paths::{self, attach, clone_tree},
    rootfs::{Filesystem, mounted},
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{CWD, symlinkat},
    mount::MountAttrFlags,
};
use std::{fs, os::unix::fs::FileTypeExt, path::Path};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// What is `/dev/shm` of a container that does not say. Bytes.
const SHM_SIZE: u64 = 64 << 20;

/// Mounts `/dev` and what is below it on a place.
pub fn mount(place: BorrowedFd<'_>, privileged: bool, shm_size: u64) -> Result<(), SetupError> {
    let nodev = if privileged {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_NODEV
    };
    let own = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("mode", "755"), ("size", "65536k")];
    let dev = mounted(&Filesystem {
        kind: "tmpfs",
        options: &options,
        flags: own | nodev,
    })?;
    attach(&dev, place).doing(|| "cannot mount /dev".to_owned())?;
    let dev = dev.as_fd();

    if privileged {
        for name in all_devices() {
            bind(dev, &name)?;
        }
    } else {
        DEVICES.iter().try_for_each(|name| bind(dev, name))?;
    }
    for (target, name) in LINKS {
        symlinkat(target, dev, name).doing(|| format!("cannot make /dev/{name}"))?;
    }
    let size = if shm_size == 0 { SHM_SIZE } else { shm_size }.to_string();
    let safe = own | MountAttrFlags::MOUNT_ATTR_NODEV;
    let shm = Filesystem {
        kind: "tmpfs",
        options: &[("mode", "1777"), ("size", &size)],
        flags: safe,
    };
    let pts = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let pts = Filesystem {
        kind: "devpts",
        options: &pts,
        flags: own,
    };
    let queues = Filesystem {
        kind: "mqueue",
        options: &[],
        flags: safe,
    };
    for (name, filesystem, needed) in [("shm", shm, true), ("pts", pts, true), ("mqueue", queues, false)] {
        let below = paths::create(dev, name, true).doing(|| format!("cannot make /dev/{name}"))?;
        match mounted(&filesystem) {
            Ok(mount) => attach(&mount, below.as_fd()).doing(|| format!("cannot mount /dev/{name}"))?,
            Err(error) if needed => return Err(error),
            // A kernel without message queues.
            Err(_) => {}
        }
    }
    Ok(())
}

fn bind(dev: BorrowedFd<'_>, name: &str) -> Result<(), SetupError> {
    let what = || format!("cannot bind the device /dev/{name}");
    let device = clone_tree(CWD, &Path::new("/dev").join(name), false).doing(what)?;
    let place = paths::create(dev, name, false).doing(what)?;
    attach(&device, place.as_fd()).doing(what)
}

/// The names of all devices right below `/dev` of the node.
fn all_devices() -> Vec<String> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let devices = entries.filter(|entry| {
        entry
            .file_type()
            .is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
    });
    let names = devices.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name != "ptmx" && name != "console").collect()
}
