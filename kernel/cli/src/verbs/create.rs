//! `create`: from manifests, or by hand for the kinds that people make by hand.
use super::{
    apply::{conclude, read, untried},
    outcome::Says,
};
use crate::{doc::Doc, failure::Tally, manifest::Files, session::Session};
use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use sampan_api::rpc::write_response::Outcome;
use serde_json::{Map, Value, json};
use std::{fs::File, io::Read, path::Path};

const EXAMPLES: &str = "Examples:
  sampan create -f pod.yaml
  sampan create namespace team-a
  sampan create deployment web --image=web:1 --replicas=3 --port=8080
  sampan create configmap settings --from-literal=mode=fast --from-file=site.conf
  sampan create secret generic login --from-literal=user=anna
  sampan create job once --image=primes:1 -- 1000000
  sampan create deployment web --image=web:1 --dry-run=client -o yaml > web.yaml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct CreateArgs {
    #[command(flatten)]
    files: Files,
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
    /// A secret of files and literals
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
#[command(after_help = "Example:\n  sampan create configmap settings --from-literal=mode=fast --from-file=site.conf")]
struct DataArgs {
    name: String,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A file, under its own name or KEY=FILE; or all files of a directory
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    says: Says,
}

#[derive(Debug, Args)]
struct SecretArgs {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(Debug, Subcommand)]
enum SecretKind {
    /// Of files and literals
    Generic(GenericArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create secret generic login --from-literal=user=anna --from-file=key.pem")]
struct GenericArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What kind of secret it is
    #[arg(long = "type", default_value = "Opaque")]
    kind: String,
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
        None => return from_files(&args.files, &args.says, session).await,
        Some(What::Namespace(args)) => (namespace(&args), args.says),
        Some(What::Deployment(args)) => (deployment(&args)?, args.says),
        Some(What::Configmap(args)) => (config_map(&args)?, args.says),
        Some(What::Secret(SecretArgs {
            kind: SecretKind::Generic(args),
        })) => (secret(&args)?, args.data.says),
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
    let written = session.create(&doc.value, says.on_server()).await?;
    written.warn();
    says.say(written.object.as_ref().unwrap_or(&doc), "created")
}

async fn from_files(files: &Files, says: &Says, session: &Session) -> Result<()> {
    if files.filename.is_empty() {
        bail!("say what: -f FILE, or namespace, deployment, configmap, secret, job (see --help)");
    }
    let mut tally = Tally::default();
    for ready in read(files, None, session)? {
        let result = match says.on_client() {
            true => Ok(untried(&ready.doc, Outcome::Created)),
            false => session.create(&ready.doc.value, says.on_server()).await,
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

fn config_map(args: &DataArgs) -> Result<Value> {
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in gather(args)? {
        match String::from_utf8(bytes) {
            Ok(text) => data.insert(key, text.into()),
            Err(error) => binary.insert(key, STANDARD.encode(error.as_bytes()).into()),
        };
    }
    let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": args.name}});
    for (field, map) in [("data", data), ("binaryData", binary)] {
        if !map.is_empty() {
            value[field] = map.into();
        }
    }
    Ok(value)
}

fn secret(args: &GenericArgs) -> Result<Value> {
    let data = gather(&args.data)?
        .into_iter()
        .map(|(key, bytes)| (key, Value::String(STANDARD.encode(bytes))));
    let data: Map<String, Value> = data.collect();
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "type": args.kind, "metadata": {"name": args.data.name}, "data": data}),
    )
}

/// The data of literals and files, with every key once.
fn gather(args: &DataArgs) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, bytes: Vec<u8>| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || key.len() > 253 || !key.chars().all(plain) {
            bail!("\"{key}\" is no key: letters, digits, '-', '_' and '.', 253 at most");
        }
        if found.iter().any(|(known, _)| known == key) {
            bail!("the key \"{key}\" is there twice");
        }
        found.push((key.to_owned(), bytes));
        Ok(())
    };
    for literal in &args.from_literal {
        let (key, value) = literal
            .split_once('=')
            .with_context(|| format!("\"{literal}\" is not KEY=VALUE"))?;
        add(key, value.as_bytes().to_vec())?;
    }
    for source in &args.from_file {
        let (key, path) = match source.split_once('=') {
            Some((key, path)) => (Some(key), Path::new(path)),
            None => (None, Path::new(source)),
        };
        let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && key.is_none() {
            let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut paths = entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()?;
            paths.sort();
            paths
                .iter()
                .filter(|path| path.is_file())
                .try_for_each(|path| add(&file_name(path), content(path)?))?;
        } else {
            add(&key.map_or_else(|| file_name(path), str::to_owned), content(path)?)?;
        }
    }
    Ok(found)
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    let limit = sampan_api::MAX_OBJECT_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(what)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    if bytes.len() as u64 > limit {
        bail!(
            "{} has more than the {limit} bytes that an object may have",
            path.display()
        );
    }
    Ok(bytes)
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

    #[test]
    fn data_comes_from_literals_and_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "text").unwrap();
        std::fs::write(dir.path().join("b.bin"), [0xff, 0]).unwrap();
        let args = |literals: &[&str], files: &[String]| DataArgs {
            name: "m".into(),
            from_literal: literals.iter().map(|l| (*l).to_owned()).collect(),
            from_file: files.to_vec(),
            says: Says::default(),
        };
        let here = dir.path().display().to_string();
        let value = config_map(&args(&["k=v=w"], &[here.clone(), format!("c={here}/a.txt")])).unwrap();
        assert_eq!(value["data"], json!({"k": "v=w", "a.txt": "text", "c": "text"}));
        assert_eq!(value["binaryData"], json!({"b.bin": "/wA="}));
        assert!(
            config_map(&args(&["k=1", "k=2"], &[]))
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(
            config_map(&args(&["novalue"], &[]))
                .unwrap_err()
                .to_string()
                .contains("KEY=VALUE")
        );
    }
}
