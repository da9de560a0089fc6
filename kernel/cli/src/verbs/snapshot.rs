//! `snapshot`: the cluster's state as a file, what is in such a file, and a new cluster that begins with it.
use super::about;
use crate::{
    cli::Global,
    new_file::NewFile,
    print::{Format, tabs},
    progress::{self, size},
    session::Session,
    terminal, up,
};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use sampan_api::rpc;
use sampan_server::backup::{self, Check, Contents, Names};
use serde_json::json;
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// The stream lives while something comes within this time.
const SILENCE: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "Examples:
  sampan snapshot save /backup/monday.snap
  sampan snapshot save - | ssh vault 'cat > monday.snap'
  sampan snapshot inspect /backup/monday.snap
  sampan snapshot restore /backup/monday.snap --data-dir /srv/sampan
  sampan up --data-dir /srv/sampan";

const SAVE: &str =
    "A snapshot holds all objects, Secrets among them, and all plugins: keep it safe. It is taken while the
cluster works, and has all that was written before.

Examples:
  sampan snapshot save /backup/monday.snap
  sampan snapshot save --force /backup/latest.snap
  sampan snapshot save - | gzip > monday.snap.gz";

const RESTORE: &str = "The cluster that is made is a new one: it has one server, an authority of its own, and neither the
servers nor the tokens of the old one. Its contexts are new: `sampan up` writes one. Other servers and the nodes join it
anew, with new tokens; a node's object stays, and says NotReady, until you delete it, which must be before the machine joins
again under its name. Stop what is left of the old cluster first: its pods would run twice.

Examples:
  sampan snapshot restore monday.snap --data-dir /srv/sampan
  sampan snapshot restore monday.snap --data-dir /tmp/drill --name drill --cluster-name drill
  sampan up --data-dir /srv/sampan";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write the cluster's state to a file
    #[command(after_help = SAVE)]
    Save {
        /// Where to; `-` is stdout
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Check a snapshot, and say what is in it
    #[command(
        after_help = "Examples:\n  sampan snapshot inspect monday.snap\n  sampan snapshot inspect monday.snap -o json"
    )]
    Inspect {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// yaml, json, jsonpath=…
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
    /// Make a new cluster that begins with a snapshot; `sampan up` then starts it
    #[command(after_help = RESTORE)]
    Restore {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// An empty directory, or one that is not there [default: that of `sampan up`]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// What `up` calls this machine [default: the host's name]
        #[arg(long)]
        name: Option<String>,
        /// The new cluster's name, and that of its context [default: the old one's]
        #[arg(long)]
        cluster_name: Option<String>,
    },
}

pub async fn run(args: SnapshotArgs, global: &Global) -> Result<()> {
    match args.what {
        What::Save { file, .. } if file == Path::new("-") => to_stdout(&global.session()?).await,
        What::Save { file, force } => save(&file, force, &global.session()?).await,
        What::Inspect { file, output } => inspect(&file, output.as_ref()),
        What::Restore {
            file,
            data_dir,
            name,
            cluster_name,
        } => {
            let named = |name: Option<String>| name.map(|name| up::node_name(&name)).transpose();
            let names = Names {
                name: named(name)?,
                cluster_name: named(cluster_name)?,
            };
            restore(&file, &up::data_dir(data_dir.as_deref())?, names)
        }
    }
}

/// What came from the server.
struct Saved {
    cluster: String,
    revision: u64,
    bytes: u64,
}

/// Writes what the server sends, and looks whether it is whole.
async fn receive(session: &Session, out: &mut impl Write) -> Result<Saved> {
    let request = rpc::SnapshotRequest::default();
    let mut stream = session
        .once(async { session.cluster().snapshot(request).await })
        .await?;
    let bar = progress::stream("snapshot");
    let mut check = Check::default();
    let mut saved = Saved {
        cluster: String::new(),
        revision: 0,
        bytes: 0,
    };
    loop {
        let next = tokio::time::timeout(SILENCE, stream.message()).await;
        let next = next.map_err(|_| anyhow!("nothing more came from {} within {SILENCE:?}", session.server))?;
        let Some(piece) = next.map_err(|status| session.error(status))? else {
            break;
        };
        if saved.cluster.is_empty() {
            (saved.cluster, saved.revision) = (piece.cluster, piece.revision);
        }
        check.push(&piece.data);
        out.write_all(&piece.data).context("the snapshot cannot be written")?;
        bar.inc(piece.data.len() as u64);
    }
    bar.finish_and_clear();
    out.flush().context("the snapshot cannot be written")?;
    saved.bytes = check
        .finish()
        .map_err(|error| anyhow!("what came is no good snapshot: {error}"))?;
    Ok(saved)
}

async fn to_stdout(session: &Session) -> Result<()> {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        bail!("a snapshot is no text for a terminal: name a file, or send it on, `sampan snapshot save - | …`");
    }
    let saved = receive(session, &mut out).await?;
    eprintln!(
        "revision {} of {}, {}",
        saved.revision,
        saved.cluster,
        size(saved.bytes)
    );
    Ok(())
}

async fn save(file: &Path, force: bool, session: &Session) -> Result<()> {
    let mut aside = NewFile::begin(file, ".snapshot-", force)?;
    let saved = tokio::select! {
        saved = receive(session, aside.file()) => saved?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: nothing is kept"),
    };
    aside.keep()?;
    println!(
        "{}: revision {} of {}, {}",
        file.display(),
        saved.revision,
        saved.cluster,
        size(saved.bytes)
    );
    Ok(())
}

fn inspect(file: &Path, output: Option<&Format>) -> Result<()> {
    let seen = backup::inspect(file)?;
    let members: Vec<_> = seen
        .members
        .iter()
        .map(|member| json!({"id": member.id, "name": member.name, "address": member.address}))
        .collect();
    let value = json!({"file": file.display().to_string(), "bytes": seen.bytes, "checksum": "ok",
        "cluster": seen.cluster_name, "clusterID": seen.cluster, "revision": seen.revision,
        "raft": {"term": seen.term, "index": seen.index, "voters": seen.voters}, "members": members,
        "objects": seen.objects, "blobs": {"count": seen.blobs, "bytes": seen.blob_bytes}});
    about::print(output, &value, || text(file, &seen))
}

fn text(file: &Path, seen: &Contents) -> String {
    let members: Vec<String> = seen
        .members
        .iter()
        .map(|member| format!("{} ({})", member.name, member.address))
        .collect();
    let mut text = format!(
        "File:\t{}, {}, checksum ok\nCluster:\t{}\nID:\t{}\nRevision:\t{}\nRaft:\tterm {}, index {}\nMembers:\t{}\n\
         Plugins' bytes:\t{} in {}\nObjects:\t{}\n",
        file.display(),
        size(seen.bytes),
        seen.cluster_name,
        seen.cluster,
        seen.revision,
        seen.term,
        seen.index,
        members.join(", "),
        size(seen.blob_bytes),
        seen.blobs,
        seen.objects.values().sum::<u64>(),
    );
    for (resource, count) in &seen.objects {
        text.push_str(&format!("  {resource}\t{count}\n"));
    }
    tabs::align(&text, 2)
}

fn restore(file: &Path, data: &Path, names: Names) -> Result<()> {
    let restored = backup::restore(file, data, names).context("nothing is restored")?;
    let objects: u64 = restored.contents.objects.values().sum();
    println!(
        "{}: cluster \"{}\" ({}) begins with revision {} of {}, {objects} objects",
        data.display(),
        restored.cluster_name,
        restored.cluster,
        restored.contents.revision,
        restored.contents.cluster,
    );
    println!("start it with `sampan up --data-dir {}`", data.display());
    let nodes = restored.contents.objects.get("nodes").copied().unwrap_or_default();
    if nodes > 0 {
        terminal::warn(&format!(
            "{nodes} nodes are known to it and must join anew: `sampan delete node NAME`, then `sampan join` there"
        ));
    }
    Ok(())
}
