//! A page of a description: lines of fields, indented by what they are in, aligned at the end.
use crate::{
    doc::{entries, plain},
    print::{columns::or_none, tabs},
};
use serde_json::Value;
use std::fmt::Display;

/// The longest value of an annotation that is shown on the line of its key.
const LONG: usize = 140;

/// A page that is being written. Cells end in tabs; [`tabs::align`] makes columns of them.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// `Name:  value`
    pub fn field(&mut self, level: usize, name: &str, value: impl Display) {
        self.line(level, format_args!("{name}:\t{value}"));
    }

    /// The same, unless there is nothing to say.
    pub fn field_if(&mut self, level: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, name, value);
        }
    }

    /// `Name:`, with what is in it on the lines below.
    pub fn head(&mut self, level: usize, name: &str) {
        self.line(level, format_args!("{name}:"));
    }

    pub fn line(&mut self, level: usize, text: impl Display) {
        self.text.extend(std::iter::repeat_n(' ', level * 2));
        // What comes from a cluster does not move the terminal's cursor.
        self.text.extend(text.to_string().chars().map(|c| {
            if c.is_control() && c != '\t' && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        }));
        self.text.push('\n');
    }

    /// A map, each entry on its line.
    pub fn map(&mut self, level: usize, name: &str, map: &Value) {
        let pairs = entries(map, "").map(|(key, value)| format!("{key}={}", plain(value)));
        self.list(level, name, pairs);
    }

    /// Annotations: long ones stand below their keys.
    pub fn annotations(&mut self, level: usize, name: &str, map: &Value) {
        let pairs = entries(map, "").filter(|(key, _)| *key != "kubectl.kubernetes.io/last-applied-configuration");
        let pairs = pairs
            .filter(|(key, _)| !key.ends_with("/last-applied"))
            .map(|(key, value)| {
                let value = plain(value);
                let short = value.len() <= LONG && !value.contains('\n');
                if short {
                    format!("{key}: {value}")
                } else {
                    format!("{key}:\n\t  {}", value.replace('\n', "\n\t  "))
                }
            });
        self.list(level, name, pairs);
    }

    /// Values below each other, in one column.
    pub fn list(&mut self, level: usize, name: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        let indent = " ".repeat(level * 2);
        self.field(level, name, or_none(&values.join(&format!("\n{indent}\t"))));
    }

    /// A table: headers, a line below each, rows.
    pub fn table(&mut self, level: usize, headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        self.line(level, headers.join("\t"));
        self.line(
            level,
            headers
                .iter()
                .map(|header| "-".repeat(header.len()))
                .collect::<Vec<_>>()
                .join("\t"),
        );
        for row in rows {
            let row: Vec<String> = row.into_iter().map(|cell| cell.replace('\t', " ")).collect();
            self.line(level, row.join("\t"));
        }
    }

    pub fn to_text(&self) -> String {
        tabs::align(&self.text, 2)
    }
}
