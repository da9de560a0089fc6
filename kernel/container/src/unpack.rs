//! Unpacks a layer's tar into a directory that overlay takes as a lower. Layers are hostile input: every path is resolved
//! beneath the directory by the kernel, and sizes, counts and depths are bounded.

mod budget;
mod entry;
mod path;
mod tree;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::digest::{Digest, HashingReader};
use crate::error::{ImageError, Result};
use budget::{Budget, Budgeted};
use entry::Attributes;
use path::{EntryPath, Whiteout};
use tree::Tree;

pub(crate) use tree::is_opaque as is_opaque_layer;

/// What a layer may come to at most.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Bytes of the uncompressed tar, and of the files in it (a sparse file is larger than what the tar holds of it).
    pub bytes: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 2_000_000,
            depth: 128,
        }
    }
}

type Source = Budgeted<HashingReader<Box<dyn Read>>>;

/// Unpacks a layer - plain, gzip or zstd, told by its first bytes - into `target`, an empty directory. `lowers` are
/// the layers below it, topmost first: a directory that the tar only implies is given the owner and mode that it has
/// there. Needs root. Blocks. Gives the digest of the uncompressed tar, the layer's diff id; `what` names the layer in
/// errors. After an error the target holds a part of the layer and is to be removed.
///
/// # Errors
/// [`ImageError::UnsafeEntry`], [`ImageError::TooLarge`], [`ImageError::Malformed`], [`ImageError::NoSpace`].
pub fn unpack_layer(
    source: File,
    target: &Path,
    lowers: &[PathBuf],
    limits: &UnpackLimits,
    what: &str,
) -> Result<Digest> {
    let (mut archive, budget) = archive(source, limits, what)?;
    let mut tree = Tree::open(target, lowers)?;
    let walk = walk(&mut archive, &budget, limits, what, &mut |path, entry, attributes| {
        place(&mut tree, path, entry, attributes, &budget)
    });
    budget.explain(walk, what)?;
    tree.finish()?;
    finish(archive, &budget, what)
}

/// What an archive has under a path.
pub(crate) enum Item<'a> {
    /// A regular file.
    File(&'a mut dyn Read),
    /// The same as under this path. A link out of the archive is no item.
    Link(Vec<u8>),
}

/// What is done with an item: its clean path and what it is; false ends the walk.
pub(crate) type ItemVisitor<'a> = &'a mut dyn FnMut(&[u8], Item<'_>) -> Result<bool>;

/// Walks the files and links of a tar without unpacking it. Gives the digest of the uncompressed tar if the visitor never
/// said stop.
pub(crate) fn each_item(source: File, what: &str, visit: ItemVisitor<'_>) -> Result<Option<Digest>> {
    let limits = UnpackLimits::default();
    let (mut archive, budget) = archive(source, &limits, what)?;
    let mut going_on = true;
    let walk = walk(&mut archive, &budget, &limits, what, &mut |path, entry, _| {
        let name = path.join();
        let target = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                going_on = visit(&name, Item::File(entry))?;
                return Ok(going_on);
            }
            EntryType::Symlink => entry.link_name_bytes().and_then(|target| path.follow(&target)),
            EntryType::Link => entry
                .link_name_bytes()
                .and_then(|target| EntryPath::parse_target(&target).ok()),
            _ => None,
        };
        if let Some(target) = target {
            going_on = visit(&name, Item::Link(target.join()))?;
        }
        Ok(going_on)
    });
    budget.explain(walk, what)?;
    if going_on {
        finish(archive, &budget, what).map(Some)
    } else {
        Ok(None)
    }
}

/// The decoder for what a stream begins with.
pub(crate) fn decoder(source: File, what: &str) -> Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut source = BufReader::with_capacity(1 << 16, source);
    let count = read_some(&mut source, &mut magic).map_err(|error| ImageError::malformed(what, error))?;
    let whole = std::io::Cursor::new(magic[..count].to_vec()).chain(source);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = zstd::stream::read::Decoder::new(whole);
            Box::new(decoder.map_err(|error| ImageError::malformed(what, error))?)
        }
        _ => Box::new(whole),
    })
}

fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match source.read(&mut buffer[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

fn archive(source: File, limits: &UnpackLimits, what: &str) -> Result<(Archive<Source>, Budget)> {
    let budget = Budget::new(limits.bytes);
    let reader = Budgeted::new(HashingReader::new(decoder(source, what)?), budget.clone());
    Ok((Archive::new(reader), budget))
}

/// Reads what is behind the end of the tar: it counts for the digest.
fn finish(archive: Archive<Source>, budget: &Budget, what: &str) -> Result<Digest> {
    let mut reader = archive.into_inner();
    let rest = std::io::copy(&mut reader, &mut std::io::sink());
    budget.explain(
        rest.map_err(|error| ImageError::malformed(what, format!("not a valid tar: {error}"))),
        what,
    )?;
    Ok(reader.into_inner().finish())
}

type EntryVisitor<'a> = &'a mut dyn FnMut(&EntryPath, &mut tar::Entry<'_, Source>, &Attributes) -> Result<bool>;

fn walk(
    archive: &mut Archive<Source>,
    budget: &Budget,
    limits: &UnpackLimits,
    what: &str,
    visit: EntryVisitor<'_>,
) -> Result<()> {
    let broken = |error: std::io::Error| ImageError::malformed(what, format!("not a valid tar: {error}"));
    let mut entries = archive.entries().map_err(broken)?;
    let mut count = 0;
    loop {
        // Between entries the tar crate keeps what it reads: long names, extended headers, sparse maps.
        let next = budget.metadata_only(|| entries.next());
        let Some(entry) = next else { return Ok(()) };
        let mut entry = entry.map_err(broken)?;
        count += 1;
        if count > limits.entries {
            return Err(ImageError::too_large(what, format!("{} entries", limits.entries)));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            std::io::copy(&mut entry, &mut std::io::sink()).map_err(broken)?;
            continue;
        }
        let path = EntryPath::parse(&entry.path_bytes(), limits.depth)?;
        let attributes = Attributes::read(&mut entry)?;
        if !visit(&path, &mut entry, &attributes)? {
            return Ok(());
        }
        // What the visitor left is read here, not between the entries.
        std::io::copy(&mut entry, &mut std::io::sink()).map_err(broken)?;
    }
}

/// Puts one entry where it belongs.
fn place(
    tree: &mut Tree,
    path: &EntryPath,
    entry: &mut tar::Entry<'_, Source>,
    attributes: &Attributes,
    budget: &Budget,
) -> Result<bool> {
    match path.whiteout()? {
        Whiteout::None => {}
        Whiteout::Ignored => return Ok(true),
        Whiteout::Opaque(dir) => return tree.make_opaque(&dir).map(|()| true),
        Whiteout::Of(path) => return tree.white_out(&path).map(|()| true),
    }
    let unsafe_entry = |reason: &str| ImageError::unsafe_entry(&path.join(), reason);
    match entry.header().entry_type() {
        EntryType::Directory => tree.directory(path, attributes)?,
        _ if path.is_root() => return Err(unsafe_entry("it would replace the root directory")),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            tree.file(path, attributes, entry, &mut |bytes| budget.spend_file_bytes(bytes))?;
        }
        EntryType::Symlink => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| unsafe_entry("a symbolic link without a target"))?;
            tree.symlink(path, &target, attributes)?;
        }
        EntryType::Link => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| unsafe_entry("a hard link without a target"))?;
            tree.hard_link(path, &target)?;
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            tree.node(path, entry.header().entry_type(), entry::device(entry)?, attributes)?;
        }
        other => return Err(unsafe_entry(&format!("entries of type {other:?} are not supported"))),
    }
    Ok(true)
}

/// Extended attributes that are kept: others belong to the host or to the overlay itself.
fn keeps_attribute(name: &str) -> bool {
    name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

type ExtendedAttributes = BTreeMap<String, Vec<u8>>;
