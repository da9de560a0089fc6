//! Files that only their owner reads, and that are there whole or not at all.
use crate::credentials::KeyPair;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// No key or certificate of ours is larger.
const MAX_PAIR: u64 = 64 << 10;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

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

/// Keeps a certificate and its key as one file, the key first: there is never one of them without the other.
///
/// # Errors
/// I/O; the pair that was there before is still there then.
pub fn write_pair(path: &Path, pair: &KeyPair) -> io::Result<()> {
    let (key, certificate) = (pair.key_pem.trim_end(), pair.cert_pem.trim_end());
    write_private(path, format!("{key}\n{certificate}\n").as_bytes())
}

/// Reads what [`write_pair`] keeps; none if there is no such file.
///
/// # Errors
/// I/O, or a file that is something else.
pub fn read_pair(path: &Path) -> io::Result<Option<KeyPair>> {
    let Some(text) = read_small(path, MAX_PAIR)? else {
        return Ok(None);
    };
    match text.find(CERTIFICATE) {
        Some(at) if at > 0 => Ok(Some(KeyPair {
            key_pem: text[..at].to_owned(),
            cert_pem: text[at..].to_owned(),
        })),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not hold a key and its certificate",
        )),
    }
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

    #[test]
    fn a_pair_is_kept_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.pem");
        let pair = KeyPair {
            key_pem: "-----BEGIN PRIVATE KEY-----\nk\n-----END PRIVATE KEY-----\n".to_owned(),
            cert_pem: format!("{CERTIFICATE}\nc\n-----END CERTIFICATE-----\n"),
        };
        assert!(read_pair(&path).unwrap().is_none());
        write_pair(&path, &pair).unwrap();
        let read = read_pair(&path).unwrap().unwrap();
        assert_eq!((read.key_pem, read.cert_pem), (pair.key_pem, pair.cert_pem));
        fs::write(&path, "rubbish").unwrap();
        assert!(read_pair(&path).is_err());
    }
}
