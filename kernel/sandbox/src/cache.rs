//! Compiled components on disk, by the digest of the component and what the engine is: compiled once, mapped after.
//!
//! What is mapped is machine code that is run as it is, so only files in a directory that this user alone can write are
//! taken.
#![allow(unsafe_code)] // Mapping compiled code is what this module is for; `trusted` is the reason it may.
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use wasmtime::{Engine, component::Component};

/// `sha256:` and 64 hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The component, from the cache or compiled and put there. A cache that cannot be used is done without.
///
/// # Errors
/// If it cannot be compiled.
pub fn compiled(engine: &Engine, bytes: &[u8], cache: Option<&Path>) -> wasmtime::Result<Component> {
    let Some(dir) = cache else { return Component::new(engine, bytes) };
    let path = path_of(engine, bytes, dir);
    if trusted(dir) && trusted(&path) {
        // SAFETY: the file is in a directory that only this user can write, and is written by `store` alone.
        if let Ok(component) = unsafe { Component::deserialize_file(engine, &path) } {
            return Ok(component);
        }
    }
    let component = Component::new(engine, bytes)?;
    if let Err(error) = component.serialize().map_err(io::Error::other).and_then(|code| store(dir, &path, &code)) {
        tracing::warn!(path = %path.display(), %error, "a compiled component cannot be kept");
    }
    Ok(component)
}

fn path_of(engine: &Engine, bytes: &[u8], dir: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = digest_of(bytes).split_off("sha256:".len());
    dir.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
}

/// Whether only this user (or root) can have written it.
fn trusted(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        !meta.is_symlink() && (meta.uid() == geteuid().as_raw() || meta.uid() == 0) && meta.mode() & 0o022 == 0
    })
}

fn store(dir: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}
