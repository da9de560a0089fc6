//! `patch`: changes some fields of an object.
use super::outcome::Says;
use crate::{failure::Tally, manifest, session::Session, targets::Which};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use sampan_api::rpc::{self, write_response::Outcome};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  sampan patch deploy/web -p '{\"spec\": {\"replicas\": 3}}'
  sampan patch deploy web --type=json -p '[{\"op\": \"remove\", \"path\": \"/spec/paused\"}]'
  sampan patch node n1 --type=merge --patch-file=taints.yaml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PatchArgs {
    #[command(flatten)]
    which: Which,
    /// The patch, in JSON or YAML
    #[arg(
        short = 'p',
        long,
        required_unless_present = "patch_file",
        conflicts_with = "patch_file"
    )]
    patch: Option<String>,
    /// A file with the patch
    #[arg(long, value_name = "FILE")]
    patch_file: Option<PathBuf>,
    /// How it is meant
    #[arg(long = "type", value_enum, default_value = "strategic")]
    kind: Kind,
    /// `status`: change the status instead of the rest
    #[arg(long, value_parser = ["status"])]
    subresource: Option<String>,
    #[command(flatten)]
    says: Says,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Lists of named things merge by name
    Strategic,
    /// RFC 7386: maps merge, all else is replaced
    Merge,
    /// RFC 6902: a list of operations
    Json,
}

pub async fn run(args: PatchArgs, session: &Session) -> Result<()> {
    let patch = args.read()?;
    let kind = match args.kind {
        Kind::Strategic => rpc::PatchType::Strategic,
        Kind::Merge => rpc::PatchType::Merge,
        Kind::Json => rpc::PatchType::Json,
    };
    let mut tally = Tally::default();
    for doc in args
        .which
        .objects(session, &args.which.scope(false), false, &mut tally)
        .await?
    {
        let request = rpc::PatchRequest {
            key: Some((&doc.key()).into()),
            r#type: kind.into(),
            patch: patch.clone().into(),
            status: args.subresource.is_some(),
            expect: 0,
            dry_run: args.says.on_server() || args.says.on_client(),
        };
        let Some(written) = tally.note(session.patch(request).await) else {
            continue;
        };
        written.warn();
        let word = if written.outcome == Outcome::Unchanged {
            "patched (no change)"
        } else {
            "patched"
        };
        tally.note(args.says.say(written.object.as_ref().unwrap_or(&doc), word));
    }
    tally.finish()
}

impl PatchArgs {
    /// The patch as JSON.
    fn read(&self) -> Result<String> {
        let (name, text) = match (&self.patch, &self.patch_file) {
            (Some(text), _) => ("--patch".to_owned(), text.clone()),
            (None, Some(path)) => {
                use std::io::Read;
                let what = || format!("cannot read {}", path.display());
                let mut text = String::new();
                let file = std::fs::File::open(path).with_context(what)?;
                file.take(manifest::MAX_BYTES as u64)
                    .read_to_string(&mut text)
                    .with_context(what)?;
                (path.display().to_string(), text)
            }
            (None, None) => bail!("say the patch with -p or --patch-file"),
        };
        let mut documents = manifest::parse(&text).map_err(|error| anyhow!("{name}:{error}"))?;
        let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
            bail!("{name} must be one document");
        };
        let fits = match self.kind {
            Kind::Json => document.value.is_array(),
            Kind::Strategic | Kind::Merge => document.value.is_object(),
        };
        if !fits {
            bail!("{name}: a patch of type json is a list of operations, one of any other type a map of fields");
        }
        Ok(document.value.to_string())
    }
}
