//! What a container sees: layers under a real overlay, mounted where nobody else sees it.

use std::fs::File;
use std::path::{Path, PathBuf};

use sampan_container::{UnpackLimits, unpack_layer};
use tempfile::TempDir;

use crate::support::{have, is_root, run};
use crate::unpacking::Tar;

/// Unpacks the layers, lowest first, and gives them topmost first.
fn unpack(dir: &TempDir, layers: Vec<Tar>) -> Vec<PathBuf> {
    let mut lowers: Vec<PathBuf> = Vec::new();
    for (number, layer) in layers.into_iter().enumerate() {
        let (tar, target) = (dir.path().join("tar"), dir.path().join(number.to_string()));
        std::fs::write(&tar, layer.bytes()).unwrap();
        std::fs::create_dir(&target).unwrap();
        let limits = UnpackLimits::default();
        unpack_layer(File::open(&tar).unwrap(), &target, &lowers, &limits, "layer").unwrap();
        lowers.insert(0, target);
    }
    lowers
}

/// Every path of the merged layers, sorted.
pub fn merged(dir: &Path, lowers: &[PathBuf]) -> Vec<String> {
    let merged = dir.join("merged");
    std::fs::create_dir_all(&merged).unwrap();
    let lowers: Vec<String> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    let script = format!(
        "mount -t overlay overlay -o ro,lowerdir={} {at} && cd {at} && find . -mindepth 1 | sort",
        lowers.join(":"),
        at = merged.display()
    );
    run("unshare", &["-m", "sh", "-ec", &script])
        .lines()
        .map(|line| line[2..].to_owned())
        .collect()
}

#[test]
fn whiteouts() {
    if !is_root() || !have(&["unshare"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bottom = [
        "keep",
        "gone",
        "d/one",
        "d/two",
        "opaque/old",
        "tree/a/b",
        "again/old",
        "swap/old",
    ];
    let bottom = bottom.into_iter().fold(Tar::new(), |tar, path| tar.file(path, b"0"));
    let top = Tar::new()
        .file(".wh.gone", b"")
        .file("d/.wh.one", b"")
        .file("opaque/new", b"1")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.tree", b"")
        .file(".wh.never-there", b"")
        .file(".wh..wh.plnk", b"")
        // Deleted and made anew in one layer, in both orders: what was below does not show through.
        .file(".wh.again", b"")
        .file("again/new", b"1")
        .file("swap/new", b"1")
        .file(".wh.swap", b"");
    let lowers = unpack(&dir, vec![bottom, top]);
    let seen = merged(dir.path(), &lowers);
    let expected = [
        "again",
        "again/new",
        "d",
        "d/two",
        "keep",
        "opaque",
        "opaque/new",
        "swap",
        "swap/new",
    ];
    assert_eq!(seen, expected);
}

/// A character device 0:0 in a tar would be taken for a whiteout.
#[test]
fn devices_do_not_hide() {
    if !is_root() || !have(&["unshare"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let top = Tar::new().add(tar::EntryType::Char, "kept", "", b"");
    let lowers = unpack(&dir, vec![Tar::new().file("kept", b"0"), top.file("other", b"")]);
    assert_eq!(merged(dir.path(), &lowers), ["kept", "other"]);
}
