//! `plugin diff`: a shadow held against who decides, on live traffic, and with all pods placed anew by each of both; of plugins
//! that run on nodes, what each node would do otherwise.
mod nodes;

use super::figures::{self, micros};
use crate::{
    print::{Format, Table, columns::short_digest, format::pretty, tabs},
    session::Session,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::{
    rpc::{PluginDiff, PluginDiffRequest, PluginDiffSide, PluginDifference},
    time::Timestamp,
};
use serde_json::{Value, json};

/// Decisions of the table that is not wide.
const FEW: usize = 10;

const HELP: &str = "The leader asks the shadow what it asks the active plugin, carries out what that says, and counts how they compare since
the shadow began. A shadow sees the cluster as the active plugin makes it, so its decisions do not add up: what would
become of the cluster is told by placing all pods anew (a scheduler's; --live leaves it out).

A network or an ingress plugin runs on nodes. Each node that is ready asks a fresh instance of the candidate for all that it
wants there, checks it as if the candidate were active, and holds it against what stands: entries of its tables that would be
new (+), gone (-) or other (~). Nothing is changed, and the candidate need not be a shadow.";

const EXAMPLES: &str = "Examples:
  sampan plugin shadow binpack && sampan plugin diff binpack
  sampan plugin diff binpack -o wide              # all that differed, and why a pod had no place
  sampan plugin diff binpack --live -o json
  sampan plugin diff hub-and-spoke                # which routes, frontends, rules and peers each node would have
  sampan plugin diff hub-and-spoke --node n2 -o wide
  sampan plugin activate binpack";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{HELP}\n\n{}\n\n{EXAMPLES}", figures::MEANING))]
pub struct DiffArgs {
    /// A shadow; who decides in its slot is the other side. Of plugins that run on nodes, any but the active one
    name: String,
    /// Of a plugin that runs on nodes: what it would change on this one
    #[arg(long, value_name = "NAME", conflicts_with = "live")]
    node: Option<String>,
    /// Only what was decided on live traffic
    #[arg(long)]
    live: bool,
    /// wide, yaml, json
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

pub async fn run(args: DiffArgs, session: &Session) -> Result<()> {
    let request = PluginDiffRequest {
        name: args.name.clone(),
        what_if: !args.live,
        most: 0,
        node: args.node.clone().unwrap_or_default(),
    };
    let diff = session.once(async { session.plugins().diff(request).await }).await?;
    match args.output.unwrap_or_default() {
        Format::Json => println!("{}", pretty(&value(&diff))),
        Format::Yaml => print!("{}", crate::print::yaml::to_text(&value(&diff))?),
        format @ (Format::Table | Format::Wide) => print!("{}", text(&diff, format == Format::Wide)),
        _ => bail!("it is printed as text, wide, json or yaml"),
    }
    Ok(())
}

fn text(diff: &PluginDiff, wide: bool) -> String {
    let mut text = tabs::align(&head(diff), 2);
    if !diff.nodes.is_empty() {
        text.push_str(&nodes::text(diff, wide));
        return text;
    }
    let differed = diff.otherwise + diff.only_candidate + diff.only_active;
    let shown = if wide {
        diff.differences.len()
    } else {
        diff.differences.len().min(FEW)
    };
    if shown > 0 {
        text.push('\n');
        text.push_str(&table(diff, shown, wide).to_text(true));
        if differed > shown as u64 {
            let more = if wide {
                "only the last are remembered"
            } else {
                "-o wide shows more"
            };
            text.push_str(&format!("the last {shown} of {differed} that differed; {more}\n"));
        }
    }
    if let Some(anew) = diff.placed_anew.as_ref().filter(|anew| anew.pods > 0) {
        text.push_str(&format!("\n{}\n{}", figures::heading(anew), figures::table(anew)));
        if anew.figures.len() == 3 && anew.figures.iter().all(|one| one.problem.is_empty()) {
            text.push_str(&format!("{} of them on another node\n", anew.elsewhere));
        }
    }
    text
}

fn head(diff: &PluginDiff) -> String {
    let digest = |digest: &str| match digest {
        "" => String::new(),
        digest => format!(" ({})", short_digest(digest)),
    };
    let mut text = format!(
        "Slot:\t{} ({})\nCandidate:\t{}{}\nActive:\t{}{}\n",
        diff.slot,
        diff.world,
        diff.candidate,
        digest(&diff.candidate_digest),
        or_none(&diff.active),
        digest(&diff.active_digest)
    );
    if !diff.nodes.is_empty() {
        text.push_str(&nodes::head(diff));
        return text;
    }
    let all = all(diff);
    if all == 0 {
        text.push_str("Decisions:\tnone was compared yet: nothing was to be decided since it is a shadow\n");
        return text;
    }
    text.push_str(&format!("Since:\t{}\n", Timestamp::from_millis(diff.since_ms)));
    if diff.world != "scheduler" {
        text.push_str(&format!(
            "Decisions:\t{all} compared: {} the same plan, {} another\n",
            diff.same, diff.otherwise
        ));
        text.push_str(&format!("Time each:\t{}\n", times(diff)));
        return text;
    }
    text.push_str(&format!(
        "Decisions:\t{all} compared: {} the same, {} elsewhere, {} placed by {} alone, {} by {} alone, {} by neither\n",
        diff.same, diff.otherwise, diff.only_candidate, diff.candidate, diff.only_active, diff.active, diff.neither
    ));
    text.push_str(&format!("Time each:\t{}\n", times(diff)));
    let side = |side: &Option<PluginDiffSide>| side.map(|side| side.preemptions).unwrap_or_default();
    text.push_str(&format!(
        "Preemptions:\t{} by {}, {} by {}\n",
        side(&diff.active_side),
        diff.active,
        side(&diff.candidate_side),
        diff.candidate
    ));
    text
}

fn times(diff: &PluginDiff) -> String {
    let of = |side: &Option<PluginDiffSide>| micros(side.map(|side| side.micros_each).unwrap_or_default());
    format!(
        "{} {}, {} {}",
        of(&diff.active_side),
        diff.active,
        of(&diff.candidate_side),
        diff.candidate
    )
}

fn all(diff: &PluginDiff) -> u64 {
    diff.same + diff.otherwise + diff.only_candidate + diff.only_active + diff.neither
}

fn table(diff: &PluginDiff, shown: usize, wide: bool) -> Table {
    let who = if diff.world == "scheduler" { "POD" } else { "OBJECT" };
    let mut headers = vec![who.to_owned(), diff.active.clone(), diff.candidate.clone()];
    if wide {
        headers.extend(["AT".to_owned(), "WHY".to_owned()]);
    }
    let mut table = Table::new(headers);
    for one in diff.differences.iter().take(shown) {
        let mut row = vec![object(one), or_none(&one.active), or_none(&one.candidate)];
        if wide {
            row.extend([Timestamp::from_millis(one.at_ms).to_string(), or_none(&one.why)]);
        }
        table.row(row);
    }
    table
}

fn or_none(text: &str) -> String {
    match text {
        "" => "<none>".to_owned(),
        text => text.to_owned(),
    }
}

fn object(one: &PluginDifference) -> String {
    let path = match one.namespace.as_str() {
        "" => one.name.clone(),
        namespace => format!("{namespace}/{}", one.name),
    };
    match one.resource.as_str() {
        "pods" => path,
        resource => format!("{resource} {path}"),
    }
}

fn value(diff: &PluginDiff) -> Value {
    if !diff.nodes.is_empty() {
        return nodes::value(diff);
    }
    let side = |name: &str, digest: &str, side: &Option<PluginDiffSide>| {
        let side = side.unwrap_or_default();
        json!({
            "name": name, "digest": digest, "decisions": side.decisions, "preemptions": side.preemptions,
            "microsEach": side.micros_each,
        })
    };
    let difference = |one: &PluginDifference| {
        json!({
            "resource": one.resource, "namespace": one.namespace, "name": one.name, "active": one.active,
            "candidate": one.candidate, "why": one.why, "at": Timestamp::from_millis(one.at_ms).to_string(),
        })
    };
    let since = (diff.since_ms > 0).then(|| Timestamp::from_millis(diff.since_ms).to_string());
    json!({
        "kind": "PluginDiff", "world": diff.world, "slot": diff.slot, "since": since,
        "candidate": side(&diff.candidate, &diff.candidate_digest, &diff.candidate_side),
        "active": side(&diff.active, &diff.active_digest, &diff.active_side),
        "decisions": {
            "compared": all(diff), "same": diff.same, "otherwise": diff.otherwise, "onlyCandidate": diff.only_candidate,
            "onlyActive": diff.only_active, "neither": diff.neither,
        },
        "differences": diff.differences.iter().map(difference).collect::<Vec<_>>(),
        "placedAnew": diff.placed_anew.as_ref().map(figures::value),
    })
}
