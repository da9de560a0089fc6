//! `plugin new`: a project of its own, with the SDK and the contracts that this binary was built with.
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the projects of all worlds have in common: a path, and a text in which names are put in.
const COMMON: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../../../templates/Cargo.toml.txt")),
    ("README.md", include_str!("../../../templates/README.md")),
    (".gitignore", "target/\n"),
];

const SCHEDULER: [(&str, &str); 2] = [
    ("src/lib.rs", include_str!("../../../templates/scheduler/src/lib.rs")),
    (
        "tests/trace.rs",
        include_str!("../../../templates/scheduler/tests/trace.rs"),
    ),
];

const CONTROLLER: [(&str, &str); 1] = [("src/lib.rs", include_str!("../../../templates/controller/src/lib.rs"))];

const NETWORK: [(&str, &str); 1] = [("src/lib.rs", include_str!("../../../templates/network/src/lib.rs"))];

const IPAM: [(&str, &str); 1] = [("src/lib.rs", include_str!("../../../templates/ipam/src/lib.rs"))];

const INGRESS: [(&str, &str); 1] = [("src/lib.rs", include_str!("../../../templates/ingress/src/lib.rs"))];

/// What the README of a scheduler says of trying it out.
const TESTING: &str =
    "    sampan plugin test target/wasm32-unknown-unknown/release/policy_name.wasm --expect target/tmp/answers.txt\n";

/// What it says of loading one that decides on servers.
const LOADING: &str = "    sampan plugin load target/wasm32-unknown-unknown/release/policy_name.wasm --name policy-name
    sampan plugin shadow policy-name      # it decides beside the active one, and nothing of it is done
";

/// The same of one that decides on nodes, where it takes a slot whose tables it fills.
const LOADING_ON_NODES: &str =
    "    sampan plugin load target/wasm32-unknown-unknown/release/policy_name.wasm --name policy-name --slot SLOT
";

/// Of what the binary carries, the files that go to the top of a project. All others are vendored.
const TOP: [&str; 2] = ["plugins/Cargo.lock", "rust-toolchain.toml"];

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sampan plugin new mine --world scheduler
  sampan plugin new tidy-up --world controller
  sampan plugin new my-routes --world network
  sampan plugin new my-hosts --world ingress
  sampan plugin new my-addresses --world ipam")]
pub struct NewArgs {
    /// What the policy is called; a folder of this name is made
    name: String,
    /// What it decides about
    #[arg(long, value_parser = ["scheduler", "controller", "network", "ingress", "ipam"], default_value = "scheduler")]
    world: String,
    /// The folder, where it is to be another
    #[arg(long)]
    path: Option<PathBuf>,
}

/// # Errors
/// If the name is none that a crate may have, or there is such a folder.
pub fn run(args: &NewArgs) -> Result<()> {
    check_name(&args.name)?;
    let dir = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    // Not into a folder that is there: whatever it holds is somebody's work.
    fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (path, text) in files(&args.name, &args.world)? {
        let path = dir.join(path);
        let parent = path.parent().context("a file in the project")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!(
        "{} is a policy of the world {}; its README.md says how to go on",
        dir.display(),
        args.world
    );
    Ok(())
}

/// A name that is one for a crate and for a Plugin object.
fn check_name(name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let all = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ensure!(
        starts && all && !name.ends_with('-') && name.len() <= 63,
        "\"{name}\" is no name for a policy: at most 63 lower-case letters, digits and '-', a letter first"
    );
    // Crates of the SDK, and what a library may not be called.
    if ["sampan-sdk", "serde", "serde-json", "test", "std", "core", "alloc"].contains(&name)
        || name.starts_with("world-")
    {
        bail!("\"{name}\" is taken: choose another name");
    }
    Ok(())
}

/// All files of a project.
fn files(name: &str, world: &str) -> Result<Vec<(String, String)>> {
    let own: &[(&str, &str)] = match world {
        "controller" => &CONTROLLER,
        "network" => &NETWORK,
        "ingress" => &INGRESS,
        "ipam" => &IPAM,
        _ => &SCHEDULER,
    };
    let loading = match world {
        "scheduler" => format!("{TESTING}{LOADING}"),
        "controller" => LOADING.to_owned(),
        "network" => LOADING_ON_NODES.replace("SLOT", "routes"),
        slot => LOADING_ON_NODES.replace("SLOT", slot),
    };
    let put_in = |text: &str| {
        text.replace("LOADING\n", &loading)
            .replace("WORLD", world)
            .replace("policy-name", name)
            .replace("policy_name", &name.replace('-', "_"))
            .replace("PolicyName", &camel(name))
    };
    let own = COMMON
        .iter()
        .chain(own)
        .map(|(path, text)| ((*path).to_owned(), put_in(text)));
    let mut all: Vec<(String, String)> = own.collect();
    for (path, text) in sampan_builtin::SDK {
        let text = match *path {
            "plugins/Cargo.toml" => members(text)?,
            "rust-toolchain.toml" => targets(text),
            _ => (*text).to_owned(),
        };
        let path = match TOP.contains(path) {
            true => Path::new(path)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
            false => Some(format!("vendor/{path}")),
        };
        all.extend(path.map(|path| (path, text)));
    }
    Ok(all)
}

/// The workspace's manifest with the members that are vendored.
fn members(manifest: &str) -> Result<String> {
    let vendored = sampan_builtin::SDK.iter().filter_map(|(path, _)| {
        let member = path.strip_prefix("plugins/")?.strip_suffix("/Cargo.toml")?;
        Some(format!("    \"{member}\",\n"))
    });
    let (before, rest) = manifest
        .split_once("members = [\n")
        .context("the SDK's manifest has members")?;
    let (_, after) = rest.split_once(']').context("the SDK's manifest has members")?;
    // Profiles are those of the project.
    let after = after.split("[profile").next().unwrap_or_default();
    Ok(format!("{before}members = [\n{}]{after}", vendored.collect::<String>()))
}

/// The toolchain that the SDK was built with, and the one target that a policy needs.
fn targets(toolchain: &str) -> String {
    let channel = toolchain.lines().find(|line| line.starts_with("channel"));
    format!(
        "[toolchain]\n{}\ntargets = [\"wasm32-unknown-unknown\"]\n",
        channel.unwrap_or("channel = \"stable\"")
    )
}

/// `my-policy` as a type is called: `MyPolicy`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_crates_and_types() {
        assert_eq!(camel("my-2nd-policy"), "My2ndPolicy");
        for good in ["a", "most-memory", "v2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "2nd",
            "My",
            "a_b",
            "a-",
            "../a",
            "serde",
            "world-scheduler",
            &"a".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_project_has_its_names_and_what_it_is_built_from() {
        for world in ["scheduler", "controller", "network", "ingress", "ipam"] {
            let files = files("most-memory", world).unwrap();
            let text = |path: &str| {
                let found = files.iter().find(|(known, _)| known == path);
                &found.unwrap_or_else(|| panic!("no {path}")).1
            };
            assert!(text("src/lib.rs").contains("pub struct MostMemory"));
            assert!(text("Cargo.toml").contains("name = \"most-memory\""));
            let members = text("vendor/plugins/Cargo.toml");
            assert!(
                members.contains("\"sdk\"") && members.contains("\"worlds/scheduler-0.2\""),
                "{members}"
            );
            assert!(
                !members.contains("\"binpack\"") && !members.contains("[profile"),
                "{members}"
            );
            assert!(text("vendor/wit/scheduler/0.2/world.wit").contains("sampan:scheduler@0.2.0"));
            assert!(text("rust-toolchain.toml").contains("channel = \"1."));
            for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("vendor")) {
                let left = ["policy-name", "policy_name", "PolicyName", "WORLD", "LOADING", "SLOT"];
                assert!(!left.iter().any(|word| text.contains(word)), "{path}: {text}");
            }
        }
    }
}
