//! Sends an archive to the nodes, in pieces.
use crate::{progress, session::Session};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{Stream, stream};
use indicatif::ProgressBar;
use sampan_api::rpc::LoadImageRequest;
use std::{
    io::IsTerminal,
    os::fd::AsFd,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Pieces in which an archive is sent. Bytes.
const CHUNK: usize = 512 << 10;

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The archive; - or nothing is stdin
    #[arg(value_name = "FILE", conflicts_with = "input")]
    file: Option<PathBuf>,
    /// The same, as Docker has it
    #[arg(short = 'i', long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only this node [default: all]
    #[arg(long, default_value = "")]
    node: String,
}

pub async fn run(args: LoadArgs, session: &Session) -> Result<()> {
    let file = args.input.or(args.file).filter(|file| file.as_os_str() != "-");
    if file.is_none() && std::io::stdin().is_terminal() {
        bail!("say which archive: a file, or `… | sampan image load`");
    }
    send(file.as_deref(), &args.node, session).await
}

/// Sends an archive, or stdin, and prints what was in it.
pub async fn send(file: Option<&Path>, node: &str, session: &Session) -> Result<()> {
    let (reader, total): (Pin<Box<dyn AsyncRead + Send>>, u64) = match file {
        None => {
            let stdin = std::io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .context("cannot read stdin")?;
            (Box::pin(tokio::fs::File::from_std(stdin.into())), 0)
        }
        Some(path) => {
            let file = tokio::fs::File::open(path)
                .await
                .with_context(|| format!("cannot read {}", path.display()))?;
            let metadata = file
                .metadata()
                .await
                .with_context(|| format!("cannot read {}", path.display()))?;
            if metadata.is_dir() {
                bail!(
                    "{} is a directory: `sampan image build` packs it into an image",
                    path.display()
                );
            }
            (Box::pin(file), metadata.len())
        }
    };
    let bar = progress::bytes("loading", total);
    let failure = Arc::new(Mutex::new(None));
    let chunks = pieces(reader, node.to_owned(), bar.clone(), failure.clone());
    // As long as it takes: an archive may be large, and a disk slow.
    let answer = session.runtime().load_image(chunks).await;
    bar.finish_and_clear();
    if let Some(error) = failure.lock().ok().and_then(|mut failure| failure.take()) {
        return Err(error).context("the archive cannot be read to its end");
    }
    let loaded = answer.map_err(|status| session.error(status))?.into_inner();
    for image in loaded.images {
        println!("Loaded image: {image}");
    }
    Ok(())
}

type Failure = Arc<Mutex<Option<std::io::Error>>>;

/// The pieces of an archive. A stream of messages has no place for an error of this side: it ends, and leaves it aside.
fn pieces(
    reader: Pin<Box<dyn AsyncRead + Send>>,
    node: String,
    bar: ProgressBar,
    failure: Failure,
) -> impl Stream<Item = LoadImageRequest> + Send + 'static {
    stream::unfold(reader, move |mut reader| {
        let (node, bar, failure) = (node.clone(), bar.clone(), failure.clone());
        async move {
            let mut data = vec![0; CHUNK];
            let mut filled = 0;
            while filled < CHUNK {
                match reader.read(&mut data[filled..]).await {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) => {
                        if let Ok(mut failure) = failure.lock() {
                            *failure = Some(error);
                        }
                        return None;
                    }
                }
            }
            if filled == 0 {
                return None;
            }
            data.truncate(filled);
            bar.inc(filled as u64);
            Some((
                LoadImageRequest {
                    data: data.into(),
                    node,
                },
                reader,
            ))
        }
    })
}
