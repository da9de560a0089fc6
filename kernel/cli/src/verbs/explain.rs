//! `explain`: why a pod goes where it goes, or waits, as the scheduling policy sees it.
use crate::{
    print::{Format, Table, format::pretty},
    session::Session,
    targets,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::rpc::{ExplainSchedulingRequest, NodeVerdict, SchedulingExplanation};
use serde_json::{Value, json};

const EXAMPLES: &str = "Examples:
  sampan explain pod web-6d4c --scheduling
  sampan explain pod/web-6d4c --scheduling --nodes 3 -o yaml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The pod: `pod NAME` or `pod/NAME`
    #[arg(required = true, value_name = "POD")]
    which: Vec<String>,
    /// What the scheduling policy says of each node for it, now: rules against it, or scores
    #[arg(long, required = true)]
    scheduling: bool,
    /// Say it of so many nodes at the most
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    nodes: u32,
    /// How to print it: wide, json or yaml
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
    /// Leave the line of headers out
    #[arg(long)]
    no_headers: bool,
}

pub async fn run(args: ExplainArgs, session: &Session) -> Result<()> {
    let targets = targets::parse(&args.which)?;
    let [target] = targets.as_slice() else {
        bail!("one pod at a time: sampan explain pod NAME --scheduling");
    };
    let Some(name) = target.name.clone().filter(|_| target.kind.kind == "Pod") else {
        bail!("policies decide about pods: sampan explain pod NAME --scheduling");
    };
    let request = ExplainSchedulingRequest {
        namespace: session.namespace.clone(),
        name: name.clone(),
        most: args.nodes,
    };
    let explained = session
        .once(async { session.plugins().explain_scheduling(request.clone()).await })
        .await?;
    match args.output.unwrap_or_default() {
        Format::Json => println!("{}", pretty(&value(&explained))),
        Format::Yaml => print!("{}", crate::print::yaml::to_text(&value(&explained))?),
        format @ (Format::Table | Format::Wide) => {
            println!("{}", headline(&name, &explained));
            print!(
                "{}",
                table(&explained, format == Format::Wide).to_text(!args.no_headers)
            );
        }
        _ => bail!("it is printed as a table, wide, json or yaml"),
    }
    Ok(())
}

/// Where it is, and where it would go.
fn headline(name: &str, explained: &SchedulingExplanation) -> String {
    let policy = format!("(policy {})", explained.policy);
    match (explained.bound.as_str(), explained.node.as_str()) {
        ("", "") => format!("pod/{name} waits {policy}: {}", explained.message),
        ("", node) => format!("pod/{name} would go to {node} {policy}"),
        (bound, "") => format!(
            "pod/{name} is on {bound}; one like it would wait now {policy}: {}",
            explained.message
        ),
        (bound, node) => format!("pod/{name} is on {bound}; one like it would go to {node} now {policy}"),
    }
}

fn table(explained: &SchedulingExplanation, wide: bool) -> Table {
    let mut table = Table::new([
        "NODE",
        "TOTAL",
        if wide { "SCORES (NORMALIZED*WEIGHT)" } else { "SCORES" },
        "AGAINST",
    ]);
    for verdict in &explained.verdicts {
        let total = match verdict.against.is_empty() {
            true => verdict.total.to_string(),
            false => "<none>".to_owned(),
        };
        let against = match verdict.against.is_empty() {
            true => "<none>".to_owned(),
            false => verdict.against.join(", "),
        };
        table.row([verdict.node.clone(), total, scores(verdict, wide), against]);
    }
    table
}

fn scores(verdict: &NodeVerdict, wide: bool) -> String {
    let weighed = verdict
        .scores
        .iter()
        .filter(|score| wide || score.normalized * score.weight != 0);
    let said = weighed.map(|score| match wide {
        true => format!("{}={}*{}", score.scorer, score.normalized, score.weight),
        false => format!("{}={}", score.scorer, score.normalized * score.weight),
    });
    let said: Vec<String> = said.collect();
    match said.is_empty() {
        true => "<none>".to_owned(),
        false => said.join(" "),
    }
}

fn value(explained: &SchedulingExplanation) -> Value {
    let verdict = |verdict: &NodeVerdict| {
        let score = |score: &sampan_api::rpc::NodeScore| json!({"scorer": score.scorer, "raw": score.raw, "normalized": score.normalized, "weight": score.weight});
        json!({
            "node": verdict.node, "against": verdict.against, "total": verdict.total,
            "scores": verdict.scores.iter().map(score).collect::<Vec<_>>(),
        })
    };
    json!({
        "kind": "SchedulingExplanation", "policy": explained.policy, "digest": explained.digest,
        "bound": explained.bound, "node": explained.node, "message": explained.message, "nodes": explained.nodes,
        "verdicts": explained.verdicts.iter().map(verdict).collect::<Vec<_>>(),
    })
}
