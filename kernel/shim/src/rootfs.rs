//! What a container sees as `/`, built in its own mount namespace right after the fork, so that it is gone with it.
use crate::{
    device,
    error::{Doing, SetupError},
    paths::{Leaf, Root, attach, clone_tree, create, seal},
    protocol::{ContainerSpec, Mount, Source},
    sys,
};
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{CWD, Mode, OFlags, fstat, openat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create, fsconfig_set_string,
        fsmount, fsopen, unmount,
    },
    process::{chdir, fchdir, pivot_root},
};
use std::{
    ffi::CString,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// What Docker hides: it tells about the node, or changes it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What Docker makes read-only: writing there would change the node.
const SEALED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A filesystem of the kernel's own, to be mounted.
pub struct Filesystem<'a> {
    pub kind: &'a str,
    pub options: &'a [(&'a str, &'a str)],
    pub flags: MountAttrFlags,
}

/// Mounts a filesystem, nowhere yet.
pub fn mounted(filesystem: &Filesystem<'_>) -> Result<OwnedFd, SetupError> {
    let mount = || -> Result<OwnedFd, Errno> {
        let context = fsopen(filesystem.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in filesystem.options {
            fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, filesystem.flags)
    };
    mount().doing(|| format!("cannot mount a filesystem of type {}", filesystem.kind))
}

/// The layers of an overlay.
pub struct Layers<'a> {
    pub lower: &'a [PathBuf],
    pub upper: &'a Path,
    pub work: &'a Path,
    /// Where it is mounted, as this container sees it.
    pub target: &'a Path,
}

/// Makes the caller's mount namespace that of a container, and its `/` the container's. `cgroups` are the container's own
/// directories by controller; version 2 has the name "".
pub fn enter(spec: &ContainerSpec, layers: &Layers<'_>, cgroups: &[(String, PathBuf)]) -> Result<(), SetupError> {
    mount_overlay(layers, spec.privileged)?;
    let root = Root::open(layers.target)?;
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let sealed = if spec.privileged {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    for (kind, place, flags) in [("proc", "/proc", safe), ("sysfs", "/sys", safe | sealed)] {
        let target = root.own_place(place)?;
        let mount = mounted(&Filesystem {
            kind,
            options: &[],
            flags,
        })?;
        attach(&mount, target.as_fd()).doing(|| format!("cannot mount {place}"))?;
    }
    mount_cgroups(&root, cgroups)?;
    device::mount(root.own_place("/dev")?.as_fd(), spec.privileged, spec.shm_size)?;
    for mount in &spec.mounts {
        mount_one(&root, mount, spec.privileged)?;
    }
    if !spec.privileged {
        mask(&root)?;
    }
    if spec.readonly_rootfs {
        let done = sys::set_mount_attributes(root.as_fd(), libc::MOUNT_ATTR_RDONLY, false);
        done.doing(|| "cannot make the root filesystem read-only".to_owned())?;
    }
    change_root(&root).doing(|| "cannot change the root".to_owned())
}

/// Covers files of the node by others, for this container alone. What the node does not have is not covered.
pub fn cover(mounts: &[Mount]) -> Result<(), SetupError> {
    for mount in mounts {
        let Source::Bind(source) = &mount.source else {
            return Err(SetupError(format!("{} can be covered by a file only", mount.target)));
        };
        let what = || format!("cannot cover {} by {}", mount.target, source.display());
        let place = match openat(CWD, &*mount.target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            place => place.doing(what)?,
        };
        let tree = clone_tree(CWD, source, false).doing(what)?;
        let readonly = if mount.readonly { libc::MOUNT_ATTR_RDONLY } else { 0 };
        sys::set_mount_attributes(tree.as_fd(), readonly | libc::MOUNT_ATTR_NODEV, false).doing(what)?;
        attach(&tree, place.as_fd()).doing(what)?;
    }
    Ok(())
}

/// Layers are named by descriptor: options are limited to a page, and paths may hold what overlay takes for a separator.
fn mount_overlay(layers: &Layers<'_>, privileged: bool) -> Result<(), SetupError> {
    let open = |path: &Path| -> Result<OwnedFd, SetupError> {
        let opened = openat(
            CWD,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        opened.doing(|| format!("cannot open the layer {}", path.display()))
    };
    let make = |path: &Path| {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.doing(|| format!("cannot make {}", path.display()))?;
        open(path)
    };
    let lower = layers
        .lower
        .iter()
        .map(|path| open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (make(layers.upper)?, make(layers.work)?);
    // The mark of an earlier mount that was not synced, as none is: a start that failed is tried again with the same layer.
    let _ = fs::remove_dir_all(layers.work.join("work/incompat"));
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower = lower.iter().map(name).collect::<Vec<_>>().join(":");
    let plain = format!("lowerdir={lower},upperdir={},workdir={}", name(&upper), name(&work));
    let flags = if privileged {
        MountFlags::empty()
    } else {
        MountFlags::NODEV
    };
    // Nothing of a container's own layer survives it: no need to sync it, which would sync the node's whole disk.
    let mount = |options: String| -> Result<(), Errno> {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", layers.target, "overlay", flags, options.as_c_str())
    };
    let done = match mount(format!("{plain},volatile")) {
        Err(Errno::INVAL) => mount(plain),
        done => done,
    };
    done.doing(|| format!("cannot mount the overlay of {} layers", layers.lower.len()))
}

/// A container sees its own cgroup and no other, read-only: runtimes size themselves by it.
fn mount_cgroups(root: &Root, cgroups: &[(String, PathBuf)]) -> Result<(), SetupError> {
    let what = || "cannot mount /sys/fs/cgroup".to_owned();
    let bind = |path: &Path| -> Result<OwnedFd, Errno> {
        let tree = clone_tree(CWD, path, false)?;
        let flags =
            libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        sys::set_mount_attributes(tree.as_fd(), flags, false)?;
        Ok(tree)
    };
    if cgroups.is_empty() {
        return Ok(());
    }
    let place = root.find_plain("/sys/fs/cgroup").doing(what)?;
    if let [(name, path)] = cgroups
        && name.is_empty()
    {
        return attach(&bind(path).doing(what)?, place.as_fd()).doing(what);
    }
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let above = mounted(&Filesystem {
        kind: "tmpfs",
        options: &[("mode", "755"), ("size", "64k")],
        flags,
    })?;
    attach(&above, place.as_fd()).doing(what)?;
    for (name, path) in cgroups {
        let name = if name.is_empty() { "unified" } else { name };
        let place = create(above.as_fd(), name, true).doing(what)?;
        attach(&bind(path).doing(what)?, place.as_fd()).doing(what)?;
    }
    sys::set_mount_attributes(above.as_fd(), libc::MOUNT_ATTR_RDONLY, false).doing(what)
}

fn mount_one(root: &Root, mount: &Mount, privileged: bool) -> Result<(), SetupError> {
    let nodev = if privileged { 0 } else { libc::MOUNT_ATTR_NODEV };
    let readonly = if mount.readonly { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let (tree, leaf) = match &mount.source {
        Source::Bind(source) => {
            let what = || format!("cannot mount {} at {}", source.display(), mount.target);
            let tree = clone_tree(CWD, source, true).doing(what)?;
            let status = fstat(&tree).doing(what)?;
            let directory = rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir();
            (tree, if directory { Leaf::Directory } else { Leaf::File })
        }
        Source::Tmpfs { size } => {
            let size = size.to_string();
            let options: &[_] = if size == "0" {
                &[("mode", "1777")]
            } else {
                &[("mode", "1777"), ("size", &size)]
            };
            (
                mounted(&Filesystem {
                    kind: "tmpfs",
                    options,
                    flags: MountAttrFlags::MOUNT_ATTR_NOSUID,
                })?,
                Leaf::Directory,
            )
        }
    };
    let what = || format!("cannot mount at {}", mount.target);
    sys::set_mount_attributes(tree.as_fd(), nodev | readonly, true).doing(what)?;
    let place = root.make(&mount.target, leaf)?;
    attach(&tree, place.as_fd()).doing(what)
}

fn mask(root: &Root) -> Result<(), SetupError> {
    let mut nothing = None;
    for path in MASKED {
        let Ok(place) = root.find_plain(path) else { continue };
        let what = || format!("cannot mask {path}");
        let directory = rustix::fs::FileType::from_raw_mode(fstat(&place).doing(what)?.st_mode).is_dir();
        let cover = match (directory, &nothing) {
            (false, _) => clone_tree(CWD, Path::new("/dev/null"), false).doing(what)?,
            (true, Some(nothing)) => clone_tree(AsFd::as_fd(nothing), Path::new(""), false).doing(what)?,
            (true, None) => {
                let flags = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
                mounted(&Filesystem {
                    kind: "tmpfs",
                    options: &[("mode", "755"), ("size", "0")],
                    flags,
                })?
            }
        };
        attach(&cover, place.as_fd()).doing(what)?;
        if directory && nothing.is_none() {
            nothing = Some(cover);
        }
    }
    for path in SEALED {
        if let Ok(place) = root.find_plain(path) {
            seal(&place).doing(|| format!("cannot make {path} read-only"))?;
        }
    }
    Ok(())
}

/// The old root is put over the new one, where it can be taken off without a directory for it.
fn change_root(root: &Root) -> Result<(), Errno> {
    fchdir(root.as_fd())?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}
