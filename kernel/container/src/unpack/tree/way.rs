//! How a tree gets to the directory of an entry, and makes room for it there. Nothing here follows a link out.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, XattrFlags, fchmod, fchown, fsetxattr, fstat,
    mkdirat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use super::{DIRECTORY, OPAQUE, Tree};
use crate::error::{ImageError, Result};
use crate::unpack::path::EntryPath;

impl Tree {
    /// The directory that was entered last.
    pub(super) fn parent(&self) -> &OwnedFd {
        self.last.as_ref().map_or(&self.root, |(_, dir)| dir)
    }

    pub(super) fn open_directory(&self, path: &EntryPath) -> Result<OwnedFd, Errno> {
        open_beneath(&self.root, path, DIRECTORY)
    }

    pub(super) fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        statat(self.parent(), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Makes this directory the current one; it and what leads there is made if it is not there.
    pub(super) fn enter(&mut self, path: &EntryPath) -> Result<()> {
        if self.last.as_ref().is_some_and(|(last, _)| last == path) {
            return Ok(());
        }
        let dir = match self.open_directory(path) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_implied(path)?,
            Err(errno) => return Err(self.refused(path, errno)),
        };
        self.last = Some((path.clone(), dir));
        Ok(())
    }

    pub(super) fn make_implied(&mut self, path: &EntryPath) -> Result<OwnedFd> {
        for depth in 1..=path.components().len() {
            let prefix = path.prefix(depth);
            match self.open_directory(&prefix) {
                Ok(_) => continue,
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(self.refused(&prefix, errno)),
            }
            let parent = path.prefix(depth - 1);
            let dir = self
                .open_directory(&parent)
                .map_err(|errno| self.refused(&parent, errno))?;
            self.last = Some((parent, dir));
            let name = OsStr::from_bytes(&path.components()[depth - 1]).to_owned();
            self.make_directory(&name, &prefix, false)?;
            self.copy_attributes_from_below(&prefix)?;
        }
        self.open_directory(path).map_err(|errno| self.refused(path, errno))
    }

    /// Makes a directory in the current one, if there is none. Only an entry of its own may replace another file.
    pub(super) fn make_directory(&mut self, name: &OsStr, path: &EntryPath, may_replace: bool) -> Result<()> {
        let make = |tree: &Self| mkdirat(tree.parent(), name, Mode::from_raw_mode(0o755));
        match make(self) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.failed("making directory", path, errno)),
        }
        let found = self
            .stat(name)
            .map_err(|errno| self.failed("making directory", path, errno))?;
        if is_directory(&found) {
            return Ok(());
        }
        let hidden = is_whiteout(&found);
        if !hidden && !may_replace {
            let reason = "a directory on the way to it is something else in this layer";
            return Err(ImageError::unsafe_entry(&path.join(), reason));
        }
        let replace = || {
            unlinkat(self.parent(), name, AtFlags::empty())?;
            make(self)?;
            if hidden {
                let dir = open_beneath(&self.root, path, DIRECTORY)?;
                fsetxattr(&dir, OPAQUE, b"y", XattrFlags::empty())?;
            }
            Ok(())
        };
        replace().map_err(|errno| self.failed("making directory", path, errno))
    }

    /// Enters the directory of this entry and removes what has its name there.
    pub(super) fn clear(&mut self, path: &EntryPath) -> Result<OsString> {
        let Some((parent, name)) = path.split() else {
            return Err(ImageError::unsafe_entry(b"./", "it would replace the root directory"));
        };
        self.enter(&parent)?;
        let name = OsStr::from_bytes(name).to_owned();
        let cleared = match self.stat(&name) {
            Err(Errno::NOENT) => return Ok(name),
            Err(errno) => Err(errno),
            Ok(found) if is_directory(&found) => unlinkat(self.parent(), &name, AtFlags::REMOVEDIR),
            Ok(_) => unlinkat(self.parent(), &name, AtFlags::empty()),
        };
        match cleared {
            Ok(()) => Ok(name),
            Err(Errno::NOTEMPTY) => Err(ImageError::unsafe_entry(
                &path.join(),
                "it would replace a directory that is not empty",
            )),
            Err(errno) => Err(self.failed("replacing", path, errno)),
        }
    }

    /// A directory that is only implied looks as it does below, or it would change what is merged with it.
    pub(super) fn copy_attributes_from_below(&mut self, path: &EntryPath) -> Result<()> {
        let below = self.lowers.iter().find_map(|lower| {
            let dir = open_beneath(lower, path, DIRECTORY | OFlags::NOFOLLOW).ok()?;
            fstat(&dir).ok()
        });
        let dir = self.open_directory(path).map_err(|errno| self.refused(path, errno))?;
        let (mode, uid, gid) = below.map_or((0o755, 0, 0), |found| {
            (found.st_mode & 0o7777, found.st_uid, found.st_gid)
        });
        let set = || {
            fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            fchmod(&dir, Mode::from_raw_mode(mode))
        };
        set().map_err(|errno| self.failed("making directory", path, errno))
    }

    /// Why a directory on the way cannot be entered.
    pub(super) fn refused(&self, path: &EntryPath, errno: Errno) -> ImageError {
        match errno {
            Errno::XDEV => ImageError::unsafe_entry(&path.join(), "a symbolic link on the way leads out of the layer"),
            Errno::LOOP => ImageError::unsafe_entry(&path.join(), "a symbolic link on the way leads nowhere"),
            Errno::NOENT | Errno::NOTDIR | Errno::EXIST => {
                ImageError::unsafe_entry(&path.join(), "something on the way to it is not a directory")
            }
            errno => self.failed("entering", path, errno),
        }
    }

    pub(super) fn failed(&self, action: &'static str, path: &EntryPath, errno: Errno) -> ImageError {
        if errno == Errno::PERM && !rustix::process::geteuid().is_root() {
            return ImageError::unsupported("unpacking a container image without root", "run the node as root");
        }
        ImageError::io(action, self.path.join(OsStr::from_bytes(&path.join())), errno)
    }
}

fn open_beneath(root: &OwnedFd, path: &EntryPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let path = path.join();
    let path: &[u8] = if path.is_empty() { b"." } else { &path };
    openat2(root, path, flags | OFlags::RDONLY, Mode::empty(), resolve)
}

pub(super) fn is_directory(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

fn is_whiteout(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}
