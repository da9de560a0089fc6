//! A plugin: what is wanted of it, what became of it, and figures of its calls.
use super::{Related, page::Page};
use crate::{
    doc::{Doc, list, number, plain},
    print::{
        age,
        columns::{or_else, or_none},
        yaml,
    },
    progress::size,
};
use sampan_api::rpc::PluginFigures;

pub fn describe(doc: &Doc, related: &Related, page: &mut Page) {
    page.field(0, "Name", doc.name());
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
    page.field(
        0,
        "CreationTimestamp",
        age::long(doc.text("/metadata/creationTimestamp")),
    );
    page.field(0, "World", doc.text("/spec/world"));
    page.field(0, "Slot", doc.text("/spec/slot"));
    page.field(0, "Mode", doc.text("/spec/mode"));
    page.field(0, "Digest", doc.text("/spec/digest"));
    page.list(0, "Grants", list(&doc.value, "/spec/grants").iter().map(plain));
    match doc.at("/spec/config") {
        config if config.is_null() => page.field(0, "Config", "<none>"),
        config => {
            page.head(0, "Config");
            let text = yaml::to_text(config).unwrap_or_else(|_| config.to_string());
            text.lines().for_each(|line| page.line(1, line));
        }
    }
    page.head(0, "Component");
    page.field(1, "Name", or_none(doc.text("/status/name")));
    page.field(1, "Version", or_none(doc.text("/status/version")));
    page.field(1, "Summary", or_none(doc.text("/status/summary")));
    page.field(1, "Size", size(number(&doc.value, "/status/size").unsigned_abs()));
    page.field(0, "Phase", or_else(doc.text("/status/phase"), "Pending"));
    page.field_if(0, "Message", doc.text("/status/message"));
    if let Some(figures) = &related.figures {
        self::figures(figures, page);
    }
}

fn figures(figures: &PluginFigures, page: &mut Page) {
    page.head(0, "Figures");
    page.field(1, "Calls", figures.calls);
    page.field(1, "Traps", figures.traps);
    page.field(1, "Call p50", format_args!("{} µs", figures.p50_micros));
    page.field(1, "Call p99", format_args!("{} µs", figures.p99_micros));
    page.field(1, "Memory", size(figures.memory_bytes));
    page.field(1, "Synced Revision", figures.synced_revision);
    if figures.compared > 0 {
        let (compared, differed) = (figures.compared, figures.differed);
        page.field(
            1,
            "As Shadow",
            format_args!("{differed} of {compared} decisions differed"),
        );
    }
    if !figures.history.is_empty() {
        page.head(0, "History");
        figures.history.iter().for_each(|line| page.line(1, line));
    }
}
