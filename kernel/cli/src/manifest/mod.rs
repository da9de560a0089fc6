//! Manifests: files, directories and stdin become objects, each knowing where it stands, so that what is wrong with it
//! can be said with file, line and column.
mod yaml;

pub use yaml::{Document, MAX_BYTES, Malformed, Marks, parse};

use crate::doc::{Doc, text};
use anyhow::{Context, Result, anyhow, bail};
use sampan_api::{ApiError, Reason};
use serde_json::Value;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Where manifests are read from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// A file, a directory, or - for stdin; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Also take the directories within directories
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub value: Value,
    /// As the user named it; `STDIN` for stdin.
    pub file: String,
    marks: Marks,
}

impl Manifest {
    /// Where a field stands, or what is nearest to it: `web.yaml:12:5`.
    pub fn place(&self, field: &str) -> String {
        let (line, column) = self.marks.nearest(field);
        format!("{}:{line}:{column}", self.file)
    }

    /// The object, of a kind that is known.
    ///
    /// # Errors
    /// `BadRequest` with its place.
    pub fn doc(&self) -> Result<Doc> {
        Doc::new(self.value.clone()).map_err(|error| self.locate(error).into())
    }

    /// The error with places: of the fields that it blames (named once, also where the reason names them), or of the object.
    #[must_use]
    pub fn locate(&self, mut error: ApiError) -> ApiError {
        for cause in &mut error.causes {
            let place = self.place(&cause.field);
            match cause.message.contains(&format!("\"{}\"", cause.field)) {
                true => cause.field = place,
                false => cause.field.insert_str(0, &format!("{place}: ")),
            }
        }
        if error.causes.is_empty() && matches!(error.reason, Reason::BadRequest | Reason::TooLarge) {
            let field = if error.message.starts_with("no kind") {
                "kind"
            } else {
                ""
            };
            error.message = format!("{}: {}", self.place(field), error.message);
        }
        error
    }

    /// The same for an error that may be the server's.
    pub fn locate_any(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<ApiError>() {
            Ok(api) if api.causes.is_empty() && !matches!(api.reason, Reason::BadRequest | Reason::TooLarge) => {
                let name = text(&self.value, "/metadata/name");
                // What speaks of another object than this one (a namespace, say) needs to say from where it was asked.
                if api.message.contains(&format!("\"{name}\"")) {
                    return api.into();
                }
                anyhow::Error::from(api).context(self.place(""))
            }
            Ok(api) => self.locate(api).into(),
            Err(other) => other,
        }
    }

    /// A warning of the server, with its place where it names a field.
    pub fn warn(&self, warning: &str) {
        let field = warning.split('"').nth(1).unwrap_or_default();
        crate::terminal::warn(&format!("{}: {warning}", self.place(field)));
    }
}

impl Files {
    /// Reads them all.
    ///
    /// # Errors
    /// What is wrong with the first that is, as `file:line:column: what`.
    pub fn read(&self) -> Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        let mut stdin_read = false;
        for name in &self.filename {
            if name == "-" {
                if std::mem::replace(&mut stdin_read, true) {
                    bail!("stdin (-) can be read only once");
                }
                take("STDIN", &read_text(std::io::stdin().lock(), "STDIN")?, &mut manifests)?;
            } else if name.starts_with("http://") || name.starts_with("https://") {
                bail!("{name}: manifests are not fetched; fetch it yourself and give it to `-f -`");
            } else {
                for path in self.expand(Path::new(name))? {
                    let shown = path.display().to_string();
                    let file = File::open(&path).with_context(|| format!("cannot read {shown}"))?;
                    take(&shown, &read_text(file, &shown)?, &mut manifests)?;
                }
            }
        }
        if manifests.is_empty() && !self.filename.is_empty() {
            bail!("no objects passed: {} has no document in it", self.filename.join(", "));
        }
        Ok(manifests)
    }

    fn expand(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => anyhow!("the path \"{}\" does not exist", path.display()),
            _ => anyhow!("cannot read {}: {error}", path.display()),
        })?;
        if !metadata.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let mut found = Vec::new();
        self.walk(path, 0, &mut found)?;
        if found.is_empty() {
            bail!(
                "{} has no manifest in it: recognized extensions are .json, .yaml and .yml",
                path.display()
            );
        }
        Ok(found)
    }

    fn walk(&self, directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
        if depth > 64 {
            bail!("{}: directories are nested deeper than 64", directory.display());
        }
        let what = || format!("cannot read {}", directory.display());
        let entries = std::fs::read_dir(directory).with_context(what)?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .with_context(what)?;
        paths.sort();
        for path in paths {
            if path.is_dir() {
                if self.recursive && !path.is_symlink() {
                    self.walk(&path, depth + 1, found)?;
                }
            } else if path
                .extension()
                .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
            {
                found.push(path);
            }
        }
        Ok(())
    }
}

fn read_text(reader: impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() > MAX_BYTES {
        bail!(
            "{name} is larger than {} MiB, the limit for manifests: split it",
            MAX_BYTES >> 20
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        anyhow!("{name}:{line}:{column}: not UTF-8")
    })
}

/// Reads the documents of one text, whose name is for errors.
fn take(name: &str, text: &str, manifests: &mut Vec<Manifest>) -> Result<()> {
    let documents = parse(text).map_err(|error| anyhow!("{name}:{error}"))?;
    documents
        .into_iter()
        .try_for_each(|document| unfold(name, document, manifests))
}

/// One object, or those of a list.
fn unfold(file: &str, document: Document, manifests: &mut Vec<Manifest>) -> Result<()> {
    let manifest = Manifest {
        value: document.value,
        file: file.to_owned(),
        marks: document.marks,
    };
    let Some(object) = manifest.value.as_object() else {
        let found = match manifest.value {
            Value::Array(_) => "a list",
            Value::String(_) => "a text",
            _ => "a single value",
        };
        bail!(
            "{}: expected an object with apiVersion, kind and metadata, found {found}",
            manifest.place("")
        );
    };
    for field in ["apiVersion", "kind"] {
        match object.get(field) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::Null | Value::String(_)) | None => bail!("{}: {field} is not set", manifest.place(field)),
            Some(other) => bail!("{}: {field} must be a text, found {other}", manifest.place(field)),
        }
    }
    if !text(&manifest.value, "/kind").ends_with("List") {
        manifests.push(manifest);
        return Ok(());
    }
    match object.get("items") {
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let marks = manifest.marks.within(&format!("items[{index}]"));
                unfold(
                    file,
                    Document {
                        value: item.clone(),
                        marks,
                    },
                    manifests,
                )?;
            }
            Ok(())
        }
        None | Some(Value::Null) => Ok(()),
        Some(_) => bail!("{}: items must be a list", manifest.place("items")),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
