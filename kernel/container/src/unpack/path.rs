//! Paths of archive entries: bytes that must name something beneath the root, and nothing else.

use crate::error::{ImageError, Result};

/// As the kernel has it. Bytes.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// A clean relative path; empty is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath(Vec<Vec<u8>>);

/// What an entry's name says about the layers below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// An ordinary entry.
    None,
    /// Bookkeeping of the file system that the layer was taken from.
    Ignored,
    /// Nothing of this directory shows from below.
    Opaque(EntryPath),
    /// This does not show from below.
    Of(EntryPath),
}

impl EntryPath {
    pub(super) fn parse(bytes: &[u8], max_depth: usize) -> Result<Self> {
        if bytes.starts_with(b"/") {
            return Err(ImageError::unsafe_entry(bytes, "its path is absolute"));
        }
        Self::parse_relative(bytes, max_depth)
    }

    /// For the target of a hard link: from the root, with or without a slash before it.
    pub(super) fn parse_target(bytes: &[u8]) -> Result<Self> {
        let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
        Self::parse_relative(&bytes[start..], usize::MAX)
    }

    fn parse_relative(bytes: &[u8], max_depth: usize) -> Result<Self> {
        let refuse = |reason: &str| Err(ImageError::unsafe_entry(&bytes[..bytes.len().min(256)], reason));
        if bytes.len() > MAX_PATH {
            return refuse("its path is longer than 4096 bytes");
        }
        if bytes.contains(&0) {
            return refuse("its path contains a zero byte");
        }
        let mut components = Vec::new();
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return refuse("its path contains .."),
                long if long.len() > MAX_NAME => return refuse("a name in its path is longer than 255 bytes"),
                component => components.push(component.to_vec()),
            }
        }
        if components.len() > max_depth {
            return refuse(&format!("it is more than {max_depth} directories deep"));
        }
        Ok(Self(components))
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn components(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// The directory and the name in it; none for the root.
    pub(super) fn split(&self) -> Option<(Self, &[u8])> {
        let (name, parent) = self.0.split_last()?;
        Some((Self(parent.to_vec()), name))
    }

    /// Where a symbolic link of this path leads, if it stays within the archive.
    pub(super) fn follow(&self, target: &[u8]) -> Option<Self> {
        if target.starts_with(b"/") {
            return None;
        }
        let mut components = self.split()?.0.0;
        for component in target.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(components.pop()?),
                component => components.push(component.to_vec()),
            }
        }
        Some(Self(components))
    }

    /// The first `count` components.
    pub(super) fn prefix(&self, count: usize) -> Self {
        Self(self.0[..count].to_vec())
    }

    pub(super) fn join(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }

    pub(super) fn whiteout(&self) -> Result<Whiteout> {
        let Some((parent, name)) = self.split() else {
            return Ok(Whiteout::None);
        };
        if name == OPAQUE {
            return Ok(Whiteout::Opaque(parent));
        }
        if name.starts_with(AUFS) {
            return Ok(Whiteout::Ignored);
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT) else {
            return Ok(Whiteout::None);
        };
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(ImageError::unsafe_entry(
                &self.join(),
                "it hides nothing that can have a name",
            ));
        }
        let mut components = parent.0;
        components.push(hidden.to_vec());
        Ok(Whiteout::Of(Self(components)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<EntryPath> {
        EntryPath::parse(path.as_bytes(), 4)
    }

    #[test]
    fn clean_or_refused() {
        assert_eq!(parse("./a//b/").unwrap().join(), b"a/b");
        assert!(parse("./").unwrap().is_root());
        for (path, reason) in [
            ("/etc/passwd", "absolute"),
            ("a/../../etc", ".."),
            ("..", ".."),
            ("a/b/c/d/e", "more than 4"),
            ("a\0b", "zero byte"),
            (&"n".repeat(256), "255"),
            (&"n/".repeat(3000), "4096"),
        ] {
            let error = parse(path).unwrap_err().to_string();
            assert!(error.contains(reason), "{path}: {error}");
        }
    }

    #[test]
    fn follows_links_inside_only() {
        let link = parse("a/layer.tar").unwrap();
        assert_eq!(link.follow(b"../b/./layer.tar").unwrap().join(), b"b/layer.tar");
        assert!(link.follow(b"../../b").is_none() && link.follow(b"/b").is_none());
    }

    #[test]
    fn whiteouts() {
        assert_eq!(parse("a/b").unwrap().whiteout().unwrap(), Whiteout::None);
        assert_eq!(
            parse("a/.wh.b").unwrap().whiteout().unwrap(),
            Whiteout::Of(parse("a/b").unwrap())
        );
        assert_eq!(
            parse("a/.wh..wh..opq").unwrap().whiteout().unwrap(),
            Whiteout::Opaque(parse("a").unwrap())
        );
        assert_eq!(parse(".wh..wh.plnk").unwrap().whiteout().unwrap(), Whiteout::Ignored);
        for path in ["a/.wh.", "a/.wh..", "a/.wh..."] {
            assert!(parse(path).unwrap().whiteout().is_err(), "{path}");
        }
    }
}
