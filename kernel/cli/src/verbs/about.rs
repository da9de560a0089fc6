//! What is asked about the client and what it knows: `version`, `api-resources`, `completion`.
use crate::{
    cli::{self, Global},
    print::{Format, Table, format, yaml},
};
use anyhow::{Result, bail};
use clap::Args;
use clap_complete::Shell;
use sampan_api::{kinds, rpc};
use serde_json::{Value, json};

/// The version of this binary.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

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
