//! `docs/writing-a-scheduler.md`, done as it says: commands are run, files written, and what is shown is looked for.
use crate::{
    bench::{clean, has_crates, projects, root},
    stage::Stage,
};
use std::{fs, path::PathBuf, process::Command};

/// A block of the page.
#[derive(Debug, PartialEq)]
enum Block {
    Commands(String),
    /// A file, from the project's folder on.
    File {
        path: String,
        text: String,
    },
    /// What the commands before it print, among other things.
    Shown(String),
}

/// The blocks of a page. One that this test does not know is a mistake.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = text.join("\n") + "\n";
        blocks.push(match info.split_once(' ') {
            None if info == "sh" => Block::Commands(text),
            None if info == "text" => Block::Shown(text),
            Some((_, path)) => Block::File {
                path: path.to_owned(),
                text,
            },
            None => panic!("a block of kind {info:?}"),
        });
    }
    blocks
}

/// Whether the lines are there, in any order: tests run beside each other. `…` stands for anything.
fn shows(printed: &str, shown: &str) -> Result<(), String> {
    let mut printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    for wanted in shown.lines() {
        let found = printed.iter().position(|line| is_like(line, wanted));
        printed.remove(found.ok_or_else(|| format!("no line like \"{wanted}\""))?);
    }
    Ok(())
}

fn is_like(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

/// A shell in which the page is gone through.
struct Shell {
    dir: PathBuf,
    path: std::ffi::OsString,
    config: PathBuf,
    /// Where projects are built: what others have built is not built again.
    target: PathBuf,
}

impl Shell {
    /// Runs commands as a user would type them, one after the other, until one fails.
    fn run(&mut self, commands: &str) -> String {
        let left = self.dir.with_file_name("left");
        let script = format!("exec 2>&1\nset -eu\n{commands}\npwd > '{}'\n", left.display());
        let mut bash: Command = clean("bash");
        bash.current_dir(&self.dir)
            .args(["-c", &script])
            .env("PATH", &self.path);
        bash.env("SAMPAN_CONFIG", &self.config)
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C");
        let output = crate::bench::run(&mut bash);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{commands}\n{printed}");
        self.dir = PathBuf::from(fs::read_to_string(left).unwrap().trim());
        let target = self.dir.join("target");
        if self.dir.join("Cargo.toml").exists() && !target.exists() {
            fs::create_dir_all(&self.target).unwrap();
            std::os::unix::fs::symlink(&self.target, target).unwrap();
        }
        printed
    }
}

#[test]
fn the_page_is_true() {
    if !has_crates() {
        return;
    }
    let page = fs::read_to_string(root().join("docs/writing-a-scheduler.md")).unwrap();
    let stage = Stage::new();
    let work = stage.dir.path().join("work");
    fs::create_dir(&work).unwrap();
    // The binary under test is the `sampan` of the page.
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_sampan")).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        [bin]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let (target, _guard) = projects();
    let mut shell = Shell {
        target,
        dir: work,
        path: path.unwrap(),
        config: stage.dir.path().join("config"),
    };
    let mut printed = String::new();
    for block in blocks(&page) {
        match block {
            Block::File { path, text } => fs::write(shell.dir.join(path), text).unwrap(),
            Block::Shown(text) => shows(&printed, &text).unwrap_or_else(|why| panic!("{why} in:\n{printed}")),
            Block::Commands(text) => printed = shell.run(&text),
        }
    }
}
