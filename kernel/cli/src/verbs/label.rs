//! `label` and `annotate`: the two maps of metadata that people set by hand.
use super::outcome::Says;
use crate::{doc::Doc, doc::entries, doc::plain, failure::Tally, manifest::Files, session::Session, targets::Which};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "Examples:
  sampan label node n1 disk=ssd
  sampan label pods --all stage-          # take it away
  sampan annotate deploy/web kubernetes.io/change-cause='image 1.28' --overwrite
  sampan label --list deploy/web";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LabelArgs {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set and KEY- to remove
    #[arg(value_name = "TYPE[/NAME] KEY=VALUE")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Change what has another value
    #[arg(long)]
    overwrite: bool,
    /// Only if the object is at this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    resource_version: u64,
    /// Print what there is
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    says: Says,
}

/// Which of the two maps.
pub struct MetadataMap {
    field: &'static str,
    done: &'static str,
    undone: &'static str,
}

pub static LABELS: MetadataMap = MetadataMap {
    field: "labels",
    done: "labeled",
    undone: "unlabeled",
};
pub static ANNOTATIONS: MetadataMap = MetadataMap {
    field: "annotations",
    done: "annotated",
    undone: "annotated",
};

/// A change: none takes the key away.
type Changes = Vec<(String, Option<String>)>;

pub async fn run(args: LabelArgs, map: &MetadataMap, session: &Session) -> Result<()> {
    let (names, changes) = split(&args.args)?;
    if changes.is_empty() && !args.list {
        bail!("say what to change: KEY=VALUE to set, KEY- to remove");
    }
    let which = Which {
        args: names,
        files: args.files.clone(),
        selector: args.selector.clone(),
    };
    let mut tally = Tally::default();
    let scope = which.scope(args.all_namespaces);
    for doc in which
        .objects(session, &scope, args.all || args.list, &mut tally)
        .await?
    {
        if args.list {
            println!("Listing {} for {}:", map.field, doc.full_name());
            let pointer = format!("/metadata/{}", map.field);
            entries(&doc.value, &pointer).for_each(|(key, value)| println!(" {key}={}", plain(value)));
            continue;
        }
        if let Err(error) = change(&args, map, &doc, &changes, session).await {
            tally.fail(&error);
        }
    }
    tally.finish()
}

async fn change(args: &LabelArgs, map: &MetadataMap, doc: &Doc, changes: &Changes, session: &Session) -> Result<()> {
    let before = doc.at(&format!("/metadata/{}", map.field));
    let (patch, done) = difference(before, changes, args.overwrite, map)?;
    if patch.is_empty() {
        return args.says.say(doc, &format!("not {}", map.done));
    }
    if args.says.on_client() {
        return args.says.say(doc, done);
    }
    let request = sampan_api::rpc::PatchRequest {
        key: Some((&doc.key()).into()),
        r#type: sampan_api::rpc::PatchType::Merge.into(),
        patch: json!({"metadata": {map.field: patch}}).to_string().into(),
        expect: args.resource_version,
        dry_run: args.says.on_server(),
        ..Default::default()
    };
    let written = session.patch(request).await?;
    args.says.say(written.object.as_ref().unwrap_or(doc), done)
}

/// The merge patch of the map, and the word for it.
fn difference(
    before: &Value,
    changes: &Changes,
    overwrite: bool,
    map: &MetadataMap,
) -> Result<(Map<String, Value>, &'static str)> {
    let mut patch = Map::new();
    let mut set = false;
    for (key, value) in changes {
        let there = before.get(key).map(plain);
        match (value, there) {
            (Some(value), Some(there)) if there != *value && !overwrite => {
                bail!("'{key}' already has a value ({there}), and --overwrite is false");
            }
            (Some(value), there) if there.as_ref() != Some(value) => {
                patch.insert(key.clone(), value.clone().into());
                set = true;
            }
            (None, Some(_)) => {
                patch.insert(key.clone(), Value::Null);
            }
            (None, None) => eprintln!("{} \"{key}\" not found.", map.field.trim_end_matches('s')),
            _ => {}
        }
    }
    Ok((patch, if set { map.done } else { map.undone }))
}

/// What names objects, and what is to change: changes have a `=`, or end in `-`.
fn split(args: &[String]) -> Result<(Vec<String>, Changes)> {
    let is_change = |arg: &String| arg.contains('=') || arg.ends_with('-');
    let first = args.iter().position(is_change).unwrap_or(args.len());
    let mut changes = Changes::new();
    for arg in &args[first..] {
        let change = match arg.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => match arg.strip_suffix('-') {
                Some(key) => (key.to_owned(), None),
                None => {
                    return Err(anyhow!(
                        "cannot read \"{arg}\": expected KEY=VALUE to set or KEY- to remove"
                    ));
                }
            },
        };
        if change.0.is_empty() {
            bail!("\"{arg}\" names no key");
        }
        if changes.iter().any(|(key, _)| *key == change.0) {
            bail!("the key \"{}\" is there twice", change.0);
        }
        changes.push(change);
    }
    Ok((args[..first].to_vec(), changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_come_first_and_changes_after() {
        let (names, changes) = split(&words("deploy web a=1 b- c=x=y")).unwrap();
        assert_eq!(names, ["deploy", "web"]);
        let expected = [("a", Some("1")), ("b", None), ("c", Some("x=y"))];
        assert!(changes.iter().map(|(k, v)| (k.as_str(), v.as_deref())).eq(expected));
        for wrong in ["pod a x=1 y", "pod a =1", "pod a x=1 x-"] {
            assert!(split(&words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_overwritten_without_a_word() {
        let before = json!({"a": "1", "b": "2"});
        let (_, changes) = split(&words("x a=2")).unwrap();
        let error = difference(&before, &changes, false, &LABELS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'a' already has a value (1), and --overwrite is false"
        );
        let (patch, done) = difference(&before, &changes, true, &LABELS).unwrap();
        assert_eq!((Value::from(patch), done), (json!({"a": "2"}), "labeled"));
        let (_, changes) = split(&words("x a=1 b-")).unwrap();
        let (patch, done) = difference(&before, &changes, false, &LABELS).unwrap();
        assert_eq!((Value::from(patch), done), (json!({"b": null}), "unlabeled"));
    }
}
