//! `plugin replay`: history put through policies on this machine: a recording step by step, or a snapshot's pods placed anew.
use super::{
    component,
    figures::{self, micros},
};
use crate::{
    harness::Component,
    print::{Format, Table, columns::short_digest, format::pretty},
};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use sampan_api::{plugin::DEFAULT_SCHEDULER, rpc::PlacedAnew};
use sampan_server::policies::replay::{self, Compared, Difference, Outcome, Recording, Scene, Source};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Decisions of the table that is not wide.
const FEW: usize = 20;

/// Built-in policies that place pods.
const BUILT_IN: [&str; 3] = ["scheduler", "spread", "binpack"];

const HELP: &str = "From a recording, the policy is told what the recorded one was told, and asked what that was asked; its answers are held
against those that were given. The same policy gives the same answers, byte for byte. Then the pods that were asked about
and are there at the end are placed anew, in the order in which they were asked about. From a snapshot, all pods of the slot
are placed anew, in the order in which they were made, on nodes without them. It needs no cluster.";

const EXAMPLES: &str = "Examples:
  sampan plugin record --for 5m -f noon.rec && sampan plugin replay scheduler --from noon.rec --check
  sampan plugin replay my-policy.wasm --from noon.rec -o wide
  sampan snapshot save monday.snap && sampan plugin replay spread --from monday.snap --against binpack";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{HELP}\n\n{}\n\n{EXAMPLES}", figures::MEANING))]
pub struct ReplayArgs {
    /// A policy's file, or a built-in one: scheduler, spread, binpack
    policy: String,
    /// What `sampan plugin record` or `sampan snapshot save` wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Another policy, to be held against the first
    #[arg(long, value_name = "POLICY")]
    against: Option<String>,
    /// JSON for the policy, or @FILE [default: what the recorded one had, if it is the same]
    #[arg(long, value_name = "JSON")]
    plugin_config: Option<String>,
    /// JSON for the other one, or @FILE
    #[arg(long, value_name = "JSON", requires = "against")]
    against_config: Option<String>,
    /// Whose pods of a snapshot are placed
    #[arg(long, value_name = "SCHEDULER", default_value = DEFAULT_SCHEDULER)]
    slot: String,
    /// Fail if an answer is not as it was recorded
    #[arg(long)]
    check: bool,
    /// wide, yaml, json
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

/// A policy that history is put through.
struct Policy {
    name: String,
    digest: String,
    component: Component,
}

/// A recording held against a policy.
struct Replayed<'a> {
    policy: &'a Policy,
    compared: Compared,
}

/// # Errors
/// If a file cannot be used, or a policy fails.
pub fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let source = replay::read(&args.from, &args.slot)?;
    let recording = match &source {
        Source::Recording(recording) => Some(&**recording),
        Source::Snapshot(_) if args.check => {
            bail!("a snapshot has no answers to --check: a recording has (sampan plugin record)")
        }
        Source::Snapshot(_) => None,
    };
    let mut policies = vec![policy(&args.policy, args.plugin_config.as_deref(), recording)?];
    if let Some(other) = &args.against {
        policies.push(policy(other, args.against_config.as_deref(), recording)?);
    }
    let [first, rest @ ..] = policies.as_mut_slice() else {
        return Ok(ExitCode::FAILURE);
    };
    for (number, other) in rest
        .iter_mut()
        .enumerate()
        .filter(|(_, other)| other.name == first.name)
    {
        // The same under two configs.
        other.name = format!("{}-{}", other.name, number + 2);
    }
    let mut replayed = Vec::new();
    for policy in recording.map_or(&[][..], |_| &policies) {
        let put =
            |recording: &Recording| replay::compare(recording, policy.component.plugin()?).context(policy.name.clone());
        if let Some(compared) = recording.map(put).transpose()? {
            replayed.push(Replayed { policy, compared });
        }
    }
    let scene = match (&source, replayed.first()) {
        (Source::Snapshot(scene), _) => &**scene,
        (Source::Recording(_), Some(replayed)) => &replayed.compared.scene,
        (Source::Recording(_), None) => return Ok(ExitCode::FAILURE),
    };
    let told = Told::new(scene, &policies, recording)?;
    match args.output.clone().unwrap_or_default() {
        Format::Json => println!("{}", pretty(&told.value(args, recording, &replayed))),
        Format::Yaml => print!(
            "{}",
            crate::print::yaml::to_text(&told.value(args, recording, &replayed))?
        ),
        format @ (Format::Table | Format::Wide) => {
            print!("{}", told.text(args, recording, &replayed, format == Format::Wide));
        }
        _ => bail!("it is printed as text, wide, json or yaml"),
    }
    let differs = replayed.iter().any(|one| !one.compared.all_the_same());
    Ok(match args.check && differs {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// A policy by its file or its name.
fn policy(named: &str, config: Option<&str>, recording: Option<&Recording>) -> Result<Policy> {
    let path = Path::new(named);
    let bytes = match BUILT_IN.contains(&named) && !path.exists() {
        true => sampan_builtin::component(sampan_builtin::PLUGINS, named)
            .unwrap_or_default()
            .to_vec(),
        false => component::read(path).with_context(|| {
            format!(
                "\"{named}\" is neither a policy's file nor one of {}",
                BUILT_IN.join(", ")
            )
        })?,
    };
    let digest = sampan_sandbox::digest_of(&bytes);
    let recorded = recording.filter(|recording| recording.header.digest == digest);
    let config = match (config, recorded) {
        (Some(config), _) => super::config(config)?,
        (None, Some(recording)) if !recording.header.config.is_null() => recording.header.config.to_string(),
        (None, _) => "{}".to_owned(),
    };
    let component = Component::load(&bytes, &config).with_context(|| named.to_owned())?;
    Ok(Policy {
        name: component.name().to_owned(),
        digest,
        component,
    })
}

/// Pods placed anew, and what is told of it.
struct Told<'a> {
    scene: &'a Scene,
    names: Vec<&'a str>,
    digests: Vec<&'a str>,
    outcomes: Vec<Outcome>,
    anew: PlacedAnew,
}

impl<'a> Told<'a> {
    fn new(scene: &'a Scene, policies: &'a [Policy], recording: Option<&Recording>) -> Result<Self> {
        let mut placed = Vec::new();
        for policy in policies {
            let outcome = replay::place_anew(scene, policy.component.plugin()?);
            let outcome = outcome.map_err(|error| anyhow!("{}: {error}", policy.name))?;
            placed.push((policy.name.as_str(), Ok(outcome)));
        }
        let mut anew = replay::told(scene, &placed);
        if recording.is_some() {
            // Its end is what is meant: the cluster is no longer at the revision that it began with.
            anew.revision = 0;
        }
        Ok(Told {
            scene,
            names: placed.iter().map(|(name, _)| *name).collect(),
            digests: policies.iter().map(|policy| policy.digest.as_str()).collect(),
            outcomes: placed.into_iter().filter_map(|(_, outcome)| outcome.ok()).collect(),
            anew,
        })
    }

    fn text(&self, args: &ReplayArgs, recording: Option<&Recording>, replayed: &[Replayed<'_>], wide: bool) -> String {
        let mut text = String::new();
        if let Some(recording) = recording {
            text.push_str(&headline(&args.from, recording));
        }
        for one in replayed {
            text.push_str(&decisions(one));
            text.push_str(&differences(&one.compared.differences, &one.policy.name, wide));
        }
        if self.scene.pods.is_empty() {
            text.push_str("No pod that was asked about is there at its end: there are no figures.\n");
            return text;
        }
        text.push_str(&format!(
            "{}\n{}",
            figures::heading(&self.anew),
            figures::table(&self.anew)
        ));
        text.push_str(&self.elsewhere(wide));
        text
    }

    /// The pods that have not the same place with both.
    fn elsewhere(&self, wide: bool) -> String {
        let (Some(one), Some(other)) = (self.outcomes.first(), self.outcomes.get(1)) else {
            return String::new();
        };
        let pairs = self.scene.pods.iter().zip(one.answers.iter().zip(&other.answers));
        let moved: Vec<_> = pairs.filter(|(_, (one, other))| one.node != other.node).collect();
        let shown = if wide { moved.len() } else { moved.len().min(FEW) };
        let mut table = Table::new(headers(["POD", "NOW"], &self.names, wide));
        for (pod, (one, other)) in moved.iter().take(shown) {
            let why = if other.node.is_empty() { &other.why } else { &one.why };
            let mut row = vec![
                pod.name.clone(),
                or_none(&pod.on),
                or_none(&one.node),
                or_none(&other.node),
            ];
            row.extend(wide.then(|| or_none(why)));
            table.row(row);
        }
        format!(
            "{} of {} pods have another place{}\n{}",
            moved.len(),
            self.scene.pods.len(),
            more(shown, moved.len()),
            if shown > 0 { table.to_text(true) } else { String::new() }
        )
    }

    fn value(&self, args: &ReplayArgs, recording: Option<&Recording>, replayed: &[Replayed<'_>]) -> Value {
        let pods = self.scene.pods.iter().enumerate().map(|(at, pod)| {
            let answers = self.outcomes.iter().filter_map(|outcome| outcome.answers.get(at));
            let places = answers.map(|answer| json!({"node": answer.node, "why": answer.why}));
            json!({"name": pod.name, "now": pod.on, "places": places.collect::<Vec<_>>()})
        });
        let policies = self.names.iter().zip(&self.digests);
        json!({
            "kind": "Replay", "from": args.from.display().to_string(),
            "recording": recording.map(|recording| json!({
                "header": recording.header, "decisions": recording.decisions(), "ended": recording.end.why,
            })),
            "policies": policies.map(|(name, digest)| json!({"name": name, "digest": digest})).collect::<Vec<_>>(),
            "replayed": replayed.iter().map(compared).collect::<Vec<_>>(),
            "placedAnew": figures::value(&self.anew),
            "pods": pods.collect::<Vec<_>>(),
        })
    }
}

fn compared(one: &Replayed<'_>) -> Value {
    let difference = |one: &Difference| json!({"line": one.line, "pod": one.pod, "recorded": one.recorded, "said": one.said, "why": one.why});
    let all = &one.compared;
    json!({
        "policy": one.policy.name, "decisions": all.decisions, "allTheSame": all.all_the_same(),
        "preemptions": all.preemptions, "recordedPreemptions": all.recorded_preemptions,
        "microsEach": all.took.micros_each(all.decisions),
        "recordedMicrosEach": all.recorded_took.micros_each(all.decisions),
        "differences": all.differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn headline(file: &Path, recording: &Recording) -> String {
    let header = &recording.header;
    let early = match recording.end.why.as_str() {
        "" => String::new(),
        why => format!("; it ended before its time: {why}"),
    };
    format!(
        "{}: {} decisions of {} ({}), slot {}, cluster {}{early}\n",
        file.display(),
        recording.decisions(),
        header.policy,
        short_digest(&header.digest),
        header.slot,
        header.cluster
    )
}

/// How a policy's answers compare with those that were recorded, in a line.
fn decisions(one: &Replayed<'_>) -> String {
    let all = &one.compared;
    let how = match (all.differences.len(), all.forms) {
        (0, 0) => "all the same, byte for byte".to_owned(),
        (0, forms) => format!("the same places, and {forms} calls answered in another form"),
        (differ, _) => format!("{differ} of them not as recorded"),
    };
    format!(
        "{}: {} decisions, {how}; {} each (recorded: {}), {} preemptions (recorded: {})\n",
        one.policy.name,
        all.decisions,
        micros(all.took.micros_each(all.decisions)),
        micros(all.recorded_took.micros_each(all.decisions)),
        all.preemptions,
        all.recorded_preemptions
    )
}

fn differences(all: &[Difference], policy: &str, wide: bool) -> String {
    if all.is_empty() {
        return String::new();
    }
    let shown = if wide { all.len() } else { all.len().min(FEW) };
    let mut table = Table::new(headers(["LINE", "POD"], &["RECORDED", policy], wide));
    for one in all.iter().take(shown) {
        let mut row = vec![
            one.line.to_string(),
            one.pod.clone(),
            or_none(&one.recorded),
            or_none(&one.said),
        ];
        row.extend(wide.then(|| or_none(&one.why)));
        table.row(row);
    }
    let more = more(shown, all.len());
    let more = more.trim_start_matches("; ");
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("{more}\n")
    };
    format!("{}{more}\n", table.to_text(true))
}

fn headers(first: [&str; 2], names: &[&str], wide: bool) -> Vec<String> {
    let all = first.iter().chain(names).chain(wide.then_some(&"WHY"));
    all.map(|text| (*text).to_owned()).collect()
}

fn more(shown: usize, all: usize) -> String {
    match shown < all {
        true => format!("; the first {shown} of {all} (-o wide shows all)"),
        false => String::new(),
    }
}

fn or_none(text: &str) -> String {
    match text {
        "" => "<none>".to_owned(),
        text => text.to_owned(),
    }
}
