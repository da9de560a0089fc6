//! Programs that tests use, and an image made of one of them.
use std::{
    fs,
    path::{Path, PathBuf},
};

/// True where all of these programs are installed; said loudly where not.
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: needs {missing:?}; `.ci/packages` installs them");
    }
    missing.is_empty()
}

/// Where a program is: on the PATH, or among those for administrators, which a user's PATH may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A root file system of busybox alone.
pub fn busybox(root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::copy(find("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    for tool in [
        "sh", "sleep", "cat", "echo", "httpd", "wget", "env", "ls", "dd", "rm", "true", "seq",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
}
