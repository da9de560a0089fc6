//! What `-o` may ask for.
use super::yaml;
use crate::{doc::Doc, jsonpath};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// How objects are printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    #[default]
    Table,
    Wide,
    Yaml,
    Json,
    Name,
    JsonPath(jsonpath::Template),
    /// Header and path of each.
    Columns(Vec<(String, jsonpath::Path)>),
}

const KNOWN: &str = "wide, yaml, json, name, jsonpath=…, jsonpath-file=…, custom-columns=…, custom-columns-file=…";

/// Files named by `-o` are small.
const MAX_FILE: u64 = 1 << 20;

impl Format {
    /// Reads the argument of `-o`.
    ///
    /// # Errors
    /// If it is not known, or its path is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, argument) = text
            .split_once('=')
            .map_or((text, None), |(name, argument)| (name, Some(argument)));
        let argument = || {
            argument
                .filter(|a| !a.is_empty())
                .with_context(|| format!("-o {name} needs a value: -o {name}=…"))
        };
        Ok(match name {
            "wide" => Format::Wide,
            "yaml" => Format::Yaml,
            "json" => Format::Json,
            "name" => Format::Name,
            "jsonpath" => Format::JsonPath(jsonpath::Template::parse(argument()?)?),
            "jsonpath-file" => Format::JsonPath(jsonpath::Template::parse(read(argument()?)?.trim_end_matches('\n'))?),
            "custom-columns" => Format::Columns(columns(argument()?)?),
            "custom-columns-file" => Format::Columns(columns_of_file(&read(argument()?)?)?),
            "go-template" | "go-template-file" | "template" => {
                bail!("-o {name} is not supported; jsonpath or custom-columns may do it")
            }
            _ => match sampan_api::kinds::nearest(
                name,
                ["wide", "yaml", "json", "name", "jsonpath", "custom-columns"].into_iter(),
            ) {
                Some(near) => bail!("unknown output \"{text}\": did you mean \"{near}\"? Known: {KNOWN}"),
                None => bail!("unknown output \"{text}\". Known: {KNOWN}"),
            },
        })
    }

    /// Whether rows of a kind's own columns are asked for.
    pub fn is_table(&self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }

    /// One object. Tables have no form for a single object here; they print its name.
    ///
    /// # Errors
    /// As [`yaml::to_text`].
    pub fn one(&self, doc: &Doc) -> Result<String> {
        Ok(match self {
            Format::Yaml => yaml::to_text(&doc.value)?,
            Format::Json => pretty(&doc.value),
            Format::Table | Format::Wide | Format::Name => format!("{}\n", doc.full_name()),
            Format::JsonPath(template) => template.render(&doc.value),
            Format::Columns(columns) => custom(columns, std::slice::from_ref(doc), true),
        })
    }

    /// Several objects: a `List` for YAML, JSON and JSONPath.
    ///
    /// # Errors
    /// As [`yaml::to_text`].
    pub fn many(&self, docs: &[Doc], headers: bool) -> Result<String> {
        let list = || {
            let items: Vec<&Value> = docs.iter().map(|doc| &doc.value).collect();
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        };
        Ok(match self {
            Format::Yaml => yaml::to_text(&list())?,
            Format::Json => pretty(&list()),
            Format::JsonPath(template) => template.render(&list()),
            Format::Columns(columns) => custom(columns, docs, headers),
            _ => docs.iter().map(|doc| format!("{}\n", doc.full_name())).collect(),
        })
    }
}

/// JSON with indentation, as kubectl's.
pub fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    // A tree is written into memory: there is nothing that could fail.
    let _ = serde::Serialize::serialize(value, &mut writer);
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

fn read(path: &str) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?;
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {path}"))?;
    Ok(text)
}

fn columns(text: &str) -> Result<Vec<(String, jsonpath::Path)>> {
    let column = |part: &str| {
        let (header, path) = part.split_once(':').ok_or_else(|| {
            anyhow!("cannot read \"{part}\" as a column: expected HEADER:.path, as in NAME:.metadata.name")
        })?;
        Ok((header.to_owned(), jsonpath::Path::parse(path)?))
    };
    split(text).into_iter().map(column).collect()
}

/// At commas that are not within brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn columns_of_file(text: &str) -> Result<Vec<(String, jsonpath::Path)>> {
    let mut lines = text.lines();
    let headers: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let paths: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if headers.is_empty() || headers.len() != paths.len() {
        bail!("a file of custom columns has a line of headers and a line with as many paths");
    }
    headers
        .iter()
        .zip(paths)
        .map(|(header, path)| Ok(((*header).to_owned(), jsonpath::Path::parse(path)?)))
        .collect()
}

fn custom(columns: &[(String, jsonpath::Path)], docs: &[Doc], headers: bool) -> String {
    let mut table = super::Table::new(columns.iter().map(|(header, _)| header.as_str()));
    for doc in docs {
        table.row(columns.iter().map(|(_, path)| {
            let found: Vec<String> = path.find(&doc.value).into_iter().map(jsonpath::show).collect();
            if found.is_empty() {
                "<none>".to_owned()
            } else {
                found.join(",")
            }
        }));
    }
    table.to_text(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Doc {
        Doc::new(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}),
        )
        .unwrap()
    }

    #[test]
    fn formats() {
        let docs = [pod("a"), pod("b")];
        let many = |text: &str| Format::parse(text).unwrap().many(&docs, true).unwrap();
        assert_eq!(many("name"), "pod/a\npod/b\n");
        assert_eq!(many("jsonpath={.items[*].metadata.name}"), "a b");
        assert_eq!(
            many(
                "custom-columns=NAME:.metadata.name,IMAGES:.spec.containers[*].image,X:.x,F:.spec.containers[0,1].name"
            ),
            "NAME   IMAGES   X        F\na      x,y      <none>   a,b\nb      x,y      <none>   a,b\n"
        );
        assert!(many("json").starts_with("{\n    \"apiVersion\": \"v1\",\n    \"items\": ["));
        assert!(many("yaml").contains("kind: List\n"));
        assert_eq!(
            Format::parse("jsonpath={.metadata.name}")
                .unwrap()
                .one(&docs[0])
                .unwrap(),
            "a"
        );
        assert_eq!(Format::Name.one(&docs[0]).unwrap(), "pod/a\n");
    }

    #[test]
    fn unknown_ones_say_what_is_known() {
        let error = |text: &str| format!("{:#}", Format::parse(text).unwrap_err());
        assert!(error("yml").contains("did you mean \"yaml\""), "{}", error("yml"));
        assert!(error("jsonpath").contains("needs a value"));
        assert!(error("jsonpath={.a").contains("unclosed action at column 4"));
        assert!(error("custom-columns=NAME").contains("HEADER:.path"));
        assert!(error("go-template={{}}").contains("not supported"));
    }
}
