//! `plugin record`: what a scheduler slot is told and answers, written to a file for `plugin replay`.
use crate::{
    new_file::NewFile,
    print::age,
    progress::{self, size},
    session::Session,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use sampan_api::{plugin::DEFAULT_SCHEDULER, rpc::RecordRequest};
use sampan_server::policies::replay::Writer;
use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};
use tokio::time::Instant;

/// How long it lasts where nothing else is said.
const USUAL: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "It begins with all that the policy knows, and then has each change it is told of, each question and each answer, up to
256 MiB. It names nodes, pods and labels; keep it as you keep the cluster's objects. Nothing waits for it.

Examples:
  sampan plugin record -f noon.rec
  sampan plugin record default-scheduler --for 5m -f noon.rec
  sampan plugin record --count 1000 -f noon.rec
  sampan plugin replay binpack --from noon.rec";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// The scheduler's name
    #[arg(default_value = DEFAULT_SCHEDULER)]
    slot: String,
    /// How long [default: 30s; without end where --count is given]
    #[arg(long = "for", value_name = "TIME", value_parser = age::parse_duration)]
    lasts: Option<Duration>,
    /// It ends after so many decisions
    #[arg(long, value_name = "DECISIONS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Where to
    #[arg(short = 'f', long, value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub async fn run(args: RecordArgs, session: &Session) -> Result<()> {
    let file = &args.file;
    let mut aside = NewFile::begin(file, ".recording-", args.force)?;
    let mut writer = Writer::new(io::BufWriter::new(aside.file()));
    let why = receive(&args, session, &mut writer).await?;
    let (decisions, bytes) = (writer.decisions, writer.bytes);
    let written = writer.finish(&why).and_then(|mut out| out.flush());
    written.with_context(|| aside.cannot())?;
    aside.keep()?;
    println!(
        "{}: {decisions} decisions of {}, {}",
        file.display(),
        args.slot,
        size(bytes)
    );
    if !why.is_empty() {
        crate::terminal::warn(&format!("it ended before its time: {why}"));
    }
    Ok(())
}

/// Writes what comes until it is enough. Why it ended before its time; empty if it did not.
async fn receive<W: Write>(args: &RecordArgs, session: &Session, writer: &mut Writer<W>) -> Result<String> {
    let request = RecordRequest {
        slot: args.slot.clone(),
        decisions: args.count.unwrap_or_default(),
    };
    let mut stream = session.once(async { session.plugins().record(request).await }).await?;
    tracing::info!(slot = args.slot, "the recording begins");
    let lasts = args.lasts.or_else(|| args.count.is_none().then_some(USUAL));
    let end = lasts.map(|lasts| Instant::now() + lasts);
    let bar = progress::spinner(&format!("recording {}", args.slot));
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let why = loop {
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let piece = tokio::select! {
            biased;
            () = over => break String::new(),
            _ = &mut interrupt => break "it was interrupted".to_owned(),
            piece = stream.message() => piece,
        };
        // What came is kept, whatever happens then.
        let piece = match piece {
            Ok(piece) => piece,
            Err(status) => break format!("{:#}", session.error(status)),
        };
        match piece {
            Some(piece) if !piece.why.is_empty() => break piece.why,
            Some(piece) => writer.push(&piece.data).context("the recording cannot be written")?,
            None if args.count.is_some_and(|count| writer.decisions >= count) => break String::new(),
            None => break "the server ended it".to_owned(),
        }
    };
    bar.finish_and_clear();
    if writer.lines == 0 {
        let why = if why.is_empty() { "nothing came" } else { &why };
        bail!("nothing was recorded: {why}");
    }
    Ok(why)
}
