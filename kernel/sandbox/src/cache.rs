//! Compiled components and modules on disk, by their digest and what the engine is: compiled once, mapped after.
//!
//! What is mapped costs no memory until it is run, and then only what the kernel can drop again.
//!
//! What is mapped is machine code that is run as it is, so only files in a directory that this user alone can write are
//! taken.
#![allow(unsafe_code)] // Mapping compiled code is what this module is for; `trusted` is the reason it may.
#[cfg(test)]
mod tests;

use crate::{
    compiler::{CompileError, Compiler, Purpose},
    error::bounded,
};
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
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

/// What a file is called that is whole, and one that is not yet.
const EXTENSION: &str = "cwasm";
const ASIDE_EXTENSION: &str = "tmp";

/// Bytes that are kept, about. Beyond, what was used longest ago goes, whichever version of the engine made it.
const MOST: u64 = 1 << 30;

/// `sha256:` and 64 hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where compiled code comes from: a directory, and who compiles what is not there. A directory that cannot be used is done
/// without.
pub struct Cache {
    dir: Option<PathBuf>,
    most: u64,
    compiler: Compiler,
    purpose: Purpose,
    /// Nothing is compiled apart any more.
    closed: AtomicBool,
}

impl Cache {
    pub fn new(dir: Option<PathBuf>, compiler: Compiler, purpose: Purpose) -> Self {
        // A process that was killed has left aside what it was writing.
        if let Some(dir) = &dir {
            sweep(dir);
        }
        Cache {
            dir,
            most: MOST,
            compiler,
            purpose,
            closed: AtomicBool::new(false),
        }
    }

    /// Whoever waits for a child that compiles waits no longer.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The code of these bytes, whose digest it is: from the directory, or compiled and put there.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn get<C: Code>(&self, engine: &Engine, bytes: &[u8], digest: &str) -> Result<C, CompileError> {
        if let Some(kept) = self.kept(engine, digest) {
            return Ok(kept);
        }
        match &self.compiler {
            Compiler::Here => self.compile_here(engine, bytes, digest),
            Compiler::Apart(child) => {
                let mut code = child.compile(self.purpose, bytes, &self.closed)?;
                self.keep(engine, digest, &mut code)
            }
        }
    }

    /// What the directory has for a digest, if it is to be trusted and was made by an engine like this one.
    pub fn kept<C: Code>(&self, engine: &Engine, digest: &str) -> Option<C> {
        let dir = self.dir.as_deref()?;
        let path = path_of(engine, digest, dir)?;
        if !(trusted(dir) && trusted(&path)) {
            return None;
        }
        // SAFETY: the file is in a directory that only this user can write, and is written by `store` alone.
        let code = unsafe { C::map(engine, &path) }.ok()?;
        // That it is in use keeps it; what cannot be marked goes earlier.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(code)
    }

    fn compile_here<C: Code>(&self, engine: &Engine, bytes: &[u8], digest: &str) -> Result<C, CompileError> {
        let refused = |error: wasmtime::Error| CompileError::Refused(bounded(format!("{error:#}")));
        if self.dir.is_none() {
            let code = C::compile(engine, bytes).map_err(refused)?;
            // SAFETY: this process has just compiled it.
            return unsafe { C::read(engine, &code) }.map_err(refused);
        }
        // By an engine of its own, since an engine's compiler keeps what it has worked with.
        let apart = Engine::new(engine.config()).map_err(refused)?;
        let code = C::compile(&apart, bytes).map_err(refused)?;
        let compiled = self.keep(engine, digest, &mut io::Cursor::new(code));
        drop(apart);
        give_back();
        compiled
    }

    /// Puts code where `kept` finds it, and takes it from there.
    fn keep<C: Code>(&self, engine: &Engine, digest: &str, code: &mut (impl Read + Seek)) -> Result<C, CompileError> {
        if let Some(dir) = &self.dir
            && let Some(path) = path_of(engine, digest, dir)
        {
            match store(dir, &path, code, self.most) {
                Ok(()) => {
                    if let Some(kept) = self.kept(engine, digest) {
                        return Ok(kept);
                    }
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "compiled code cannot be kept"),
            }
        }
        let mut bytes = Vec::new();
        code.rewind()
            .and_then(|()| code.read_to_end(&mut bytes))
            .map_err(|error| CompileError::failed("its code cannot be read", &error))?;
        // SAFETY: this process, or a child that runs the same executable, has just compiled it.
        unsafe { C::read(engine, &bytes) }.map_err(|error| CompileError::Refused(bounded(format!("{error:#}"))))
    }
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
    Some(dir.join(format!("{hex}-{:016x}.{EXTENSION}", hasher.finish())))
}

/// Whether only this user (or root) can have written it.
fn trusted(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        !meta.is_symlink() && (meta.uid() == geteuid().as_raw() || meta.uid() == 0) && meta.mode() & 0o022 == 0
    })
}

/// Tells files apart that are written at the same time by one process.
static ASIDE: AtomicU64 = AtomicU64::new(0);

fn store(dir: &Path, path: &Path, code: &mut (impl Read + Seek), most: u64) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if !trusted(dir) {
        return Err(io::Error::other("others can write to its directory: `chmod go-w` it"));
    }
    let number = ASIDE.fetch_add(1, Ordering::Relaxed);
    let aside = path.with_extension(format!("{}-{number}.{ASIDE_EXTENSION}", std::process::id()));
    let size = code.seek(SeekFrom::End(0))?;
    let mut file = set_aside(dir, &aside, most.saturating_sub(size))?;
    let written = (|| {
        code.rewind()?;
        io::copy(code, &mut file)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// A new file that `sweep` leaves alone for as long as it is open, beside `most` bytes of others.
fn set_aside(dir: &Path, aside: &Path, most: u64) -> io::Result<File> {
    // Nobody sweeps between its making and its lock.
    let entered = File::open(dir)?;
    entered.lock()?;
    remove_abandoned(dir);
    remove_unused(dir, most);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(aside)?;
    file.lock()?;
    Ok(file)
}

/// Removes what killed processes left aside.
fn sweep(dir: &Path) {
    if trusted(dir)
        && let Ok(entered) = File::open(dir)
        && entered.lock().is_ok()
    {
        remove_abandoned(dir);
    }
}

/// Those that nobody has locked are nobody's: a lock ends with who held it, however he ends.
fn remove_abandoned(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == ASIDE_EXTENSION)
            && !path.is_symlink()
            && File::open(&path).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Removes what was used longest ago, down to so many bytes. Who has mapped it keeps it.
fn remove_unused(dir: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let whole = entries.flatten().filter_map(|entry| {
        let (path, meta) = (entry.path(), entry.metadata().ok()?);
        let is_code = meta.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION);
        is_code.then_some((meta.modified().ok()?, meta.len(), path))
    });
    let mut whole: Vec<(SystemTime, u64, PathBuf)> = whole.collect();
    whole.sort_unstable_by(|one, other| other.cmp(one));
    let mut kept = 0;
    for (_, bytes, path) in whole {
        kept += bytes;
        if kept > most {
            let _ = fs::remove_file(path);
        }
    }
}
