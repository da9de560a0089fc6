//! `apply` and `replace`: manifests become objects.
use super::outcome::{Says, Validate, word};
use crate::{
    doc::Doc,
    failure::Tally,
    manifest::{Files, Manifest},
    session::{Session, Written},
    targets,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::rpc::write_response::Outcome;

const APPLY_EXAMPLES: &str = "Examples:
  sampan apply -f web.yaml
  sampan apply -f manifests/ -R
  cat web.yaml | sampan apply -f -
  sampan apply -f web.yaml --dry-run=server -o yaml";

const REPLACE_EXAMPLES: &str = "Examples:
  sampan replace -f web.yaml
  sampan get deploy/web -o yaml | sed 's/:1.27/:1.28/' | sampan replace -f -";

#[derive(Debug, Args)]
#[command(after_help = APPLY_EXAMPLES)]
pub struct ApplyArgs {
    #[command(flatten)]
    files: Files,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[command(flatten)]
    validate: Validate,
    #[command(flatten)]
    says: Says,
}

#[derive(Debug, Args)]
#[command(after_help = REPLACE_EXAMPLES)]
pub struct ReplaceArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    validate: Validate,
    #[command(flatten)]
    says: Says,
}

/// A manifest that is ready to be sent.
pub struct Ready {
    pub manifest: Manifest,
    pub doc: Doc,
}

/// Reads manifests and checks what can be checked before anything is sent: nothing is half applied because the third
/// file is malformed.
///
/// # Errors
/// What is wrong with the first that is.
pub fn read(files: &Files, selector: Option<&str>, session: &Session) -> Result<Vec<Ready>> {
    if files.filename.is_empty() {
        bail!("say what with -f FILE, -f DIRECTORY or -f - for stdin");
    }
    let selector = sampan_api::LabelSelector::parse(selector.unwrap_or_default());
    let selector = selector.map_err(|error| anyhow::anyhow!(error.message))?;
    let mut ready = Vec::new();
    for manifest in files.read()? {
        let mut doc = manifest.doc()?;
        let namespace = targets::namespace_of(&manifest, &doc, session)?;
        let labels = serde_json::from_value(doc.at("/metadata/labels").clone()).unwrap_or_default();
        if !selector.matches(&labels) {
            continue;
        }
        // Metadata that is no map is for the server to refuse, with the field's path.
        if doc.kind.namespaced && doc.value["metadata"].is_object() {
            doc.value["metadata"]["namespace"] = namespace.into();
        }
        ready.push(Ready { manifest, doc });
    }
    Ok(ready)
}

/// Tells warnings and errors with their places; says what came of the rest.
pub fn conclude(ready: &Ready, result: Result<Written>, done: Option<&str>, says: &Says, tally: &mut Tally) {
    match result {
        Ok(written) => {
            written.warnings.iter().for_each(|warning| ready.manifest.warn(warning));
            let doc = written.object.as_ref().unwrap_or(&ready.doc);
            tally.note(says.say(doc, done.unwrap_or(word(written.outcome))));
        }
        Err(error) => tally.fail(&ready.manifest.locate_any(error)),
    }
}

/// The outcome of a trial that asks nobody.
pub fn untried(doc: &Doc, outcome: Outcome) -> Written {
    Written {
        object: Some(doc.clone()),
        outcome,
        warnings: Vec::new(),
    }
}

pub async fn run(args: ApplyArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    for ready in read(&args.files, args.selector.as_deref(), session)? {
        let result = if args.says.on_client() {
            would_apply(&ready.doc, session).await
        } else {
            session.apply(&ready.doc.value, args.validate.asked(&args.says)).await
        };
        conclude(&ready, result, None, &args.says, &mut tally);
    }
    tally.finish()
}

async fn would_apply(doc: &Doc, session: &Session) -> Result<Written> {
    match session.get(&doc.key()).await {
        Ok(_) => Ok(untried(doc, Outcome::Configured)),
        Err(error) if crate::failure::is_not_found(&error) => Ok(untried(doc, Outcome::Created)),
        Err(error) => Err(error),
    }
}

pub async fn replace(args: ReplaceArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    for ready in read(&args.files, None, session)? {
        let result = match args.says.on_client() {
            true => Ok(untried(&ready.doc, Outcome::Configured)),
            false => session.replace(&ready.doc.value, args.validate.asked(&args.says)).await,
        };
        conclude(&ready, result, Some("replaced"), &args.says, &mut tally);
    }
    tally.finish()
}
