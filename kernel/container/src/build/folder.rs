//! Packs a folder into a layer: entries sorted, owned by root, as of the epoch.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::digest::{Digest, Hasher};
use crate::error::{ImageError, Result};
use crate::manifest::{Descriptor, OCI_LAYER_GZIP};
use crate::store::{BlobWriter, Blobs};

/// A folder nested deeper than this is refused.
const MAX_DEPTH: usize = 128;

type Layer = Builder<HashingWriter<GzEncoder<BlobWriter>>>;

/// Gives the layer and the digest of its uncompressed tar.
pub(super) fn pack(blobs: &Blobs, folder: &Path, lease: &mut dyn FnMut(Digest)) -> Result<(Descriptor, Digest)> {
    let failed = |error| ImageError::io("packing", folder, error);
    if !fs::metadata(folder).map_err(failed)?.is_dir() {
        return Err(ImageError::malformed(
            format!("{}", folder.display()),
            "it is not a folder",
        ));
    }
    let encoder = GzEncoder::new(blobs.writer()?, Compression::default());
    let mut layer = Builder::new(HashingWriter {
        inner: encoder,
        hasher: Hasher::default(),
    });
    layer
        .append_data(&mut header(EntryType::Directory, 0o755, 0), "./", io::empty())
        .map_err(failed)?;
    add_children(&mut layer, folder, &PathBuf::new(), 0)?;
    let HashingWriter { inner, hasher } = layer.into_inner().map_err(failed)?;
    let writer = inner.finish().map_err(failed)?;
    let (digest, size) = writer.commit(lease)?;
    Ok((Descriptor::new(OCI_LAYER_GZIP, digest, size), hasher.finish()))
}

/// A header that depends on nothing but these.
pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn add_children(layer: &mut Layer, folder: &Path, within: &Path, depth: usize) -> Result<()> {
    let here = folder.join(within);
    if depth > MAX_DEPTH {
        return Err(ImageError::too_large(
            format!("{} (depth)", here.display()),
            format!("{MAX_DEPTH} directories"),
        ));
    }
    let list = || {
        fs::read_dir(&here)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut names = list().map_err(|error| ImageError::io("listing", &here, error))?;
    names.sort_unstable();
    for name in names {
        let (path, inner) = (here.join(&name), within.join(&name));
        if name.as_bytes().starts_with(b".wh.") {
            let reason = "a name that begins with .wh. would delete a file of a layer below";
            return Err(ImageError::malformed(format!("{}", path.display()), reason));
        }
        let is_folder = add(layer, &path, &inner)?;
        if is_folder {
            add_children(layer, folder, &inner, depth + 1)?;
        }
    }
    Ok(())
}

/// Adds one entry; true for a folder.
fn add(layer: &mut Layer, path: &Path, inner: &Path) -> Result<bool> {
    let failed = |error| ImageError::io("packing", path, error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let mode = found.permissions().mode() & 0o7777;
    let kind = found.file_type();
    if kind.is_dir() {
        let mut header = header(EntryType::Directory, mode, 0);
        // The slash tells a directory to readers that look at names only.
        layer
            .append_data(&mut header, inner.join(""), io::empty())
            .map_err(failed)?;
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        layer
            .append_link(&mut header(EntryType::Symlink, 0o777, 0), inner, target)
            .map_err(failed)?;
    } else if kind.is_file() {
        let file = File::open(path).map_err(failed)?;
        let mut content = file.take(found.len());
        layer
            .append_data(&mut header(EntryType::Regular, mode, found.len()), inner, &mut content)
            .map_err(failed)?;
        if content.limit() != 0 {
            return Err(ImageError::malformed(
                format!("{}", path.display()),
                "it became shorter while it was packed",
            ));
        }
    } else {
        let reason = "only files, folders and symbolic links can be packed";
        return Err(ImageError::malformed(format!("{}", path.display()), reason));
    }
    Ok(kind.is_dir())
}

struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
