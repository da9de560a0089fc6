//! Services, config maps, secrets, namespaces, and what has no page of its own.
use super::page::Page;
use crate::{
    doc::{Doc, at, entries, list, number, plain, text, texts},
    print::{
        age,
        columns::{joined, or_else, or_none},
        yaml,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

fn heading(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    if doc.kind.namespaced {
        page.field(0, "Namespace", doc.namespace());
    }
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
}

pub fn service(doc: &Doc, page: &mut Page) {
    heading(doc, page);
    page.field(0, "Selector", joined(doc.at("/spec/selector")));
    page.field(0, "Type", or_else(doc.text("/spec/type"), "ClusterIP"));
    page.field_if(0, "IP Family Policy", doc.text("/spec/ipFamilyPolicy"));
    page.field_if(0, "IP Families", &texts(&doc.value, "/spec/ipFamilies"));
    page.field(0, "IP", or_none(doc.text("/spec/clusterIP")));
    page.field_if(0, "IPs", &texts(&doc.value, "/spec/clusterIPs"));
    page.field_if(0, "External Name", doc.text("/spec/externalName"));
    for port in list(&doc.value, "/spec/ports") {
        let protocol = or_else(text(port, "/protocol"), "TCP");
        let name = or_else(text(port, "/name"), "<unset>");
        page.field(0, "Port", format_args!("{name}\t{}/{protocol}", number(port, "/port")));
        let target = plain(at(port, "/targetPort"));
        let target = if target.is_empty() {
            number(port, "/port").to_string()
        } else {
            target
        };
        page.field(0, "TargetPort", format_args!("{target}/{protocol}"));
        if number(port, "/nodePort") != 0 {
            page.field(
                0,
                "NodePort",
                format_args!("{name}\t{}/{protocol}", number(port, "/nodePort")),
            );
        }
    }
    page.field(
        0,
        "Session Affinity",
        or_else(doc.text("/spec/sessionAffinity"), "None"),
    );
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
