//! A file that is whole or not there: it is written beside its place, readable by nobody else, and comes there when it is
//! on disk.
use anyhow::{Context, Result, anyhow, bail};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file that is being written. It goes when this is dropped.
pub struct NewFile {
    aside: NamedTempFile,
    dir: PathBuf,
    place: PathBuf,
    force: bool,
}

impl NewFile {
    /// Begins a file for a place, under a name with this prefix until then. With `force` what is there is replaced in the end.
    ///
    /// # Errors
    /// If something is there that is not to be replaced, or it cannot be written there.
    pub fn begin(place: &Path, prefix: &str, force: bool) -> Result<Self> {
        if place.is_dir() {
            bail!("{} is a directory: name a file in it", place.display());
        }
        if place.exists() && !force {
            return Err(taken(place));
        }
        let dir = match place.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let aside = tempfile::Builder::new().prefix(prefix).tempfile_in(dir);
        Ok(NewFile {
            aside: aside.with_context(|| cannot(dir))?,
            dir: dir.to_owned(),
            place: place.to_owned(),
            force,
        })
    }

    pub fn file(&mut self) -> &mut File {
        self.aside.as_file_mut()
    }

    /// What cannot be done, where writing to it fails.
    pub fn cannot(&self) -> String {
        cannot(&self.dir)
    }

    /// Brings it to its place, once it is on disk.
    ///
    /// # Errors
    /// If something has come there meanwhile that is not to be replaced, or the disk fails.
    pub fn keep(self) -> Result<()> {
        let what = || cannot(&self.dir);
        self.aside.as_file().sync_all().with_context(what)?;
        let kept = match self.force {
            true => self.aside.persist(&self.place),
            false => self.aside.persist_noclobber(&self.place),
        };
        kept.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => taken(&self.place),
            _ => anyhow!(error.error).context(what()),
        })?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).with_context(what)
    }
}

fn cannot(dir: &Path) -> String {
    format!("cannot write in {}", dir.display())
}

fn taken(place: &Path) -> anyhow::Error {
    anyhow!(
        "{} is there already: choose another name, or --force replaces it",
        place.display()
    )
}
