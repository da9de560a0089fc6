//! Builds what the binary carries: policy plugins (core Wasm made into components), Wasm workloads, and two small
//! static binaries (the shim and the demo's web server), each by a cargo of its own.
//!
//! A nested cargo must not share the target directory of the outer one, which is locked, nor its flags, which are meant
//! for the host.
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is built, from where, for what.
struct Build<'a> {
    workspace: &'a str,
    packages: &'a [&'a str],
    target: &'a str,
    rustflags: &'a str,
}

/// Plugins by their package; the file names follow.
const PLUGINS: &[&str] = &[
    "scheduler",
    "spread",
    "binpack",
    "deployment",
    "replicaset",
    "job",
    "garbage-collector",
    "node-lifecycle",
    "endpoints",
    "disruption",
    "load-balancer",
    "routes",
    "service",
    "network-policy",
    "ingress",
    "ipam",
];

/// Plugins that misbehave, for the demo and for tests.
const HOSTILE: &[&str] = &[
    "hostile-loop",
    "hostile-trap",
    "hostile-memory",
    "hostile-liar",
    "hostile-flood",
    "hostile-start",
    "hostile-rubbish",
    "hostile-network",
    "hostile-ipam",
    "hostile-careless",
];

/// Plugins that a cluster does not begin with.
const OTHERS: &[&str] = &["hub-and-spoke"];

/// What a policy outside of this repository is built from.
const SDK: [&str; 7] = [
    "plugins/Cargo.lock",
    "plugins/Cargo.toml",
    "plugins/sdk/Cargo.toml",
    "plugins/sdk/src",
    "plugins/worlds",
    "rust-toolchain.toml",
    "wit",
];

fn main() -> Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("../..")
        .canonicalize()?;
    for watched in [
        "plugins",
        "wit",
        "images",
        "kernel/shim",
        "Cargo.lock",
        "rust-toolchain.toml",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let nested = Nested {
        root: root.clone(),
        target_dir: target_dir(&out)?.join("guests"),
    };

    let names: Vec<&str> = [PLUGINS, HOSTILE, OTHERS].concat();
    let plugins = Build {
        workspace: "plugins",
        packages: &names,
        target: "wasm32-unknown-unknown",
        rustflags: "",
    };
    let built = nested.run(&plugins)?;
    for name in &names {
        let module = built.join(format!("{}.wasm", name.replace('-', "_")));
        write_changed(&out.join(format!("{name}.wasm")), &componentize(&module)?)?;
    }

    let workloads = ["sampan-image-hello", "sampan-image-primes", "sampan-image-gate"];
    let images = Build {
        workspace: "images",
        packages: &workloads,
        target: "wasm32-wasip2",
        rustflags: "",
    };
    let built = nested.run(&images)?;
    copy_changed(&built.join("sampan_image_hello.wasm"), &out.join("hello.wasm"))?;
    copy_changed(&built.join("sampan_image_gate.wasm"), &out.join("gate.wasm"))?;
    copy_changed(&built.join("sampan-image-primes.wasm"), &out.join("primes.wasm"))?;

    // Static, so that they start fast and need nothing of a root filesystem.
    let host = env::var("HOST")?;
    let flags = "-C target-feature=+crt-static -C relocation-model=static";
    let web = Build {
        workspace: "images",
        packages: &["sampan-image-web"],
        target: &host,
        rustflags: flags,
    };
    copy_changed(&nested.run(&web)?.join("sampan-image-web"), &out.join("web"))?;
    let shim = Build {
        workspace: ".",
        packages: &["sampan-shim"],
        target: &host,
        rustflags: flags,
    };
    copy_changed(&nested.run(&shim)?.join("sampan-shim"), &out.join("sampan-shim"))?;

    fs::write(out.join("sdk.rs"), texts(&root, &SDK)?)?;
    fs::write(out.join("plugins.rs"), table(PLUGINS))?;
    fs::write(out.join("hostile.rs"), table(HOSTILE))?;
    fs::write(out.join("others.rs"), table(OTHERS))?;
    Ok(())
}

/// A table of names and bytes, as Rust.
fn table(names: &[&str]) -> String {
    let rows = names
        .iter()
        .map(|name| format!("(\"{name}\", include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.wasm\")) as &[u8]),"));
    format!("&[{}]", rows.collect::<String>())
}

/// A table of all files below some folders, by their paths in the repository, as Rust.
fn texts(root: &Path, of: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    let mut left: Vec<PathBuf> = of.iter().map(|path| root.join(path)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for entry in entries {
                left.push(entry?.path());
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    let row = |path: &PathBuf| -> Result<String> {
        let name = path.strip_prefix(root)?.to_str().context("a name that is no UTF-8")?;
        Ok(format!("({name:?}, include_str!({:?})),", path.display()))
    };
    let rows: Vec<String> = files.iter().map(row).collect::<Result<_>>()?;
    Ok(format!("&[{}]", rows.concat()))
}

/// The target directory, above where this script writes: cargo marks one that it makes itself; one that was there before it
/// is known by the profile's directory in it.
fn target_dir(out: &Path) -> Result<PathBuf> {
    let marked = out.ancestors().filter(|dir| dir.join("CACHEDIR.TAG").is_file()).last();
    let profile = out.ancestors().find(|dir| dir.join(".fingerprint").is_dir());
    marked
        .or_else(|| profile.and_then(Path::parent))
        .map(Path::to_owned)
        .with_context(|| format!("no target directory above {}", out.display()))
}

struct Nested {
    root: PathBuf,
    target_dir: PathBuf,
}

impl Nested {
    /// Builds and returns the folder of what was built.
    fn run(&self, build: &Build<'_>) -> Result<PathBuf> {
        self.need_target(build.target)?;
        let workspace = self.root.join(build.workspace);
        let mut cargo = self.clean(Command::new(env::var_os("CARGO").context("cargo sets CARGO")?));
        cargo
            .current_dir(&workspace)
            .args(["build", "--release", "--locked", "--quiet", "--target", build.target]);
        cargo.arg("--target-dir").arg(&self.target_dir);
        if !build.rustflags.is_empty() {
            // Small and alone: the release profile of the root workspace is meant for the daemon.
            cargo.env("RUSTFLAGS", build.rustflags);
            for (name, value) in [
                ("OPT_LEVEL", "s"),
                ("LTO", "true"),
                ("CODEGEN_UNITS", "1"),
                ("PANIC", "abort"),
                ("STRIP", "true"),
            ] {
                cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
            }
        }
        build.packages.iter().for_each(|package| {
            cargo.args(["-p", package]);
        });
        let status = cargo
            .status()
            .with_context(|| format!("cannot run cargo in {}", workspace.display()))?;
        ensure!(
            status.success(),
            "building {} for {} failed: see above",
            build.packages.join(", "),
            build.target
        );
        Ok(self.target_dir.join(build.target).join("release"))
    }

    /// Without what cargo set for this script and its host.
    fn clean(&self, mut command: Command) -> Command {
        let keep = [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_CAINFO",
            "CARGO_TERM_COLOR",
        ];
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let of_cargo = text.starts_with("CARGO") && !keep.contains(&&*text) && !text.starts_with("CARGO_REGISTR");
            let of_rust = [
                "RUSTFLAGS",
                "RUSTC",
                "RUSTDOC",
                "RUSTC_WRAPPER",
                "RUSTC_WORKSPACE_WRAPPER",
                "TARGET",
                "HOST",
            ];
            if of_cargo || of_rust.contains(&&*text) {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Sees to it that the standard library for the target is there; rustup fetches it by rust-toolchain.toml.
    fn need_target(&self, target: &str) -> Result<()> {
        let present = || -> Result<bool> {
            let mut rustc = self.clean(Command::new("rustc"));
            let output = rustc
                .current_dir(&self.root)
                .args(["--print", "target-libdir", "--target", target])
                .output();
            let output = output.context("cannot run rustc")?;
            let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            Ok(fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()))
        };
        if present()? {
            return Ok(());
        }
        let fetched = self
            .clean(Command::new("rustup"))
            .current_dir(&self.root)
            .args(["toolchain", "install"])
            .status();
        if !fetched.is_ok_and(|status| status.success()) || !present()? {
            bail!(
                "Rust's std for {target} is missing: run `rustup toolchain install` in {}",
                self.root.display()
            );
        }
        Ok(())
    }
}

/// Makes a component of a core module that carries its world in a custom section.
fn componentize(module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoded = encoder
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode());
    encoded.with_context(|| format!("{} cannot be made a component", module.display()))
}

fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    write_changed(
        to,
        &fs::read(from).with_context(|| format!("cannot read {}", from.display()))?,
    )
}

/// Leaves a file alone that is as it should be, so that what includes it is not compiled again.
fn write_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
