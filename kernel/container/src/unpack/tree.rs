//! Makes files beneath a directory for entries that nobody vouches for. The kernel resolves every path with
//! `RESOLVE_BENEATH`, so a link cannot lead out; the last name is always acted on without following it.

mod way;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, chmodat, chownat, fchmod, fchown, fgetxattr, fsetxattr, futimens,
    linkat, makedev, mknodat, open, openat, symlinkat, syncfs, utimensat,
};
use rustix::io::Errno;
use tar::EntryType;

use super::entry::Attributes;
use super::path::EntryPath;
use crate::error::{ImageError, Result};
use way::is_directory;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const OPAQUE: &str = "trusted.overlay.opaque";
/// Reading and writing content. Bytes.
const CHUNK: usize = 128 << 10;

/// The directory of a layer while it is filled.
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Directories of the layers below, topmost first.
    lowers: Vec<OwnedFd>,
    /// The directory that was written to last, since entries come in runs.
    last: Option<(EntryPath, OwnedFd)>,
    /// Times of directories, set when nothing is written to them any more.
    times: HashMap<Vec<u8>, Attributes>,
    buffer: Vec<u8>,
}

impl Tree {
    pub(super) fn open(target: &Path, lowers: &[PathBuf]) -> Result<Self> {
        let directory = |path: &Path| {
            open(path, DIRECTORY | OFlags::RDONLY, Mode::empty())
                .map_err(|error| ImageError::io("opening", path, error))
        };
        let lowers: Vec<_> = lowers.iter().map(|path| directory(path)).collect::<Result<_>>()?;
        let root = directory(target)?;
        let mut tree = Self {
            root,
            path: target.to_owned(),
            lowers,
            last: None,
            times: HashMap::new(),
            buffer: vec![0; CHUNK],
        };
        tree.copy_attributes_from_below(&EntryPath::parse(b"", 0)?)?;
        Ok(tree)
    }

    /// A directory of this entry's, or of the layer itself.
    pub(super) fn directory(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<()> {
        if let Some((parent, name)) = path.split() {
            let name = OsStr::from_bytes(name).to_owned();
            self.enter(&parent)?;
            self.make_directory(&name, path, true)?;
        }
        let dir = self.open_directory(path).map_err(|errno| self.refused(path, errno))?;
        let set = || {
            let (uid, gid) = attributes.owner();
            fchown(&dir, uid, gid)?;
            fchmod(&dir, Mode::from_raw_mode(attributes.mode))?;
            set_extended(&dir, attributes)
        };
        set().map_err(|errno| self.failed("making directory", path, errno))?;
        self.times.insert(path.join(), attributes.clone());
        Ok(())
    }

    /// A regular file; `spend` is asked before each piece is written.
    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        attributes: &Attributes,
        content: &mut dyn Read,
        spend: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let name = self.clear(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(self.parent(), &name, flags, Mode::from_raw_mode(0o600));
        let file = made.map_err(|errno| self.failed("creating", path, errno))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let count = content.read(&mut buffer);
            let count = count.map_err(|error| {
                ImageError::unsafe_entry(&path.join(), format!("its content cannot be read: {error}"))
            })?;
            if count == 0 {
                break;
            }
            spend(count as u64)?;
            write_all(&file, &buffer[..count]).map_err(|errno| self.failed("writing", path, errno))?;
        }
        self.buffer = buffer;
        let set = || {
            // Changing the owner clears the setuid bit and capabilities, so they come after.
            let (uid, gid) = attributes.owner();
            fchown(&file, uid, gid)?;
            fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
            set_extended(&file, attributes)?;
            futimens(&file, &attributes.times())
        };
        set().map_err(|errno| self.failed("setting attributes of", path, errno))
    }

    /// A symbolic link. Where it leads is decided in the container, not here.
    pub(super) fn symlink(&mut self, path: &EntryPath, target: &[u8], attributes: &Attributes) -> Result<()> {
        let name = self.clear(path)?;
        let parent = self.parent();
        let make = || {
            let (uid, gid) = attributes.owner();
            symlinkat(target, parent, &name)?;
            chownat(parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(parent, &name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)
        };
        make().map_err(|errno| self.failed("linking", path, errno))
    }

    /// Another name for a file that this layer has already.
    pub(super) fn hard_link(&mut self, path: &EntryPath, target: &[u8]) -> Result<()> {
        let shown = String::from_utf8_lossy(&target[..target.len().min(256)]).into_owned();
        let refuse = |reason: &str| {
            let reason = format!("a hard link to {shown:?}, {reason}");
            ImageError::unsafe_entry(&path.join(), reason)
        };
        let clean = EntryPath::parse_target(target).map_err(|_| refuse("which leads out of the layer"))?;
        let Some((target_parent, target_name)) = clean.split() else {
            return Err(refuse("which is the root directory"));
        };
        if clean == *path {
            return Err(refuse("which is itself"));
        }
        let target_dir = self.open_directory(&target_parent).map_err(|errno| match errno {
            Errno::XDEV | Errno::LOOP => refuse("which leads out of the layer"),
            _ => refuse("which this layer does not have"),
        })?;
        let name = self.clear(path)?;
        let linked = linkat(
            &target_dir,
            OsStr::from_bytes(target_name),
            self.parent(),
            &name,
            AtFlags::empty(),
        );
        linked.map_err(|errno| match errno {
            Errno::NOENT => refuse("which this layer does not have"),
            Errno::PERM => refuse("which is a directory"),
            errno => self.failed("linking", path, errno),
        })
    }

    /// A device or a pipe. The device that overlay takes for a whiteout is left out.
    pub(super) fn node(
        &mut self,
        path: &EntryPath,
        kind: EntryType,
        device: (u32, u32),
        attributes: &Attributes,
    ) -> Result<()> {
        let kind = match kind {
            EntryType::Char if device == (0, 0) => return Ok(()),
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let name = self.clear(path)?;
        let parent = self.parent();
        let make = || {
            let (uid, gid) = attributes.owner();
            mknodat(
                parent,
                &name,
                kind,
                Mode::from_raw_mode(0o600),
                makedev(device.0, device.1),
            )?;
            chownat(parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            chmodat(parent, &name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
            utimensat(parent, &name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)
        };
        make().map_err(|errno| self.failed("making node", path, errno))
    }

    /// Hides what the layers below have under this path; what this layer has there stays.
    pub(super) fn white_out(&mut self, path: &EntryPath) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            return Ok(());
        };
        self.enter(&parent)?;
        let name = OsStr::from_bytes(name);
        match self.stat(name) {
            Ok(found) if is_directory(&found) => self.make_opaque(path),
            Ok(_) => Ok(()),
            Err(_) => {
                let made = mknodat(
                    self.parent(),
                    name,
                    FileType::CharacterDevice,
                    Mode::empty(),
                    makedev(0, 0),
                );
                made.map_err(|errno| self.failed("hiding", path, errno))
            }
        }
    }

    /// Hides what the layers below have in this directory.
    pub(super) fn make_opaque(&mut self, path: &EntryPath) -> Result<()> {
        self.enter(path)?;
        let set = fsetxattr(self.parent(), OPAQUE, b"y", XattrFlags::empty());
        set.map_err(|errno| self.failed("hiding what is below", path, errno))
    }

    /// Sets the times of the directories and waits until all is on disk.
    pub(super) fn finish(self) -> Result<()> {
        for (path, attributes) in &self.times {
            let path = EntryPath::parse(path, usize::MAX)?;
            // Later entries may have replaced it.
            if let Ok(dir) = self.open_directory(&path) {
                futimens(&dir, &attributes.times())
                    .map_err(|errno| self.failed("setting the time of", &path, errno))?;
            }
        }
        syncfs(&self.root).map_err(|errno| ImageError::io("syncing", &self.path, errno))
    }
}

fn set_extended(file: &OwnedFd, attributes: &Attributes) -> Result<(), Errno> {
    for (name, value) in &attributes.extended {
        match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            // Not every file system keeps those of users; capabilities must not be lost.
            Err(Errno::NOTSUP) if name.starts_with("user.") => {}
            result => result?,
        }
    }
    Ok(())
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => {}
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}

/// The directory hides all below it, as its layer was told to.
pub(crate) fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 1];
    let Ok(dir) = open(path, DIRECTORY | OFlags::RDONLY, Mode::empty()) else {
        return false;
    };
    fgetxattr(&dir, OPAQUE, &mut value).is_ok_and(|count| value[..count] == *b"y")
}
