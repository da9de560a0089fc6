//! Compiled components and modules on disk, by their digest and what the engine is: compiled once, mapped after.
//!
//! What is mapped costs no memory until it is run, and then only what the kernel can drop again.
//!
//! What is mapped is machine code that is run as it is, so only files in a directory that this user alone can write are
//! taken.
#![allow(unsafe_code)] // Mapping compiled code is what this module is for; `trusted` is the reason it may.
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use wasmtime::{Engine, Module, component::Component};

/// What can be compiled and kept.
pub trait Code: Sized {
    /// The machine code.
    ///
    /// # Errors
    /// If it cannot be compiled.
    fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Vec<u8>>;

    /// # Safety
    /// The code is what `compile` gave.
    ///
    /// # Errors
    /// If it is of another engine, or of the other kind.
    unsafe fn read(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self>;

    /// # Safety
    /// The file is what `compile` gave, and nobody changes it.
    ///
    /// # Errors
    /// As [`Code::read`].
    unsafe fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Self>;
}

macro_rules! code {
    ($kind:ident, $compile:ident) => {
        impl Code for $kind {
            fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
                engine.$compile(bytes)
            }

            unsafe fn read(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
                // SAFETY: as this function asks.
                unsafe { $kind::deserialize(engine, code) }
            }

            unsafe fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Self> {
                // SAFETY: as this function asks.
                unsafe { $kind::deserialize_file(engine, path) }
            }
        }
    };
}

code!(Component, precompile_component);
code!(Module, precompile_module);

/// A file left aside by a process that was killed is swept after this time.
const ABANDONED: Duration = Duration::from_secs(600);

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
    let Some(dir) = cache else {
        return Component::new(engine, bytes);
    };
    let digest = digest_of(bytes);
    match kept(engine, &digest, dir) {
        Some(component) => Ok(component),
        None => compile(engine, bytes, &digest, dir),
    }
}

/// What the cache has for a digest, if it is to be trusted and was made by an engine like this one.
pub fn kept<C: Code>(engine: &Engine, digest: &str, dir: &Path) -> Option<C> {
    let path = path_of(engine, digest, dir)?;
    if !(trusted(dir) && trusted(&path)) {
        return None;
    }
    // SAFETY: the file is in a directory that only this user can write, and is written by `store` alone.
    unsafe { C::map(engine, &path) }.ok()
}

/// Compiles, and keeps nothing.
///
/// # Errors
/// If it cannot be compiled.
pub fn compile_anew<C: Code>(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<C> {
    let code = C::compile(engine, bytes)?;
    // SAFETY: this process has just compiled it.
    unsafe { C::read(engine, &code) }
}

/// Compiles, puts the outcome where `kept` finds it, and takes it from there.
///
/// # Errors
/// If it cannot be compiled.
pub fn compile<C: Code>(engine: &Engine, bytes: &[u8], digest: &str, dir: &Path) -> wasmtime::Result<C> {
    // By an engine of its own, since an engine's compiler keeps what it has worked with.
    let code = C::compile(&Engine::new(engine.config())?, bytes)?;
    let stored = path_of(engine, digest, dir).map(|path| (store(dir, &path, &code), path));
    if let Some((Err(error), path)) = &stored {
        tracing::warn!(path = %path.display(), %error, "compiled code cannot be kept");
    }
    let mapped = stored.and_then(|(stored, _)| stored.ok().and_then(|()| kept(engine, digest, dir)));
    let compiled = match mapped {
        Some(compiled) => compiled,
        // SAFETY: this process has just compiled it.
        None => unsafe { C::read(engine, &code) }?,
    };
    drop(code);
    give_back();
    Ok(compiled)
}

/// A compiler leaves tens of megabytes behind that are free and yet held, as long as nobody asks for them back.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but what the allocator holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// None if the digest is none.
fn path_of(engine: &Engine, digest: &str, dir: &Path) -> Option<PathBuf> {
    let hex = digest.strip_prefix("sha256:")?;
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Some(dir.join(format!("{hex}-{:016x}.cwasm", hasher.finish())))
}

/// Whether only this user (or root) can have written it.
fn trusted(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        !meta.is_symlink() && (meta.uid() == geteuid().as_raw() || meta.uid() == 0) && meta.mode() & 0o022 == 0
    })
}

/// Tells files apart that are written at the same time by one process.
static ASIDE: AtomicU64 = AtomicU64::new(0);

fn store(dir: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if !trusted(dir) {
        return Err(io::Error::other("others can write to its directory: `chmod go-w` it"));
    }
    sweep(dir);
    let number = ASIDE.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Removes what killed processes left aside.
fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let left = path.extension().is_some_and(|extension| extension == "tmp")
            && fs::symlink_metadata(&path)
                .and_then(|meta| meta.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED));
        if left {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn files(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_compiled_is_kept_and_found_by_its_digest() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("cache");
        let engine = Engine::default();
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), &dir).is_none());
        compiled(&engine, EMPTY, Some(&dir)).unwrap();
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), &dir).is_some());
        assert_eq!(files(&dir).len(), 1);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&files(&dir)[0]).unwrap().mode() & 0o777, 0o600);
        assert!(kept::<Component>(&engine, "sha256:../../../etc/passwd", &dir).is_none());
    }

    #[test]
    fn a_module_is_kept_and_is_no_component() {
        let home = tempfile::tempdir().unwrap();
        let (engine, empty) = (Engine::default(), b"\0asm\x01\0\0\0");
        let digest = digest_of(empty);
        compile::<Module>(&engine, empty, &digest, home.path()).unwrap();
        assert!(kept::<Module>(&engine, &digest, home.path()).is_some());
        assert!(kept::<Component>(&engine, &digest, home.path()).is_none());
    }

    #[test]
    fn what_others_can_write_is_not_run() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("cache");
        let engine = Engine::default();
        compiled(&engine, EMPTY, Some(&dir)).unwrap();
        let file = files(&dir).remove(0);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), &dir).is_none());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), &dir).is_none());
        // It still runs, and nothing is put there.
        fs::remove_file(&file).unwrap();
        compiled(&engine, EMPTY, Some(&dir)).unwrap();
        assert!(files(&dir).is_empty());
    }

    #[test]
    fn a_torn_file_is_compiled_again() {
        let home = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        compiled(&engine, EMPTY, Some(home.path())).unwrap();
        let file = files(home.path()).remove(0);
        fs::write(&file, b"\x7fELF").unwrap();
        compiled(&engine, EMPTY, Some(home.path())).unwrap();
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), home.path()).is_some());
    }

    #[test]
    fn many_at_once_do_not_disturb_each_other() {
        let home = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        std::thread::scope(|scope| {
            (0..8).for_each(|_| {
                scope.spawn(|| compiled(&engine, EMPTY, Some(home.path())).unwrap());
            });
        });
        assert_eq!(files(home.path()).len(), 1);
        assert!(kept::<Component>(&engine, &digest_of(EMPTY), home.path()).is_some());
    }
}
