//! `plugin inspect`: what a component is and asks for, as the server sees it.
use super::{chunks, component};
use crate::{
    print::{Format, tabs},
    progress::size,
    session::Session,
};
use anyhow::{Result, bail};
use sampan_api::rpc::{InspectResponse, PluginHeader};
use serde_json::{Value, json};
use std::path::Path;

/// # Errors
/// If it cannot be read or asked about, or could not be loaded.
pub async fn run(file: &Path, output: Option<Format>, session: &Session) -> Result<()> {
    let bytes = component::read(file)?;
    let mut client = session.plugins();
    let found = session
        .once(client.inspect(chunks(PluginHeader::default(), &bytes)))
        .await?;
    match output {
        None => print!("{}", inspection(&found)),
        Some(format) => print!("{}", value_text(&format, &inspection_value(&found))?),
    }
    if found.problems.is_empty() {
        Ok(())
    } else {
        bail!("{} could not be loaded", file.display())
    }
}

/// A value that is no object, in a format for objects.
fn value_text(format: &Format, value: &Value) -> Result<String> {
    Ok(match format {
        Format::Json => crate::print::format::pretty(value),
        Format::JsonPath(template) => template.render(value),
        Format::Yaml => crate::print::yaml::to_text(value)?,
        _ => bail!("this is printed as yaml, json or jsonpath=… only"),
    })
}

fn inspection_value(found: &InspectResponse) -> Value {
    json!({"digest": found.digest, "world": found.world, "imports": found.imports, "exports": found.exports,
        "size": found.size, "name": found.name, "version": found.version, "summary": found.summary, "problems": found.problems})
}

fn inspection(found: &InspectResponse) -> String {
    let or_none = |text: &str| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text.to_owned()
        }
    };
    let list = |items: &[String]| {
        if items.is_empty() {
            "<none>".to_owned()
        } else {
            items.join("\n\t")
        }
    };
    let mut text = format!(
        "Name:\t{}\nVersion:\t{}\nSummary:\t{}\n",
        or_none(&found.name),
        or_none(&found.version),
        or_none(&found.summary)
    );
    text.push_str(&format!(
        "World:\t{}\nDigest:\t{}\nSize:\t{}\n",
        or_none(&found.world),
        found.digest,
        size(found.size)
    ));
    text.push_str(&format!(
        "Imports:\t{}\nExports:\t{}\n",
        list(&found.imports),
        list(&found.exports)
    ));
    text.push_str(&format!("Problems:\t{}\n", list(&found.problems)));
    tabs::align(&text, 2)
}
