//! What is asked about the cluster and the client themselves: `status`, `version`, `api-resources`, `completion`.
use crate::{
    cli::{self, Global},
    doc::is_true,
    print::{Format, Table, format, tabs, yaml},
    progress::size,
    session::Session,
    targets::{self, Scope},
};
use anyhow::{Result, bail};
use clap::Args;
use clap_complete::Shell;
use sampan_api::{kinds, rpc};
use serde_json::{Value, json};

/// The version of this binary.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan status -o json")]
pub struct StatusArgs {
    /// yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan version --client")]
pub struct VersionArgs {
    /// Only the client's
    #[arg(long)]
    client: bool,
    /// yaml, json
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan api-resources --namespaced=true -o name")]
pub struct ApiResourcesArgs {
    /// Only those that are in namespaces, or only those that are not
    #[arg(long)]
    namespaced: Option<bool>,
    /// `name` or `wide`
    #[arg(short = 'o', long, value_parser = ["name", "wide"])]
    output: Option<String>,
    /// Leave the headers out
    #[arg(long)]
    no_headers: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(sampan completion bash)
  sampan completion zsh > \"${fpath[1]}/_sampan\"
  sampan completion fish > ~/.config/fish/completions/sampan.fish")]
pub struct CompletionArgs {
    shell: Shell,
}

/// Prints a value that is no object: as text, or as `-o` says.
///
/// # Errors
/// If `-o` asks for a form it does not have.
pub fn print(output: Option<&Format>, value: &Value, text: impl FnOnce() -> String) -> Result<()> {
    match output {
        None => print!("{}", text()),
        Some(Format::Json) => print!("{}", format::pretty(value)),
        Some(Format::Yaml) => print!("{}", yaml::to_text(value)?),
        Some(Format::JsonPath(template)) => print!("{}", template.render(value)),
        Some(_) => bail!("this is printed as yaml, json or jsonpath=… only"),
    }
    Ok(())
}

pub async fn status(args: &StatusArgs, session: &Session) -> Result<()> {
    let found = session
        .again(|| async { session.cluster().status(rpc::StatusRequest::default()).await })
        .await?;
    let nodes = session
        .list(&Scope::default().selection(targets::kind("nodes")?, session))
        .await?
        .objects;
    let ready = nodes.iter().filter(|node| is_true(&node.value, "Ready")).count();
    let members: Vec<Value> = found
        .members
        .iter()
        .map(|m| json!({"id": m.id, "name": m.name, "role": m.role, "address": m.address, "lag": m.lag, "active": m.active}))
        .collect();
    let value = json!({"cluster": found.cluster_name, "server": session.server, "version": found.version,
        "revision": found.revision, "compactedRevision": found.compacted_revision, "objects": found.objects,
        "logBytes": found.log_bytes, "raft": {"term": found.raft_term, "index": found.raft_index, "leader": found.leader},
        "members": members, "nodes": {"ready": ready, "all": nodes.len()}});
    print(args.output.as_ref(), &value, || {
        let members = found
            .members
            .iter()
            .map(|m| format!("{} ({})", m.name, m.role))
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!(
            "Cluster:\t{}\nServer:\t{}\nVersion:\t{}\nMembers:\t{members}\nNodes:\t{ready} of {} ready\n\
             Revision:\t{} (watchable from {})\nObjects:\t{}\nLog:\t{}, term {}, index {}\n",
            found.cluster_name,
            session.server,
            found.version,
            nodes.len(),
            found.revision,
            found.compacted_revision,
            found.objects,
            size(found.log_bytes),
            found.raft_term,
            found.raft_index,
        );
        tabs::align(&text, 2)
    })
}

pub async fn version(args: &VersionArgs, global: &Global) -> Result<()> {
    let mut value = json!({"clientVersion": {"version": VERSION}});
    let mut text = format!("Client Version: {VERSION}\n");
    let mut failed = None;
    if !args.client {
        match server_version(global).await {
            Ok(version) => {
                value["serverVersion"] = json!({"version": version});
                text.push_str(&format!("Server Version: {version}\n"));
            }
            Err(error) => failed = Some(error),
        }
    }
    print(args.output.as_ref(), &value, || text)?;
    failed.map_or(Ok(()), Err)
}

async fn server_version(global: &Global) -> Result<String> {
    let session = global.session()?;
    let version = session
        .again(|| async { session.cluster().status(rpc::StatusRequest::default()).await })
        .await?
        .version;
    Ok(if version.starts_with('v') {
        version
    } else {
        format!("v{version}")
    })
}

pub fn api_resources(args: &ApiResourcesArgs) -> Result<()> {
    let wanted = kinds::all()
        .iter()
        .filter(|kind| args.namespaced.is_none_or(|namespaced| kind.namespaced == namespaced));
    if args.output.as_deref() == Some("name") {
        wanted.for_each(|kind| println!("{}", kind.resource));
        return Ok(());
    }
    let wide = args.output.is_some();
    let mut headers = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
    headers.extend(wide.then_some("VERBS"));
    let mut table = Table::new(headers);
    for kind in wanted {
        let short = kind.short_names.join(",");
        let namespaced = kind.namespaced.to_string();
        let mut row = vec![kind.plural, &short, kind.api_version, &namespaced, kind.kind];
        row.extend(wide.then_some("create,delete,get,list,patch,update,watch"));
        table.row(row);
    }
    print!("{}", table.to_text(!args.no_headers));
    Ok(())
}

pub fn completion(args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "sampan", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}
