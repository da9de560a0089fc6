//! Config maps, secrets, namespaces, and what has no page of its own.
use super::page::Page;
use crate::{
    doc::{Doc, entries, plain},
    print::{age, columns::or_else, yaml},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Name, namespace, labels, annotations.
pub fn heading(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    if doc.kind.namespaced {
        page.field(0, "Namespace", doc.namespace());
    }
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
}

pub fn config_map(doc: &Doc, page: &mut Page) {
    heading(doc, page);
    page.line(0, "\nData\n====");
    for (key, value) in entries(&doc.value, "/data") {
        page.line(
            0,
            format_args!("{key}:\n----\n{}\n", plain(value).replace('\t', "    ")),
        );
    }
    page.line(0, "\nBinaryData\n====");
    for (key, value) in entries(&doc.value, "/binaryData") {
        page.line(0, format_args!("{key}: {} bytes", decoded_length(value)));
    }
    page.line(0, "");
}

/// Keys and sizes; never the values.
pub fn secret(doc: &Doc, page: &mut Page) {
    heading(doc, page);
    page.line(
        0,
        format_args!("\nType:  {}\n\nData\n====", or_else(doc.text("/type"), "Opaque")),
    );
    for (key, value) in entries(&doc.value, "/data") {
        page.field(0, key, format_args!("{} bytes", decoded_length(value)));
    }
}

fn decoded_length(value: &Value) -> usize {
    STANDARD
        .decode(value.as_str().unwrap_or_default().trim())
        .map_or(0, |bytes| bytes.len())
}

pub fn namespace(doc: &Doc, page: &mut Page) {
    heading(doc, page);
    let going = !doc.at("/metadata/deletionTimestamp").is_null();
    page.field(
        0,
        "Status",
        if going {
            "Terminating".to_owned()
        } else {
            or_else(doc.text("/status/phase"), "Active")
        },
    );
}

/// What a kind without a page of its own says of itself.
pub fn other(doc: &Doc, page: &mut Page) {
    heading(doc, page);
    page.field(0, "API Version", doc.text("/apiVersion"));
    page.field(0, "Kind", doc.text("/kind"));
    page.field(0, "Created", age::long(doc.text("/metadata/creationTimestamp")));
    let hidden = ["apiVersion", "kind", "metadata"];
    let fields: serde_json::Map<_, _> = entries(&doc.value, "")
        .filter(|(name, _)| !hidden.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    if let Ok(text) = yaml::to_text(&fields.into()) {
        page.line(0, text.trim_end());
    }
}
