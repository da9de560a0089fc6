//! Packs a folder or a Wasm component into an image, and gives it to the nodes or writes it as an archive.
use super::load;
use crate::{cli::Global, progress};
use anyhow::{Context, Result, bail};
use clap::Args;
use sampan_container::{BuildConfig, BuildSource, Reference, build_archive};
use std::{collections::BTreeMap, path::PathBuf};

pub const EXAMPLES: &str = "Examples:
  sampan image build ./rootfs -t web:1 --entrypoint /server --env PORT=8080
  sampan image build ./rootfs -t web:1 --entrypoint '[\"/bin/server\", \"--name\", \"a b\"]'
  sampan image build hello.wasm -t hello:1
  sampan image build ./rootfs -t web:1 --output web.tar";

#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A folder that becomes the root filesystem, or a .wasm file
    path: PathBuf,
    /// The image's name
    #[arg(short = 't', long)]
    tag: String,
    /// The program and its first arguments: words, or a JSON list
    #[arg(long)]
    entrypoint: Option<String>,
    /// Further arguments, which a pod's args replace
    #[arg(long)]
    cmd: Option<String>,
    /// NAME=VALUE
    #[arg(short = 'e', long)]
    env: Vec<String>,
    /// Where it starts
    #[arg(long, default_value = "")]
    workdir: String,
    /// USER[:GROUP], names or numbers
    #[arg(long, default_value = "")]
    user: String,
    /// A port that it listens on: 80 or 53/udp
    #[arg(long)]
    expose: Vec<String>,
    /// KEY=VALUE
    #[arg(long)]
    label: Vec<String>,
    /// Write an OCI archive instead of giving the image to the nodes
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this node [default: all]
    #[arg(long, default_value = "")]
    node: String,
}

pub async fn run(args: BuildArgs, global: &Global) -> Result<()> {
    let reference: Reference = args
        .tag
        .parse()
        .with_context(|| format!("\"{}\" is no name of an image", args.tag))?;
    let source = args.source()?;
    if let Some(output) = &args.output {
        let digest = pack(&reference, source, output).await?;
        println!("Built {} in {}: {digest}", args.tag, output.display());
        return Ok(());
    }
    // Whether there is a cluster is seen before the work.
    let session = global.session()?;
    let place = tempfile::tempdir().context("no place for the archive")?;
    let archive = place.path().join("image.tar");
    let digest = pack(&reference, source, &archive).await?;
    println!("Built {}: {digest}", args.tag);
    load::send(Some(&archive), &args.node, &session).await
}

async fn pack(reference: &Reference, source: BuildSource, output: &std::path::Path) -> Result<String> {
    let spinner = progress::spinner("packing");
    let digest = build_archive(reference, source, output).await;
    spinner.finish_and_clear();
    Ok(digest?.to_string())
}

impl BuildArgs {
    fn source(&self) -> Result<BuildSource> {
        let shown = self.path.display();
        let metadata = std::fs::metadata(&self.path).with_context(|| format!("cannot read {shown}"))?;
        let config = self.config()?;
        if metadata.is_dir() {
            if config.entrypoint.is_empty() && config.cmd.is_empty() {
                crate::terminal::warn("the image says nothing to run: give --entrypoint, or a command in each pod");
            }
            return Ok(BuildSource::Folder {
                path: self.path.clone(),
                config: Box::new(config),
            });
        }
        if self.path.extension().is_none_or(|extension| extension != "wasm") {
            bail!("{shown} is neither a folder nor a .wasm file");
        }
        if config != BuildConfig::default() {
            bail!("a Wasm image has no entrypoint, environment or the like: say these in the pod");
        }
        Ok(BuildSource::Wasm {
            path: self.path.clone(),
        })
    }

    fn config(&self) -> Result<BuildConfig> {
        let pair = |label: &String| {
            let (key, value) = label
                .split_once('=')
                .with_context(|| format!("\"{label}\" is not KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        Ok(BuildConfig {
            entrypoint: self.entrypoint.as_deref().map(words).transpose()?.unwrap_or_default(),
            cmd: self.cmd.as_deref().map(words).transpose()?.unwrap_or_default(),
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            exposed_ports: self.expose.clone(),
            labels: self.label.iter().map(pair).collect::<Result<BTreeMap<_, _>>>()?,
            ..BuildConfig::default()
        })
    }
}

/// Words between spaces, or a JSON list.
fn words(text: &str) -> Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).with_context(|| format!("{text} is no JSON list of texts"));
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn commands_are_words_or_lists() {
        assert_eq!(words("/server --port 80").unwrap(), ["/server", "--port", "80"]);
        assert_eq!(words("[\"a b\", \"c\"]").unwrap(), ["a b", "c"]);
        assert!(words("[1]").is_err());
    }
}
