//! `logs`: what containers say, of one pod or of many.
use crate::{
    doc::{Doc, at, list, plain, text},
    failure::Tally,
    owned,
    print::age,
    session::Session,
    targets::{self, Scope},
    terminal,
};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use futures::future::join_all;
use sampan_api::rpc;
use std::{io::Write, time::Duration};

const EXAMPLES: &str = "Examples:
  sampan logs web-6d4cf56db6-abcde
  sampan logs -f deploy/web
  sampan logs -l app=web --prefix --tail=20
  sampan logs job/primes
  sampan logs web-0 -c sidecar --previous --timestamps --since=5m";

/// What names the container whose log is meant where nobody says.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// A pod, or TYPE/NAME of what made it; the container may follow
    #[arg(value_name = "POD | TYPE/NAME")]
    args: Vec<String>,
    /// The container
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// All containers of the pod
    #[arg(long, conflicts_with = "container")]
    all_containers: bool,
    /// All pods of what is named, instead of one
    #[arg(long)]
    all_pods: bool,
    /// Go on with what they say
    #[arg(short = 'f', long)]
    follow: bool,
    /// So many lines from the end; -1 is all
    #[arg(long, allow_negative_numbers = true, value_name = "LINES")]
    tail: Option<i64>,
    /// Of the instance before this one
    #[arg(short = 'p', long)]
    previous: bool,
    /// Put the time before each line
    #[arg(long)]
    timestamps: bool,
    /// Only the last of them, as in 5m
    #[arg(long, value_parser = age::parse_duration)]
    since: Option<Duration>,
    /// Put pod and container before each line
    #[arg(long)]
    prefix: bool,
    /// Pods with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// How many logs may be followed at once
    #[arg(long, default_value_t = 5)]
    max_log_requests: usize,
    /// Go on where one of several logs cannot be read
    #[arg(long)]
    ignore_errors: bool,
}

/// One log to read.
struct Source {
    pod: String,
    namespace: String,
    container: String,
}

pub async fn run(args: LogsArgs, session: &Session) -> Result<()> {
    let pods = pods(&args, session).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(containers(&args, pod)?.into_iter().map(|container| Source {
            pod: pod.name().to_owned(),
            namespace: pod.namespace().to_owned(),
            container,
        }));
    }
    if args.follow && sources.len() > args.max_log_requests {
        let limit = args.max_log_requests;
        bail!(
            "{} logs would be followed, and {limit} may be: raise it with --max-log-requests",
            sources.len()
        );
    }
    let prefix = args.prefix || (args.all_pods && sources.len() > 1);
    if args.follow && sources.len() > 1 {
        let mut tally = Tally::default();
        for result in join_all(sources.iter().map(|source| read(&args, source, prefix, session))).await {
            tally.note(result);
        }
        return if args.ignore_errors { Ok(()) } else { tally.finish() };
    }
    let mut tally = Tally::default();
    for source in &sources {
        match read(&args, source, prefix, session).await {
            Err(error) if sources.len() > 1 && args.ignore_errors => tally.fail(&error),
            result => result?,
        }
    }
    Ok(())
}

/// The pods that are meant.
async fn pods(args: &LogsArgs, session: &Session) -> Result<Vec<Doc>> {
    let kind = targets::kind("pods")?;
    if let Some(labels) = &args.selector {
        if !args.args.is_empty() {
            bail!("name a pod or give a selector, not both");
        }
        let scope = Scope {
            labels: labels.clone(),
            ..Scope::default()
        };
        scope.check()?;
        let found = session.list(&scope.selection(kind, session)).await?.objects;
        if found.is_empty() {
            eprintln!("No resources found in {} namespace.", session.namespace);
        }
        return Ok(found);
    }
    let (kind, name) = match args.args.as_slice() {
        [] => bail!("say whose: a pod, TYPE/NAME or a selector (-l)"),
        [first, rest @ ..] if first.contains('/') => {
            if rest.len() > 1 {
                bail!("one pod at a time: several by a selector (-l)");
            }
            match targets::parse(std::slice::from_ref(first))?.pop() {
                Some(targets::Target { kind, name: Some(name) }) => (kind, name),
                _ => bail!("cannot read \"{first}\": expected TYPE/NAME"),
            }
        }
        [pod] | [pod, _] => (kind, pod.clone()),
        _ => bail!("one pod at a time: several by a selector (-l)"),
    };
    let named = session.get(&targets::key(kind, &session.namespace, &name)).await?;
    if kind.kind == "Pod" {
        return Ok(vec![named]);
    }
    let mut found = owned::pods_of(&named, session).await?;
    if !args.all_pods {
        if found.len() > 1 {
            eprintln!("Found {} pods, using pod/{}", found.len(), found[0].name());
        }
        found.truncate(1);
    }
    Ok(found)
}

/// The containers of a pod that are meant.
fn containers(args: &LogsArgs, pod: &Doc) -> Result<Vec<String>> {
    let names = |field: &str| {
        list(&pod.value, field)
            .iter()
            .map(|c| text(c, "/name").to_owned())
            .collect::<Vec<_>>()
    };
    let (init, main) = (names("/spec/initContainers"), names("/spec/containers"));
    let all: Vec<String> = init.iter().chain(&main).cloned().collect();
    if args.all_containers {
        return Ok(all);
    }
    let wanted = args.container.clone().or_else(|| args.args.get(1).cloned());
    if let Some(wanted) = wanted {
        if !all.contains(&wanted) {
            bail!(
                "container {wanted} is not in pod {}: it has {}",
                pod.name(),
                all.join(", ")
            );
        }
        return Ok(vec![wanted]);
    }
    let said = plain(&at(&pod.value, "/metadata/annotations")[DEFAULT_CONTAINER]);
    if all.contains(&said) {
        return Ok(vec![said]);
    }
    let first = main
        .first()
        .cloned()
        .ok_or_else(|| anyhow!("pod {} has no containers", pod.name()))?;
    if all.len() > 1 {
        let listed = main
            .iter()
            .cloned()
            .chain(init.iter().map(|name| format!("{name} (init)")));
        eprintln!(
            "Defaulted container \"{first}\" out of: {}",
            listed.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(vec![first])
}

async fn read(args: &LogsArgs, source: &Source, prefix: bool, session: &Session) -> Result<()> {
    // As kubectl: a few lines of each where a selector may mean many.
    let tail = args.tail.or(args.selector.is_some().then_some(10));
    let request = rpc::LogsRequest {
        namespace: source.namespace.clone(),
        pod: source.pod.clone(),
        container: source.container.clone(),
        follow: args.follow,
        tail: tail.and_then(|lines| u32::try_from(lines).ok()),
        previous: args.previous,
        timestamps: args.timestamps,
        since_seconds: args
            .since
            .map_or(0, |since| u32::try_from(since.as_secs().max(1)).unwrap_or(u32::MAX)),
    };
    let mut stream = session.once(async { session.runtime().logs(request).await }).await?;
    let mut lines = Lines {
        prefix: prefix.then(|| format!("[pod/{}/{}] ", source.pod, source.container)),
        part: Vec::new(),
    };
    while let Some(chunk) = stream.message().await.map_err(|status| session.error(status))? {
        lines.write(&chunk.data)?;
    }
    lines.end()
}

/// Writes what comes as it is, or line by line with a prefix.
struct Lines {
    prefix: Option<String>,
    part: Vec<u8>,
}

/// A line without end is written in pieces of this size. Bytes.
const LONGEST_LINE: usize = 1 << 20;

impl Lines {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let Some(prefix) = &self.prefix else {
            out.write_all(data)?;
            drop(out);
            terminal::flush();
            return Ok(());
        };
        self.part.extend_from_slice(data);
        while let Some(end) = self
            .part
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|end| end + 1)
            .or_else(|| (self.part.len() > LONGEST_LINE).then_some(LONGEST_LINE))
        {
            out.write_all(prefix.as_bytes())?;
            out.write_all(&self.part[..end])?;
            self.part.drain(..end);
        }
        drop(out);
        terminal::flush();
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        if !self.part.is_empty() {
            self.part.push(b'\n');
            let rest = std::mem::take(&mut self.part);
            self.write(&rest)?;
        }
        Ok(())
    }
}
