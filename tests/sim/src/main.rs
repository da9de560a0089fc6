//! Runs seeds: one to look into, or many to find one that fails.
use clap::Parser;
use sim::{Fault, Options, STEPS, Summary, run};
use std::{process::ExitCode, time::Instant};

/// Simulated clusters. The same seed makes the same run.
#[derive(Parser)]
struct Arguments {
    /// The one seed to run.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Many: from A to B, without B.
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with = "seed")]
    seeds: Option<(u64, u64)>,
    /// Events before the end.
    #[arg(long, default_value_t = STEPS)]
    steps: u64,
    /// Prints what happens.
    #[arg(long)]
    trace: bool,
    /// A mistake for the simulated driver to make.
    #[arg(long, default_value = "none", value_parser = fault)]
    fault: Fault,
    /// Goes on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (first, end) = text.split_once("..").ok_or("as in 0..100")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok((number(first)?, number(end)?))
}

fn fault(text: &str) -> Result<Fault, String> {
    if text == "none" { Ok(Fault::None) } else { text.parse() }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (first, end) = arguments.seeds.unwrap_or((arguments.seed, arguments.seed + 1));
    let began = Instant::now();
    let mut failed = 0;
    let mut total = Summary::default();
    for seed in first..end {
        let options = Options {
            seed,
            steps: arguments.steps,
            fault: arguments.fault,
            trace: arguments.trace,
        };
        match run(&options) {
            Ok(summary) => total = total.plus(&summary),
            Err(failure) => {
                failed += 1;
                println!("seed {seed}: {failure}");
                if !arguments.keep_going {
                    break;
                }
            }
        }
    }
    println!("{total:#?}");
    let seconds = began.elapsed().as_secs_f64();
    println!("{failed} failed; {:.1} seeds a second", (end - first) as f64 / seconds);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
