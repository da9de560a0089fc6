//! `plugin test`: a scheduler on a made-up cluster, on this machine and without a server.
use super::component;
use crate::{harness::Component, progress::size};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use sampan_sdk::testing::placing::{Report, Trace, fuzz, run as put_through};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// What the kernel gives a policy for a call.
const DEADLINE: Duration = Duration::from_millis(200);

/// The longest trace that is read. Bytes.
const MAX_TRACE: u64 = 1 << 30;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sampan plugin test my-policy.wasm
  sampan plugin test my-policy.wasm --nodes 5000 --pods 20000 --seed 7
  sampan plugin test my-policy.wasm --write-trace day.jsonl
  sampan plugin test my-policy.wasm --trace day.jsonl --expect answers.txt")]
pub struct TestArgs {
    /// A component, or a core module that says its world
    file: PathBuf,
    /// JSON for it, or @FILE
    #[arg(long, value_name = "JSON")]
    plugin_config: Option<String>,
    /// What the made-up cluster is drawn from
    #[arg(long, default_value_t = 1, conflicts_with = "trace")]
    seed: u64,
    /// Nodes of the made-up cluster
    #[arg(long, default_value_t = 100, conflicts_with = "trace", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// Pods that come to it, one after the other
    #[arg(long, default_value_t = 2000, conflicts_with = "trace", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pods: u32,
    /// Nodes and pods that come and go, from a file of JSON lines
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write down what came and went, to be edited and tried again
    #[arg(long, value_name = "FILE")]
    write_trace: Option<PathBuf>,
    /// Write what was said of each pod
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// What must have been said of each pod, byte for byte: by the same policy natively, or by another one
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// How many clusters of random changes are looked through for answers that depend on how the policy came to know
    #[arg(long, default_value_t = 10, value_name = "SEEDS")]
    fuzz: u64,
}

/// # Errors
/// If the policy cannot be loaded, fails, or answers what it should not.
pub fn run(args: &TestArgs) -> Result<()> {
    let bytes = component::read(&args.file)?;
    let config = args.plugin_config.as_deref().map(super::config).transpose()?;
    let component = Component::load(&bytes, config.as_deref().unwrap_or("{}"))?;
    println!("{} ({})", component.describe(), size(bytes.len() as u64));

    let trace = match &args.trace {
        None => Trace::generate(args.seed, args.nodes, args.pods),
        Some(path) => Trace::read(&text(path)?).map_err(|error| anyhow!("{}: {error}", path.display()))?,
    };
    if let Some(path) = &args.write_trace {
        write(path, &trace.write())?;
    }
    let once = || -> Result<Report> { put_through(&trace, &mut component.instance()?).map_err(|error| anyhow!(error)) };
    let report = once()?;
    print!("{}", words(&report));
    for problem in &report.problems {
        println!("  {problem}");
    }
    if let Some(path) = &args.answers {
        write(path, &report.answers)?;
    }
    let again = once()?;
    if let Some(path) = &args.expect {
        compare(&text(path)?, &report.answers).with_context(|| format!("{} says otherwise", path.display()))?;
        println!("expected     the same answers as in {}, byte for byte", path.display());
    }
    compare(&report.answers, &again.answers).context("asked again, it answers otherwise")?;
    println!("again        the same answers, byte for byte");
    random_changes(&component, args.fuzz)?;
    ensure!(
        report.problems.is_empty(),
        "what it answered cannot be carried out: see above"
    );
    Ok(())
}

/// Looks for answers that depend on how the policy came to know.
fn random_changes(component: &Component, seeds: u64) -> Result<()> {
    if !component.instance()?.explains() {
        println!("fuzz         left out: a policy of the contract 0.1 does not explain what it decides");
        return Ok(());
    }
    for seed in 0..seeds {
        let make = || component.instance().map_err(|error| format!("{error:#}"));
        if let Err(found) = fuzz(seed, make) {
            bail!(
                "random changes, seed {}, round {}: {}",
                found.seed,
                found.round,
                found.what
            );
        }
    }
    println!("fuzz         {seeds} seeds: what it says does not depend on how it came to know");
    Ok(())
}

fn words(report: &Report) -> String {
    let ms = |per_mille: usize| report.latency(per_mille).as_secs_f64() * 1e3;
    let late = report.calls.iter().filter(|(took, _)| *took > DEADLINE).count();
    let late = match late {
        0 => String::new(),
        late => format!(
            "; {late} took longer than the {} ms that the kernel gives",
            DEADLINE.as_millis()
        ),
    };
    format!(
        "placed       {} pods, {} asks were refused\n\
         nodes        {} of {} in use, cpu {} %, memory {} %\n\
         calls        {} of place: p50 {:.2} ms, p99 {:.2} ms, {:.1} µs a pod{late}\n",
        report.placed,
        report.refused,
        report.used_nodes,
        report.nodes,
        report.cpu,
        report.memory,
        report.calls.len(),
        ms(500),
        ms(990),
        report.micros_each(),
    )
}

/// The first line in which two sets of answers differ.
fn compare(expected: &str, found: &str) -> Result<()> {
    let (mut expected, mut found) = (expected.lines(), found.lines());
    for number in 1.. {
        match (expected.next(), found.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                let or_end = |line: Option<&str>| line.unwrap_or("<the end>").to_owned();
                bail!("line {number}: \"{}\" against \"{}\"", or_end(one), or_end(other));
            }
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    let what = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).with_context(what)?;
    file.take(MAX_TRACE + 1).read_to_string(&mut text).with_context(what)?;
    ensure!(
        text.len() as u64 <= MAX_TRACE,
        "{} is larger than {}",
        path.display(),
        size(MAX_TRACE)
    );
    Ok(text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn the_first_difference_is_named() {
        assert!(compare("a\nb\n", "a\nb\n").is_ok());
        let error = compare("a\nb\n", "a\nc\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: \"b\" against \"c\"");
        let error = compare("a\n", "a\nc\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: \"<the end>\" against \"c\"");
    }
}
