//! The names of images, in one file that is always whole: written aside, synced, renamed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Image, sync_dir};
use crate::error::{ImageError, Result};
use crate::reference::Reference;

const VERSION: u32 = 1;
/// The file is refused above this. Bytes.
const MAX_FILE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    images: Vec<Image>,
}

/// The index of a store, in memory and on disk.
pub(super) struct Names {
    path: PathBuf,
    tmp: PathBuf,
    images: BTreeMap<String, Image>,
}

impl Names {
    pub(super) fn read(path: PathBuf, tmp: PathBuf) -> Result<Self> {
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let read = file.take(MAX_FILE).read_to_end(&mut bytes);
                read.map_err(|error| ImageError::io("reading", &path, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path,
                    tmp,
                    images: BTreeMap::new(),
                });
            }
            Err(error) => return Err(ImageError::io("opening", &path, error)),
        }
        let damaged = |reason: String| {
            let advice = "move the file aside; the images must then be pulled or loaded again";
            ImageError::malformed(format!("image index {}", path.display()), format!("{reason}; {advice}"))
        };
        let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if contents.version != VERSION {
            return Err(damaged(format!(
                "version {} is not known to this release",
                contents.version
            )));
        }
        let images = contents
            .images
            .into_iter()
            .map(|image| (image.name.clone(), image))
            .collect();
        Ok(Self { path, tmp, images })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    pub(super) fn find(&self, reference: &Reference) -> Option<&Image> {
        let Some(digest) = reference.digest() else {
            return self.images.get(&reference.to_string());
        };
        let repository = reference.name();
        let same_repository = |image: &&Image| {
            image
                .name
                .strip_prefix(&repository)
                .is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
        };
        let mut candidates = self.all().filter(same_repository);
        candidates.find(|image| image.digest == digest || image.manifest == digest)
    }

    pub(super) fn put(&mut self, image: Image) -> Result<()> {
        let name = image.name.clone();
        let before = self.images.insert(name.clone(), image);
        self.write().inspect_err(|_| {
            match before {
                Some(before) => self.images.insert(name, before),
                None => self.images.remove(&name),
            };
        })
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        let Some(image) = self.images.remove(name) else {
            return Ok(());
        };
        self.write().inspect_err(|_| {
            self.images.insert(name.to_owned(), image);
        })
    }

    fn write(&self) -> Result<()> {
        let contents = Contents {
            version: VERSION,
            images: self.images.values().cloned().collect(),
        };
        let bytes =
            serde_json::to_vec_pretty(&contents).map_err(|error| ImageError::malformed("image index", error))?;
        let write = || {
            let mut file = tempfile::Builder::new().prefix("index-").tempfile_in(&self.tmp)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)
        };
        write().map_err(|error| ImageError::io("writing", &self.path, error))?;
        sync_dir(self.path.parent().unwrap_or(&self.path))
    }
}
