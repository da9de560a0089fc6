//! The rules of the house, checked from the files and from cargo's metadata; `tests/house.rs` says which.
//!
//! Each check returns what breaks the rule, so that a test can print all of it at once.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom: a crate and the crates of the house that it may name. What is not here may be named by nobody.
pub const IMPORTS: &[(&str, &[&str])] = &[
    ("sampan-api", &[]),
    ("sampan-shim", &[]),
    ("sampan-builtin", &[]),
    ("sampan-tls", &[]),
    ("sampan-state", &["sampan-api"]),
    ("sampan-sandbox", &["sampan-api"]),
    ("sampan-container", &["sampan-shim"]),
    ("sampan-overlay", &["sampan-tls"]),
    (
        "sampan-server",
        &["sampan-api", "sampan-state", "sampan-sandbox", "sampan-tls"],
    ),
    (
        "sampan-node",
        &[
            "sampan-api",
            "sampan-sandbox",
            "sampan-container",
            "sampan-overlay",
            "sampan-shim",
            "sampan-tls",
        ],
    ),
    (
        "sampan",
        &[
            "sampan-api",
            "sampan-sandbox",
            "sampan-container",
            "sampan-tls",
            "sampan-server",
            "sampan-node",
            "sampan-builtin",
        ],
    ),
    ("sim", &["sampan-api", "sampan-state"]),
];

/// Words that say nothing, banned as names of modules and crates.
pub const BANNED: &[&str] = &[
    "manager", "helper", "helpers", "util", "utils", "common", "misc", "core",
];

/// What floors 0 and 1 must not name: clocks, randomness, I/O, threads. They are given as inputs.
pub const NOT_SANS_IO: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "rand::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "tokio::",
];

/// Lines of the longest file that is let be.
pub const WALL: usize = 800;

/// The top of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust files of the repository that are ours, with their text.
pub fn sources(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for top in ["kernel", "plugins", "images", "tests"] {
        walk(&root.join(top), &mut files);
    }
    files.sort();
    files
}

fn walk(dir: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir()
            && path
                .file_name()
                .is_some_and(|name| name != "target" && name != "node_modules")
        {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let Ok(text) = fs::read_to_string(&path)
        {
            files.push((path, text));
        }
    }
}

/// Imports between crates of the house that the table does not allow, from `cargo metadata`'s JSON. Development and
/// build dependencies are free: they are not in what runs.
pub fn forbidden_imports(metadata: &serde_json::Value) -> Vec<String> {
    let table: BTreeMap<&str, BTreeSet<&str>> = IMPORTS
        .iter()
        .map(|(name, allowed)| (*name, allowed.iter().copied().collect()))
        .collect();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let path = package["manifest_path"].as_str().unwrap_or_default();
        if path.contains("/tests/") {
            continue;
        }
        let Some(allowed) = table.get(name) else {
            found.push(format!("{name} has no place in the import table of tests/tidy"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let of = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string() && dependency["kind"].is_null();
            if ours && table.contains_key(of) && !allowed.contains(of) {
                found.push(format!("{name} imports {of}: the table allows {allowed:?}"));
            }
        }
    }
    found
}

/// Files that do not open with why they exist.
pub fn without_purpose(files: &[(PathBuf, String)]) -> Vec<String> {
    let opens = |text: &str| text.trim_start().starts_with("//!");
    files
        .iter()
        .filter(|(_, text)| !opens(text))
        .map(|(path, _)| path.display().to_string())
        .collect()
}

/// Files over the wall.
pub fn too_long(files: &[(PathBuf, String)]) -> Vec<String> {
    let length = |text: &str| text.lines().count();
    let over = files.iter().filter(|(_, text)| length(text) > WALL);
    over.map(|(path, text)| format!("{}: {} lines", path.display(), length(text)))
        .collect()
}

/// Modules with names that say nothing.
pub fn badly_named(files: &[(PathBuf, String)]) -> Vec<String> {
    let banned = |part: &str| BANNED.contains(&part.trim_end_matches(".rs"));
    let bad = files
        .iter()
        .filter(|(path, _)| path.iter().any(|part| part.to_str().is_some_and(banned)));
    bad.map(|(path, _)| path.display().to_string()).collect()
}

/// Lines of the sans-IO crates that reach outside. What stands below `#[cfg(test)]` may.
pub fn not_sans_io(root: &Path, files: &[(PathBuf, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for crate_dir in ["kernel/api/src", "kernel/state/src"] {
        let dir = root.join(crate_dir);
        for (path, text) in files.iter().filter(|(path, _)| path.starts_with(&dir)) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let comment = line.trim_start().starts_with("//");
                if let Some(word) = NOT_SANS_IO.iter().find(|word| !comment && line.contains(**word)) {
                    found.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    found
}
