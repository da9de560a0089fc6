//! Paths inside of a container's root, which an image or another container may have laid traps in.
use crate::{
    error::{Doing, SetupError},
    sys,
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};
use std::path::Path;

/// What is to be at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A directory.
    Directory,
    /// A file of any other sort.
    File,
}

/// A container's root. Every path is resolved by the kernel as if it were `/`: no link leads out.
pub struct Root(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> Result<Root, SetupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty());
        opened
            .map(Root)
            .doing(|| format!("cannot open the root filesystem {}", path.display()))
    }

    /// What is there, following links within the root.
    pub fn find(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.resolve(path, ResolveFlags::empty())
    }

    /// What is there, unless a link is on the way.
    pub fn find_plain(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.resolve(path, ResolveFlags::NO_SYMLINKS)
    }

    fn resolve(&self, path: &str, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        let path = if path.is_empty() { "." } else { path };
        // The kernel gives up with EAGAIN when something is renamed meanwhile.
        for _ in 0..32 {
            match openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                done => return done,
            }
        }
        Err(Errno::AGAIN)
    }

    /// What is there, made with its parents if it is not.
    pub fn make(&self, path: &str, leaf: Leaf) -> Result<OwnedFd, SetupError> {
        let what = || format!("cannot make {path} in the root filesystem");
        match self.find(path) {
            Err(Errno::NOENT) => {}
            found => return found.doing(what),
        }
        let names: Vec<&str> = path
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        if names.contains(&"..") {
            return Err(SetupError(format!(
                "cannot make {path} in the root filesystem: \"..\" in a path to be made"
            )));
        }
        let mut parent = self.find("").doing(what)?;
        let mut walked = String::new();
        for (at, name) in names.iter().enumerate() {
            walked.push('/');
            walked.push_str(name);
            match self.find(&walked) {
                Ok(next) => parent = next,
                Err(Errno::NOENT) => {
                    let directory = at + 1 < names.len() || leaf == Leaf::Directory;
                    // A link to nothing is refused here: the name exists.
                    parent = create(parent.as_fd(), name, directory).doing(what)?;
                }
                Err(error) => return Err(error).doing(what),
            }
        }
        Ok(parent)
    }

    /// One of the places that belong to the runtime, made if it is not there. An image that has a link there is refused.
    pub fn own_place(&self, path: &str) -> Result<OwnedFd, SetupError> {
        match self.find_plain(path) {
            Err(Errno::NOENT) => self.make(path, Leaf::Directory),
            Err(Errno::LOOP) => Err(SetupError(format!(
                "{path} in the root filesystem is a symbolic link: expected a directory"
            ))),
            found => found.doing(|| format!("cannot open {path} in the root filesystem")),
        }
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a directory or an empty file, and opens it.
pub fn create(parent: BorrowedFd<'_>, name: &str, directory: bool) -> Result<OwnedFd, Errno> {
    let open = |flags| {
        openat(
            parent,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o644),
        )
    };
    if directory {
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => open(OFlags::PATH | OFlags::DIRECTORY),
            Err(error) => Err(error),
        }
    } else {
        open(OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)
    }
}

/// Puts a mount that is nowhere yet on a place.
pub fn attach(mount: &OwnedFd, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}

/// A second mount of what a path of the node, or a descriptor with an empty path, names; it is nowhere yet.
pub fn clone_tree(base: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(base, path, flags)
}

/// Makes what a descriptor names read-only, where it is, by mounting it over itself.
pub fn seal(place: &OwnedFd) -> Result<(), Errno> {
    let tree = clone_tree(place.as_fd(), Path::new(""), true)?;
    sys::set_mount_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, true)?;
    attach(&tree, place.as_fd())
}
