//! Freeing what nobody needs: mark from the names, the leases and what the caller uses; drop the rest.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Inner;
use crate::digest::Digest;
use crate::error::{ImageError, Result};
use crate::inspect::Inspected;
use crate::reference::Reference;

/// What a removal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub names: Vec<String>,
    /// Manifests that are gone.
    pub manifests: Vec<Digest>,
    /// Bytes freed: blobs by size, layers by the blocks they took.
    pub freed_bytes: u64,
}

impl Inner {
    pub(super) fn remove(&self, reference: &Reference, used: &HashSet<Digest>) -> Result<Removed> {
        let name = {
            let mut names = self.names.lock();
            let Some(image) = names.find(reference).cloned() else {
                return Err(ImageError::NotFound {
                    image: reference.familiar(),
                    place: "on this node".to_owned(),
                });
            };
            let has_other_name = names
                .all()
                .any(|other| other.manifest == image.manifest && other.name != image.name);
            if used.contains(&image.manifest) && !has_other_name {
                return Err(ImageError::InUse {
                    image: reference.familiar(),
                    digest: image.manifest,
                });
            }
            names.remove(&image.name)?;
            image.name
        };
        let mut removed = self.collect(used)?;
        removed.names.push(name);
        Ok(removed)
    }

    pub(super) fn collect(&self, used: &HashSet<Digest>) -> Result<Removed> {
        let mut removed = Removed::default();
        let mut doomed = Vec::new();
        {
            // Held until everything unneeded is out of reach: nothing can be leased or named in between.
            let names = self.names.lock();
            let pins = self.pins.lock();
            let mut roots: HashSet<Digest> = names.all().map(|image| image.manifest).collect();
            roots.extend(used);
            roots.extend(pins.keys());
            let kept = self.mark(roots);
            self.drop_blobs(&kept, &mut removed)?;
            self.set_aside("layers", &kept, &mut doomed)?;
            self.set_aside("modules", &kept, &mut doomed)?;
        }
        for path in doomed {
            removed.freed_bytes += disk_usage(&path);
            remove_tree(&path)?;
        }
        Ok(removed)
    }

    /// What these digests lead to. One that is no manifest, or whose blobs are not all here, leads to itself.
    fn mark(&self, roots: HashSet<Digest>) -> HashSet<Digest> {
        let mut kept = roots.clone();
        for root in roots {
            // Layers and modules are leased too; only a document's blob is worth parsing.
            let small = fs::metadata(self.blobs.path(&root)).is_ok_and(|found| found.len() <= 1 << 20);
            if !small {
                continue;
            }
            let Ok(manifest) = self
                .blobs
                .document(&root)
                .and_then(|bytes| Inspected::manifest_of(&bytes))
            else {
                continue;
            };
            kept.extend(manifest.blobs().map(|blob| blob.digest));
            kept.extend(Inspected::chain_ids(&self.blobs, &manifest, &root).unwrap_or_default());
        }
        kept
    }

    fn drop_blobs(&self, kept: &HashSet<Digest>, removed: &mut Removed) -> Result<()> {
        for (digest, path) in entries(&self.root.join("blobs/sha256"))? {
            if digest.is_some_and(|digest| kept.contains(&digest)) {
                continue;
            }
            let is_manifest = digest.is_some_and(|digest| {
                self.blobs
                    .document(&digest)
                    .is_ok_and(|bytes| Inspected::manifest_of(&bytes).is_ok())
            });
            removed.freed_bytes += fs::metadata(&path).map_or(0, |found| found.len());
            fs::remove_file(&path).map_err(|error| ImageError::io("removing", &path, error))?;
            if is_manifest {
                removed.manifests.extend(digest);
            }
        }
        Ok(())
    }

    /// Moves what is not kept to where it is swept at the latest at the next start: a layer is whole or not there.
    fn set_aside(&self, name: &str, kept: &HashSet<Digest>, doomed: &mut Vec<PathBuf>) -> Result<()> {
        for (digest, path) in entries(&self.root.join(name))? {
            if digest.is_some_and(|digest| kept.contains(&digest)) {
                continue;
            }
            let aside = tempfile::Builder::new().prefix("gone-").tempdir_in(self.tmp());
            let aside = aside
                .map_err(|error| ImageError::io("creating a directory in", self.tmp(), error))?
                .keep();
            fs::rename(&path, aside.join("it")).map_err(|error| ImageError::io("moving aside", &path, error))?;
            doomed.push(aside);
        }
        Ok(())
    }

    /// Removes what a killed process did not finish. The lock is held, so nobody else is at work.
    pub(super) fn sweep_unfinished(&self) -> Result<()> {
        for (_, path) in entries(&self.tmp())? {
            remove_tree(&path)?;
        }
        Ok(())
    }
}

/// The entries of a directory, with the digest that each is named by.
fn entries(dir: &Path) -> Result<Vec<(Option<Digest>, PathBuf)>> {
    let list = || -> io::Result<Vec<_>> {
        fs::read_dir(dir)?
            .map(|entry| {
                let path = entry?.path();
                let digest = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .and_then(Digest::from_hex);
                Ok((digest, path))
            })
            .collect()
    };
    list().map_err(|error| ImageError::io("listing", dir, error))
}

fn remove_tree(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path);
    let gone = match found {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::io("removing", path, error)),
        _ => Ok(()),
    }
}

/// Bytes that a tree takes; what cannot be read counts nothing.
fn disk_usage(path: &Path) -> u64 {
    let mut total = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        // A hard link is counted by its share.
        total += found.blocks() * 512 / if found.is_dir() { 1 } else { found.nlink().max(1) };
        if found.is_dir()
            && let Ok(children) = fs::read_dir(&path)
        {
            waiting.extend(children.flatten().map(|child| child.path()));
        }
    }
    total
}
