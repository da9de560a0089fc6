//! `plugin`: policies, from a new project and a first try to taking one back.
mod component;
mod diff;
mod figures;
mod inspect;
mod project;
mod record;
mod replay;
mod shown;
mod trial;

use super::outcome::Says;
use crate::{
    cli::Global,
    doc::Doc,
    print::{Format, columns::short_digest},
    progress::{self, size},
    session::Session,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sampan_api::rpc::{self, PluginChunk, PluginHeader};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

const EXAMPLES: &str = "Examples:
  sampan plugin new mine --world scheduler
  sampan plugin test my-policy.wasm     # on a made-up cluster, without a server
  sampan plugin inspect my-policy.wasm
  sampan plugin load my-policy.wasm --name mine
  sampan plugin shadow mine        # it decides beside the active one, and nothing of it is done
  sampan plugin diff mine          # which pods it would put elsewhere, and what would become of the cluster
  sampan plugin record -f noon.rec # what the active one is told and answers, to be replayed offline
  sampan plugin replay my-policy.wasm --from noon.rec
  sampan plugin activate mine
  sampan plugin rollback mine      # back to the last good one of its slot
  sampan plugin list";

/// Pieces in which it is sent. Bytes.
const CHUNK: usize = 256 << 10;

/// What the server may take to compile one and try it out.
const COMPILING: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PluginArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a project: a policy of a few lines, with its tests and all that it is built from
    New(project::NewArgs),
    /// Try a scheduler out on this machine: a cluster from a seed or a file, figures, and whether it can be relied on
    Test(trial::TestArgs),
    /// Say what a component is and asks for, before anyone trusts it
    #[command(after_help = "Example:\n  sampan plugin inspect my-policy.wasm")]
    Inspect {
        /// The component
        file: PathBuf,
        /// yaml, json, jsonpath=…
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
    /// Check, compile, try out and store a component
    Load(LoadArgs),
    /// List the plugins
    #[command(visible_alias = "ls", after_help = "Example:\n  sampan plugin list -o wide")]
    List {
        /// wide, yaml, json, name, jsonpath=…, custom-columns=…
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
    /// Show a plugin in detail, with figures of its calls
    #[command(after_help = "Example:\n  sampan plugin describe spread")]
    Describe { name: String },
    /// Make it the one that decides in its slot
    #[command(after_help = "Example:\n  sampan plugin activate binpack")]
    Activate(NameArgs),
    /// Let it decide beside the active one, for comparison
    #[command(after_help = "Example:\n  sampan plugin shadow mine")]
    Shadow(NameArgs),
    /// Hold a plugin against the active one of its slot: which decisions differ, how pods would lie, what nodes would change
    Diff(diff::DiffArgs),
    /// Write down what a scheduler slot is told and answers
    Record(record::RecordArgs),
    /// Put a recording or a snapshot through a policy, on this machine
    Replay(replay::ReplayArgs),
    /// Go back to the last good plugin of its slot
    #[command(after_help = "Example:\n  sampan plugin rollback mine")]
    Rollback(NameArgs),
    /// Take a plugin out of the cluster
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  sampan plugin remove mine\n  sampan plugin remove gate --force    # it is the one that decides"
    )]
    Remove {
        #[command(flatten)]
        args: NameArgs,
        /// Also if it decides and nobody else does: its slot is empty then
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
struct NameArgs {
    name: String,
    /// How to print the object: name, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sampan plugin load my-policy.wasm --name mine --plugin-config '{\"weight\": 3}'
  sampan plugin load my-controller.wasm --slot deployment --activate")]
struct LoadArgs {
    /// The component
    file: PathBuf,
    /// What it is called here [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// What it decides [default: by its world: default-scheduler, ipam, or its own name]
    #[arg(long)]
    slot: Option<String>,
    /// The contract it keeps [default: as its exports say]
    #[arg(long, value_parser = ["scheduler", "controller", "network", "ingress", "filter", "ipam"])]
    world: Option<String>,
    /// JSON for it, or @FILE
    #[arg(long, value_name = "JSON")]
    plugin_config: Option<String>,
    /// What it may import beyond its world
    #[arg(long, value_name = "IMPORT")]
    grant: Vec<String>,
    /// The sha256 that the file must have
    #[arg(long)]
    digest: Option<String>,
    /// Replace a plugin of this name
    #[arg(long)]
    replace: bool,
    /// Make it active at once
    #[arg(long, conflicts_with = "shadow")]
    activate: bool,
    /// Make it a shadow at once
    #[arg(long)]
    shadow: bool,
    /// How to print the object: name, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

pub async fn run(args: PluginArgs, global: &Global) -> Result<ExitCode> {
    // They need no cluster.
    match args.verb {
        Verb::New(args) => project::run(&args)?,
        Verb::Test(args) => trial::run(&args)?,
        Verb::Replay(args) => return replay::run(&args),
        verb => ask(verb, global).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(verb: Verb, global: &Global) -> Result<()> {
    let session = &global.session()?.patient(COMPILING);
    let mut client = session.plugins();
    let request = |args: &NameArgs| rpc::PluginRequest {
        name: args.name.clone(),
    };
    match verb {
        Verb::New(_) | Verb::Test(_) | Verb::Replay(_) => {}
        Verb::Diff(args) => return diff::run(args, session).await,
        Verb::Record(args) => return record::run(args, session).await,
        Verb::Inspect { file, output } => return inspect::run(&file, output, session).await,
        Verb::Load(args) => return load(args, session).await,
        Verb::List { output } => return shown::list(output, session).await,
        Verb::Describe { name } => return shown::describe(&name, session).await,
        Verb::Activate(args) => say(
            &args,
            &session.once(client.activate(request(&args))).await?,
            "activated",
        )?,
        Verb::Shadow(args) => say(&args, &session.once(client.shadow(request(&args))).await?, "shadowing")?,
        Verb::Rollback(args) => say(
            &args,
            &session.once(client.rollback(request(&args))).await?,
            "rolled back",
        )?,
        Verb::Remove { args, force } => {
            let name = args.name.clone();
            let request = rpc::RemovePluginRequest { name, force };
            let removed = session.once(client.remove(request)).await?;
            // What is removed may not come back as an object.
            if removed.json.is_empty() {
                println!("plugin.sampan.dev/{} removed", args.name);
                return Ok(());
            }
            say(&args, &removed, "removed")?;
        }
    }
    Ok(())
}

fn say(args: &NameArgs, object: &rpc::Object, done: &str) -> Result<()> {
    let doc = Doc::from_message(object)?;
    let done = match doc.name() == args.name {
        true => done.to_owned(),
        // A rollback answers with the one that is active now.
        false => format!("is active again, {} is {done}", args.name),
    };
    Says {
        output: args.output.clone(),
        ..Says::default()
    }
    .say(&doc, &done)
}

/// The header, then the bytes in pieces.
fn chunks(header: PluginHeader, bytes: &[u8]) -> impl futures::Stream<Item = PluginChunk> + Send + 'static {
    let first = PluginChunk {
        header: Some(header),
        data: Default::default(),
    };
    let rest = bytes.chunks(CHUNK).map(|data| PluginChunk {
        header: None,
        data: data.to_vec().into(),
    });
    futures::stream::iter(std::iter::once(first).chain(rest).collect::<Vec<_>>())
}

async fn load(args: LoadArgs, session: &Session) -> Result<()> {
    let bytes = component::read(&args.file)?;
    let stem = args
        .file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('_', "-")
        .to_lowercase();
    let name = args.name.unwrap_or(stem);
    if !sampan_api::validate::is_name(&name) {
        bail!("\"{name}\" is no name: lower-case letters, digits, '-' and '.'; say one with --name");
    }
    let header = PluginHeader {
        name: name.clone(),
        config: args
            .plugin_config
            .as_deref()
            .map(config)
            .transpose()?
            .unwrap_or_default(),
        world: args.world.unwrap_or_default(),
        slot: args.slot.unwrap_or_default(),
        grants: args.grant,
        digest: args.digest.unwrap_or_default(),
        replace: args.replace,
    };
    let spinner = progress::spinner(&format!("loading {name} ({})", size(bytes.len() as u64)));
    let mut client = session.plugins();
    let loaded = session.once(client.load(chunks(header, &bytes))).await;
    spinner.finish_and_clear();
    let mut object = loaded?;
    let request = rpc::PluginRequest { name: name.clone() };
    let mut done = "loaded";
    if args.activate {
        object = session
            .once(client.activate(request))
            .await
            .context("it was loaded, and not activated")?;
        done = "loaded and activated";
    } else if args.shadow {
        object = session
            .once(client.shadow(request))
            .await
            .context("it was loaded, and does not shadow")?;
        done = "loaded and shadowing";
    }
    let doc = Doc::from_message(&object)?;
    let digest = short_digest(doc.text("/spec/digest"));
    let done = format!(
        "{done} ({}, slot {}, {digest})",
        doc.text("/spec/world"),
        doc.text("/spec/slot")
    );
    Says {
        output: args.output,
        ..Says::default()
    }
    .say(&doc, &done)
}

/// JSON of the command line, or of a file.
fn config(text: &str) -> Result<String> {
    let json = match text.strip_prefix('@') {
        Some(path) => {
            String::from_utf8(component::bytes(Path::new(path))?).with_context(|| format!("{path} is not UTF-8"))?
        }
        None => text.to_owned(),
    };
    let value: Value = serde_json::from_str(&json).context("--plugin-config is not JSON")?;
    Ok(value.to_string())
}
