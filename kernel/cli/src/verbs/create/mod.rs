//! `create`: from manifests, or by hand for the kinds that people make by hand.
mod data;

use super::{
    apply::{conclude, read, untried},
    outcome::{Says, Validate},
};
use crate::{doc::Doc, failure::Tally, manifest::Files, session::Session};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use data::{DataArgs, SecretArgs};
use sampan_api::rpc::write_response::Outcome;
use serde_json::{Value, json};

const EXAMPLES: &str = "Examples:
  sampan create -f pod.yaml
  sampan create namespace team-a
  sampan create deployment web --image=web:1 --replicas=3 --port=8080
  sampan create configmap settings --from-literal=mode=fast --from-file=site.conf
  sampan create secret generic login --from-literal=user=anna
  sampan create secret tls shop-tls --cert=shop.crt --key=shop.key
  sampan create job once --image=primes:1 -- 1000000
  sampan create deployment web --image=web:1 --dry-run=client -o yaml > web.yaml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct CreateArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    validate: Validate,
    #[command(flatten)]
    says: Says,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace(NamespaceArgs),
    /// A deployment of one image
    #[command(visible_alias = "deploy")]
    Deployment(DeploymentArgs),
    /// A config map of files and literals
    #[command(visible_alias = "cm")]
    Configmap(DataArgs),
    /// A secret: of files and literals, or a certificate with its key
    Secret(SecretArgs),
    /// A job that runs an image once
    Job(JobArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create namespace team-a")]
struct NamespaceArgs {
    name: String,
    #[command(flatten)]
    says: Says,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create deployment web --image=web:1 --replicas=3 --port=8080 -- --verbose")]
struct DeploymentArgs {
    name: String,
    /// The image; several make a pod of several containers
    #[arg(long, required = true)]
    image: Vec<String>,
    #[arg(short = 'r', long, default_value_t = 1)]
    replicas: u32,
    /// The port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    /// The command to run instead of the image's
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    says: Says,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create job once --image=primes:1 -- 1000000")]
struct JobArgs {
    name: String,
    #[arg(long)]
    image: String,
    /// The command to run instead of the image's
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    says: Says,
}

pub async fn run(args: CreateArgs, session: &Session) -> Result<()> {
    let (mut value, says) = match args.what {
        None => return from_files(&args.files, args.validate, &args.says, session).await,
        Some(What::Namespace(args)) => (namespace(&args), args.says),
        Some(What::Deployment(args)) => (deployment(&args)?, args.says),
        Some(What::Configmap(args)) => (data::config_map(&args)?, args.says),
        Some(What::Secret(args)) => data::secret(args)?,
        Some(What::Job(args)) => (job(&args), args.says),
    };
    let kind = Doc::new(value.clone())?.kind;
    // A manifest that is only printed names a namespace only where the user did.
    if kind.namespaced && (session.namespace_given || !says.on_client()) {
        value["metadata"]["namespace"] = session.namespace.clone().into();
    }
    let doc = Doc::new(value)?;
    if says.on_client() {
        return says.say(&doc, "created");
    }
    let written = session.create(&doc.value, args.validate.asked(&says)).await?;
    written.warn();
    says.say(written.object.as_ref().unwrap_or(&doc), "created")
}

async fn from_files(files: &Files, validate: Validate, says: &Says, session: &Session) -> Result<()> {
    if files.filename.is_empty() {
        bail!("say what: -f FILE, or namespace, deployment, configmap, secret, job (see --help)");
    }
    let mut tally = Tally::default();
    for ready in read(files, None, session)? {
        let result = match says.on_client() {
            true => Ok(untried(&ready.doc, Outcome::Created)),
            false => session.create(&ready.doc.value, validate.asked(says)).await,
        };
        conclude(&ready, result, Some("created"), says, &mut tally);
    }
    tally.finish()
}

fn namespace(args: &NamespaceArgs) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.name}})
}

fn deployment(args: &DeploymentArgs) -> Result<Value> {
    if args.image.len() > 1 && !args.command.is_empty() {
        bail!("a command is for one container: give one --image, or no command");
    }
    let mut containers = Vec::new();
    for image in &args.image {
        let mut container = json!({"name": container_name(image), "image": image});
        if let Some(port) = args.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if !args.command.is_empty() {
            container["command"] = json!(args.command);
        }
        containers.push(container);
    }
    let labels = json!({"app": args.name});
    Ok(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": args.name, "labels": labels},
        "spec": {"replicas": args.replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}}),
    )
}

fn job(args: &JobArgs) -> Value {
    let mut container = json!({"name": args.name, "image": args.image});
    if !args.command.is_empty() {
        container["command"] = json!(args.command);
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": args.name},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}})
}

/// The last part of an image's name, made a name for a container.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let last = last.split(['@', ':']).next().unwrap_or(last).to_lowercase();
    let name: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match name.trim_matches('-') {
        "" => "main".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_is_as_from_a_manifest() {
        let args = DeploymentArgs {
            name: "web".into(),
            image: vec!["example.com/team/web_server:1".into()],
            replicas: 3,
            port: Some(80),
            command: vec![],
            says: Says::default(),
        };
        let value = deployment(&args).unwrap();
        assert_eq!(value["spec"]["template"]["spec"]["containers"][0]["name"], "web-server");
        assert!(sampan_api::validate::manifest(value.to_string().as_bytes()).is_ok());
        let args = JobArgs {
            name: "j".into(),
            image: "x".into(),
            command: vec!["a".into()],
            says: Says::default(),
        };
        assert!(sampan_api::validate::manifest(job(&args).to_string().as_bytes()).is_ok());
    }
}
