//! Content by digest. A blob appears under its name only when it is whole, hashed and on disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{make_private_dir, sync_dir};
use crate::digest::{Digest, Hasher};
use crate::error::{ImageError, Result};
use crate::manifest::{Descriptor, check_document_size};

/// A directory of blobs, and one beside it for those under way. Also what an archive is gathered in.
#[derive(Clone)]
pub(crate) struct Blobs {
    dir: PathBuf,
    tmp: PathBuf,
}

impl Blobs {
    /// At `<root>/blobs/sha256` and `<root>/tmp`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let blobs = Self {
            dir: root.join("blobs/sha256"),
            tmp: root.join("tmp"),
        };
        make_private_dir(&blobs.dir)?;
        make_private_dir(&blobs.tmp)?;
        Ok(blobs)
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// There is a blob of this digest and size.
    pub(crate) fn has(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.path(&descriptor.digest)).is_ok_and(|found| found.is_file() && found.len() == descriptor.size)
    }

    pub(crate) fn check_present(&self, descriptor: &Descriptor) -> Result<()> {
        if self.has(descriptor) {
            return Ok(());
        }
        let path = self.path(&descriptor.digest);
        match fs::metadata(&path) {
            Ok(found) => Err(ImageError::DigestMismatch {
                what: format!("blob {}", descriptor.digest),
                expected: format!("{} bytes", descriptor.size),
                actual: format!("{} bytes", found.len()),
            }),
            Err(error) => Err(self.unreadable(&path, error)),
        }
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| self.unreadable(&path, error))
    }

    fn unreadable(&self, path: &Path, error: io::Error) -> ImageError {
        if error.kind() == io::ErrorKind::NotFound {
            let what = format!("blob {}", path.file_name().unwrap_or_default().to_string_lossy());
            return ImageError::malformed(what, "it is missing from the store; pull or load the image again");
        }
        ImageError::io("reading", path, error)
    }

    /// A manifest or config: bounded, and hashed again, as disks rot.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.path(digest);
        let file = self.open_blob(digest)?;
        let size = file
            .metadata()
            .map_err(|error| ImageError::io("reading", &path, error))?
            .len();
        check_document_size(size, &format!("blob {digest}"))?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        (&file)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| ImageError::io("reading", &path, error))?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(ImageError::DigestMismatch {
                what: format!("blob {}", path.display()),
                expected: digest.to_string(),
                actual: actual.to_string(),
            });
        }
        Ok(bytes)
    }

    pub(crate) fn writer(&self) -> Result<BlobWriter> {
        let file = tempfile::Builder::new().prefix("blob-").tempfile_in(&self.tmp);
        let file = file.map_err(|error| ImageError::io("creating a file in", &self.tmp, error))?;
        Ok(BlobWriter {
            file,
            hasher: Hasher::default(),
            written: 0,
            dir: self.dir.clone(),
        })
    }

    /// Stores these bytes, whose digest the caller has leased if need be.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.has(&Descriptor::new("", digest, bytes.len() as u64)) {
            let mut writer = self.writer()?;
            writer.append(bytes)?;
            writer.commit(&mut |_| {})?;
        }
        Ok(digest)
    }
}

/// A blob under way; dropped, it leaves nothing.
pub(crate) struct BlobWriter {
    file: NamedTempFile,
    hasher: Hasher,
    written: u64,
    dir: PathBuf,
}

impl BlobWriter {
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
            .map_err(|error| ImageError::io("writing", self.file.path(), error))
    }

    /// Begins again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let file = self.file.as_file_mut();
        let emptied = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| ImageError::io("emptying", self.file.path(), error))?;
        self.hasher = Hasher::default();
        self.written = 0;
        Ok(())
    }

    /// Stores what was written, under its digest; `lease` has a chance to keep it before it is there.
    pub(crate) fn commit(self, lease: &mut dyn FnMut(Digest)) -> Result<(Digest, u64)> {
        let digest = self.hasher.finish();
        lease(digest);
        place(self.file, &self.dir, &digest)?;
        Ok((digest, self.written))
    }

    /// Stores what was written if it is what the descriptor promises; `what` names it in errors.
    pub(crate) fn commit_as(self, expected: &Descriptor, what: &str) -> Result<()> {
        let actual = self.hasher.finish();
        if actual != expected.digest || self.written != expected.size {
            let differs = actual != expected.digest && self.written == expected.size;
            let (expected, actual) = match differs {
                true => (expected.digest.to_string(), actual.to_string()),
                false => (format!("{} bytes", expected.size), format!("{} bytes", self.written)),
            };
            return Err(ImageError::DigestMismatch {
                what: what.to_owned(),
                expected,
                actual,
            });
        }
        place(self.file, &self.dir, &actual)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn place(file: NamedTempFile, dir: &Path, digest: &Digest) -> Result<()> {
    let path = dir.join(digest.hex());
    file.as_file()
        .sync_all()
        .map_err(|error| ImageError::io("syncing", file.path(), error))?;
    file.persist(&path)
        .map_err(|error| ImageError::io("placing", &path, error.error))?;
    sync_dir(dir)
}
