//! `plugin list` and `plugin describe`: what there is, what became of it, and on which nodes it failed.
use crate::{
    describe,
    doc::{Doc, text},
    print::{
        Format, Moment,
        columns::last_seen,
        table::{self, Dress},
    },
    session::Session,
    targets, terminal,
};
use anyhow::Result;
use sampan_api::{
    Key,
    plugin::{self, World},
    rpc,
};
use std::collections::BTreeMap;

/// What nodes call it when a plugin failed there.
const FAILED: &str = "PluginFailed";

/// Nodes that are named; of more their number is said.
const NAMED: usize = 3;

pub async fn list(output: Option<Format>, session: &Session) -> Result<()> {
    let kind = targets::kind("plugins")?;
    let docs = session
        .list(&targets::Scope::default().selection(kind, session))
        .await?
        .objects;
    let format = output.unwrap_or_default();
    if !format.is_table() {
        print!("{}", format.many(&docs, true)?);
        return Ok(());
    }
    let dress = Dress {
        wide: format == Format::Wide,
        colours: terminal::colours(),
        ..Dress::default()
    };
    let events = rpc::Selection {
        resource: "events".to_owned(),
        field_selector: format!("involvedObject.kind={}", kind.kind),
        ..rpc::Selection::default()
    };
    let events = session.list(&events).await?.objects;
    let now = Moment::now();
    let mut lines = table::for_kind(kind, &dress).with("FAILED ON");
    for doc in &docs {
        let mut cells = table::cells(doc, "", &dress, now);
        cells.push(failed_on(doc, &events, now));
        lines.row(cells);
    }
    print!("{}", lines.to_text(true));
    Ok(())
}

/// The nodes on which a plugin failed since it was changed last, and how long ago the last failure was.
fn failed_on(plugin: &Doc, events: &[Doc], now: Moment) -> String {
    let revision = |doc: &Doc| doc.text("/metadata/resourceVersion").parse::<u64>().unwrap_or(0);
    let is_of_it = |event: &&Doc| {
        let about = event.at("/involvedObject");
        about["name"] == plugin.name()
            && about["uid"] == plugin.uid()
            && event.text("/reason") == FAILED
            && revision(event) > revision(plugin)
    };
    let mut nodes: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events.iter().filter(is_of_it) {
        let at = last_seen(&event.value);
        let node = text(&event.value, "/source/host");
        let last = nodes.entry(node).or_insert(at);
        *last = at.max(*last);
    }
    // The control plane's own failures are in the phase.
    nodes.remove("");
    let Some(last) = nodes.values().max() else {
        return "<none>".to_owned();
    };
    let named: Vec<&str> = nodes.keys().copied().take(NAMED).collect();
    let more = match nodes.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more} ({} ago)", named.join(","), now.since(last))
}

pub async fn describe(name: &str, session: &Session) -> Result<()> {
    let mut client = session.plugins();
    let figures = session
        .once(client.describe(rpc::PluginRequest { name: name.to_owned() }))
        .await?;
    let doc = match figures.object.as_ref().filter(|object| !object.json.is_empty()) {
        Some(object) => Doc::from_message(object)?,
        None => session.get(&Key::new(plugin::RESOURCE, "", name)).await?,
    };
    let mut related = describe::Related::of(&doc, true, session).await?;
    // Of those that nodes ask, servers count no calls; what became of them is among the events.
    let on_nodes = World::ALL
        .iter()
        .any(|world| world.runs_on_nodes() && doc.text("/spec/world") == world.as_str());
    related.figures = (!on_nodes).then_some(figures);
    print!("{}", describe::describe(&doc, &related, Moment::now()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn nodes_are_named_since_the_plugin_changed() {
        let doc = |value: Value| Doc::new(value).unwrap();
        let plugin = doc(
            json!({"apiVersion": "sampan.dev/v1", "kind": "Plugin", "metadata": {"name": "routes", "uid": "u",
            "resourceVersion": "10"}}),
        );
        let event = |node: &str, revision: u32, seconds: u32, uid: &str| {
            doc(
                json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "resourceVersion": revision.to_string()},
                "reason": "PluginFailed", "source": {"component": "kubelet", "host": node}, "involvedObject": {"kind": "Plugin",
                "name": "routes", "uid": uid}, "lastTimestamp": format!("2026-03-01T11:59:{seconds:02}Z")}),
            )
        };
        let now = Moment::parse("2026-03-01T12:00:00Z").unwrap();
        let mut events = vec![
            event("old", 9, 50, "u"),
            event("n1", 11, 50, "other"),
            event("", 12, 50, "u"),
        ];
        assert_eq!(failed_on(&plugin, &events, now), "<none>");
        events.extend([
            event("n2", 11, 55, "u"),
            event("n1", 12, 40, "u"),
            event("n1", 13, 30, "u"),
        ]);
        assert_eq!(failed_on(&plugin, &events, now), "n1,n2 (5s ago)");
        events.extend(["n3", "n4", "n5"].map(|node| event(node, 14, 20, "u")));
        assert_eq!(failed_on(&plugin, &events, now), "n1,n2,n3 and 2 more (5s ago)");
    }
}
