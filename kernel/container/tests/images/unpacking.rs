//! Layers that mean harm, and layers whose every bit counts.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use sampan_container::{Digest, ImageError, UnpackLimits, unpack_layer};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::support::is_root;

/// A tar in the making; names are put in as they are.
pub struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn add(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o640 });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.add(EntryType::Regular, name, "", content)
    }

    pub fn dir(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"")
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, b"")
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

struct Place {
    dir: TempDir,
    limits: UnpackLimits,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        fs::write(dir.path().join("outside"), "outside").unwrap();
        Self {
            dir,
            limits: UnpackLimits::default(),
        }
    }

    fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    fn unpack(&self, bytes: &[u8], lowers: &[PathBuf]) -> Result<Digest, ImageError> {
        let path = self.dir.path().join("tar");
        fs::write(&path, bytes).unwrap();
        unpack_layer(
            File::open(path).unwrap(),
            &self.layer(),
            lowers,
            &self.limits,
            "layer x",
        )
    }
}

fn refuse(tar: Tar, reason: &str) {
    let place = Place::new();
    let error = place.unpack(&tar.bytes(), &[]).unwrap_err();
    assert!(matches!(error, ImageError::UnsafeEntry { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(fs::read(place.dir.path().join("outside")).unwrap(), b"outside");
    let mut names: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["layer", "outside", "tar"]);
}

#[test]
fn nothing_leads_out() {
    if !is_root() {
        return;
    }
    refuse(Tar::new().file("/outside", b"x"), "\"/outside\": its path is absolute");
    refuse(
        Tar::new().file("../outside", b"x"),
        "\"../outside\": its path contains ..",
    );
    refuse(Tar::new().file("a/../../outside", b"x"), "contains ..");
    refuse(
        Tar::new().link("a", "..").file("a/outside", b"x"),
        "\"a\": a symbolic link on the way leads out",
    );
    refuse(
        Tar::new().link("a", "/etc").file("a/passwd", b"x"),
        "leads out of the layer",
    );
    refuse(Tar::new().link("a", "/").dir("a/new"), "leads out of the layer");
    refuse(
        Tar::new().link("a", "b").link("b", "..").file("a/outside", b"x"),
        "leads out of the layer",
    );
    refuse(
        Tar::new().link("a", "..").add(EntryType::Link, "b", "a/outside", b""),
        "leads out of the layer",
    );
    refuse(
        Tar::new().add(EntryType::Link, "b", "../outside", b""),
        "leads out of the layer",
    );
    refuse(
        Tar::new().add(EntryType::Link, "b", "/etc/passwd", b""),
        "which this layer does not have",
    );
    refuse(
        Tar::new().dir("d").add(EntryType::Link, "b", "d", b""),
        "which is a directory",
    );
    refuse(
        Tar::new().link("a", "..").file("a/.wh.outside", b""),
        "leads out of the layer",
    );
    refuse(Tar::new().file("a/.wh...", b""), "hides nothing");
    refuse(Tar::new().link("a", "a").file("a/x", b"x"), "leads nowhere");
    refuse(
        Tar::new().file("a", b"x").file("a/b", b"x"),
        "is something else in this layer",
    );
    refuse(Tar::new().file("./", b"x"), "root directory");
    refuse(
        Tar::new().file("d/x", b"").file("d", b"x"),
        "directory that is not empty",
    );
}

#[test]
fn sizes_counts_and_depths_are_bounded() {
    if !is_root() {
        return;
    }
    let mut place = Place::new();
    place.limits = UnpackLimits {
        bytes: 1 << 20,
        entries: 10,
        depth: 5,
    };
    let too_large = |result: Result<Digest, ImageError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { .. }), "{error:?}");
        error.to_string()
    };
    too_large(place.unpack(&Tar::new().file("big", &vec![0; 2 << 20]).bytes(), &[]));
    let many = (0..20).fold(Tar::new(), |tar, number| tar.file(&format!("f{number}"), b""));
    assert!(too_large(place.unpack(&many.bytes(), &[])).contains("10 entries"));
    let deep = place
        .unpack(&Tar::new().file("1/2/3/4/5/6", b"").bytes(), &[])
        .unwrap_err()
        .to_string();
    assert!(deep.contains("more than 5 directories deep"), "{deep}");

    // A few bytes of gzip that claim gigabytes: as a file, and where the tar reader keeps what it reads.
    place.limits.bytes = 1 << 40;
    for (kind, reason) in [
        (EntryType::Regular, None),
        (EntryType::GNULongName, Some("header of an entry")),
    ] {
        place.limits.bytes = if reason.is_some() { 1 << 40 } else { 4 << 20 };
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("bomb").unwrap();
        header.set_size(64 << 30);
        header.set_mode(0o600);
        header.set_cksum();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(header.as_bytes()).unwrap();
        encoder.write_all(&vec![b'a'; 8 << 20]).unwrap();
        let error = too_large(place.unpack(&encoder.finish().unwrap(), &[]));
        assert!(reason.is_none_or(|reason| error.contains(reason)), "{error}");
    }
    // It ends too early.
    let whole = Tar::new().file("a", &[1; 2000]).bytes();
    let error = place.unpack(&whole[..1200], &[]).unwrap_err().to_string();
    assert!(
        error.contains("cannot be read") || error.contains("not a valid tar"),
        "{error}"
    );
}

#[test]
fn keeps_what_a_file_is() {
    if !is_root() {
        return;
    }
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut builder = Builder::new(Vec::new());
    let pax = [
        ("SCHILY.xattr.security.capability", &capability[..]),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("mtime", b"1000000000.5"),
        ("uid", b"3000000"),
    ];
    builder.append_pax_extensions(pax).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o4755);
    builder.append_data(&mut header, "bin/ping", &b"hi"[..]).unwrap();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let more = Tar(builder)
        .dir("d")
        .file("d/a", b"a")
        .add(EntryType::Link, "d/b", "d/a", b"")
        .add(EntryType::Link, "d/c", "/d/a", b"")
        .link("d/l", "/nowhere")
        .add(EntryType::Fifo, "d/p", "", b"")
        .file("d/a2", b"first")
        .file("d/a2", b"second");
    let bytes = more.bytes();
    let place = Place::new();
    assert_eq!(place.unpack(&bytes, &[]).unwrap(), Digest::of(&bytes));
    let layer = place.layer();
    let ping = fs::metadata(layer.join("bin/ping")).unwrap();
    assert_eq!(
        (ping.mode() & 0o7777, ping.uid(), ping.mtime(), ping.mtime_nsec()),
        (0o4755, 3_000_000, 1_000_000_000, 500_000_000)
    );
    let mut value = [0; 64];
    let count = rustix::fs::getxattr(layer.join("bin/ping"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..count], capability);
    assert!(rustix::fs::getxattr(layer.join("bin/ping"), "trusted.overlay.opaque", &mut value).is_err());
    assert_eq!(fs::read(layer.join(long)).unwrap(), b"x");
    let dir = fs::metadata(layer.join("d")).unwrap();
    assert_eq!(
        (dir.mode() & 0o7777, dir.uid(), dir.gid(), dir.mtime()),
        (0o750, 7, 8, 1_000_000_000)
    );
    assert_eq!(fs::metadata(layer.join("d/b")).unwrap().nlink(), 3);
    assert_eq!(fs::read_link(layer.join("d/l")).unwrap(), Path::new("/nowhere"));
    assert_eq!(fs::symlink_metadata(layer.join("d/l")).unwrap().uid(), 7);
    assert!(fs::metadata(layer.join("d/p")).unwrap().file_type().is_fifo());
    assert_eq!(fs::read(layer.join("d/a2")).unwrap(), b"second");
}

#[test]
fn sparse_files() {
    if !is_root() || !crate::support::have(&["tar"]) {
        return;
    }
    let place = Place::new();
    let (source, archive) = (place.dir.path().join("source"), place.dir.path().join("sparse.tar"));
    fs::create_dir(&source).unwrap();
    File::create(source.join("hole")).unwrap().set_len(3 << 20).unwrap();
    rustix::io::pwrite(
        File::options().write(true).open(source.join("hole")).unwrap(),
        b"end",
        (3 << 20) - 3,
    )
    .unwrap();
    let (source, archive_text) = (source.display().to_string(), archive.display().to_string());
    crate::support::run(
        "tar",
        &["--format=gnu", "-S", "-C", &source, "-cf", &archive_text, "hole"],
    );
    place.unpack(&fs::read(archive).unwrap(), &[]).unwrap();
    let pax = place.dir.path().join("pax.tar").display().to_string();
    crate::support::run("tar", &["--format=pax", "-S", "-C", &source, "-cf", &pax, "hole"]);
    let error = Place::new()
        .unpack(&fs::read(pax).unwrap(), &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("sparse file in pax format"), "{error}");
    let found = fs::read(place.layer().join("hole")).unwrap();
    assert_eq!((found.len(), &found[found.len() - 3..]), (3 << 20, &b"end"[..]));
}

/// A directory that the tar does not list must not hide the mode of the one below.
#[test]
fn implied_directories_look_as_below() {
    if !is_root() {
        return;
    }
    let below = Place::new();
    below.unpack(&Tar::new().dir("tmp").dir("tmp/in").bytes(), &[]).unwrap();
    rustix::fs::chmod(below.layer().join("tmp"), rustix::fs::Mode::from_raw_mode(0o1777)).unwrap();
    symlink("/etc", below.layer().join("link")).unwrap();
    let place = Place::new();
    place
        .unpack(
            &Tar::new()
                .file("tmp/in/x", b"")
                .file("link/y", b"")
                .file("n/z", b"")
                .bytes(),
            &[below.layer()],
        )
        .unwrap();
    let found = |path: &str| {
        let found = fs::symlink_metadata(place.layer().join(path)).unwrap();
        (found.mode() & 0o7777, found.uid())
    };
    assert_eq!(found("tmp"), (0o1777, 7));
    assert_eq!(found("tmp/in"), (0o750, 7));
    assert_eq!((found("link"), found("n")), ((0o755, 0), (0o755, 0)));
}
