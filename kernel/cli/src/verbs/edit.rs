//! `edit`: objects in the user's editor; what the server refuses comes back with the reason as a comment.
use super::outcome::{Says, Validate};
use crate::{
    doc::Doc,
    failure::{self, Tally},
    manifest,
    print::yaml,
    session::Session,
    targets::Which,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::{io::Write, path::Path, process::Command};

const EXAMPLES: &str = "Examples:
  sampan edit deploy/web
  EDITOR='code --wait' sampan edit configmap settings";

const HEADER: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EditArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    validate: Validate,
}

pub async fn run(args: EditArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    let docs = args
        .which
        .objects(session, &args.which.scope(false), true, &mut tally)
        .await?;
    if docs.is_empty() {
        tally.finish()?;
        println!("nothing to edit");
        return Ok(());
    }
    edit(docs, args.validate, session).await?;
    tally.finish()
}

async fn edit(docs: Vec<Doc>, validate: Validate, session: &Session) -> Result<()> {
    let original = match docs.as_slice() {
        [only] => yaml::to_text(&only.value)?,
        several => {
            let items: Vec<&Value> = several.iter().map(|doc| &doc.value).collect();
            yaml::to_text(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?
        }
    };
    let mut before = original.clone();
    let mut reasons = String::new();
    loop {
        let text = in_editor(&format!("{HEADER}{reasons}{before}"))?;
        let plain: String = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        if plain.trim().is_empty() {
            println!("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        if plain == before {
            if reasons.is_empty() {
                println!("Edit cancelled, no changes made.");
                return Ok(());
            }
            let kept = keep(&plain)?;
            bail!("edit cancelled: nothing was changed after the failure; a copy of your changes is in {kept}");
        }
        match replace(&docs, &text, validate, session).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                let words = failure::words(&error);
                reasons = words.lines().map(|line| format!("# {line}\n")).collect::<String>() + "#\n";
                before = plain;
            }
        }
    }
}

/// Writes back what changed.
async fn replace(docs: &[Doc], text: &str, validate: Validate, session: &Session) -> Result<()> {
    let mut edited = Vec::new();
    let lines = text.lines().map(|line| if line.starts_with('#') { "#" } else { line });
    // Comments are kept as lines, so that places are those of the file in the editor.
    let text = lines.collect::<Vec<_>>().join("\n");
    for document in manifest::parse(&text).map_err(|error| anyhow::anyhow!("line {error}"))? {
        match document.value["items"].as_array() {
            Some(items) if document.value["kind"] == "List" => edited.extend(items.iter().cloned()),
            _ => edited.push(document.value),
        }
    }
    for value in edited {
        let doc = Doc::new(value)?;
        let Some(original) = docs.iter().find(|original| original.key() == doc.key()) else {
            bail!(
                "{} was not among what is edited: names and namespaces cannot be changed",
                doc.full_name()
            );
        };
        if original.value == doc.value {
            continue;
        }
        let written = session.replace(&doc.value, validate.asked(&Says::default())).await?;
        written.warn();
        println!("{} edited", doc.full_name());
    }
    Ok(())
}

/// Lets the user change a text.
fn in_editor(text: &str) -> Result<String> {
    let mut file = tempfile::Builder::new()
        .prefix("sampan-edit-")
        .suffix(".yaml")
        .tempfile()
        .context("cannot write a file to edit")?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.flush())
        .context("cannot write a file to edit")?;
    let editor = ["KUBE_EDITOR", "VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|e| !e.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // Through a shell, since an editor may come with arguments.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file.path())
        .status();
    let status = status.with_context(|| format!("cannot start the editor \"{editor}\": set EDITOR"))?;
    if !status.success() {
        bail!("the editor \"{editor}\" ended with {status}: nothing was changed; set EDITOR to choose another");
    }
    read(file.path())
}

fn read(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    // Opened anew: editors replace files.
    let file = std::fs::File::open(path).context("cannot read what was edited")?;
    file.take(manifest::MAX_BYTES as u64)
        .read_to_string(&mut text)
        .context("cannot read what was edited")?;
    Ok(text)
}

fn keep(text: &str) -> Result<String> {
    let mut file = tempfile::Builder::new()
        .prefix("sampan-edit-")
        .suffix(".yaml")
        .tempfile()?;
    file.write_all(text.as_bytes())?;
    let (_, path) = file.keep()?;
    Ok(path.display().to_string())
}
