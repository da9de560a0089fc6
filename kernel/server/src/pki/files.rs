//! Files that only their owner reads, and that are there whole or not at all.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a directory, and those above it, that only this user may enter.
///
/// # Errors
/// I/O.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file of mode 0600 beside its place, syncs it, and moves it there.
///
/// # Errors
/// I/O; the file that was there before is still there then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))
}

/// Reads a small text file; none if there is no such file.
///
/// # Errors
/// I/O, or more than `limit` bytes.
pub fn read_small(path: &Path, limit: u64) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(meta) if meta.len() > limit => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has more than {limit} bytes"),
            ));
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        private_dir(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        let path = inner.join("key");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_small(&path, 10).unwrap().as_deref(), Some("two"));
        assert!(read_small(&path, 2).is_err());
        assert_eq!(read_small(&inner.join("none"), 2).unwrap(), None);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing is left beside");
    }
}
