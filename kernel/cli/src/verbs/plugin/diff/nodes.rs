//! What a plugin that runs on nodes would change on each of them: how many entries of each table, and which.
use crate::print::Table;
use sampan_api::rpc::{EntryDiff, NodeDiff, PluginDiff, TableDiff};
use serde_json::{Value, json};

/// Entries of all nodes in the table that is not wide.
const FEW: usize = 20;

/// Of all nodes, what becomes of them: a line of the head.
pub fn head(diff: &PluginDiff) -> String {
    let of = |what: fn(&NodeDiff) -> bool| diff.nodes.iter().filter(|node| what(node)).count();
    let unasked = of(|node| !node.problem.is_empty());
    let refused = of(|node| !node.refused.is_empty());
    let changed = of(changes);
    let same = diff.nodes.len() - unasked - refused - changed;
    let mut parts = vec![format!("{changed} would change"), format!("{same} would not")];
    if refused > 0 {
        parts.push(format!("on {refused} it is refused"));
    }
    if unasked > 0 {
        parts.push(format!("{unasked} did not compare"));
    }
    format!("Nodes:\t{}: {}\n", diff.nodes.len(), parts.join(", "))
}

fn changes(node: &NodeDiff) -> bool {
    node.tables.iter().any(|table| differing(table) > 0)
}

fn differing(table: &TableDiff) -> u64 {
    [table.added, table.removed, table.changed]
        .into_iter()
        .map(u64::from)
        .sum()
}

/// The tables below the head: nodes, then entries.
pub fn text(diff: &PluginDiff, wide: bool) -> String {
    let mut text = format!("\n{}", summary(diff).to_text(true));
    let entries = || {
        let of_node = |node: &'_ NodeDiff| {
            node.entries
                .iter()
                .map(|entry| (node.node.clone(), entry.clone()))
                .collect()
        };
        diff.nodes.iter().flat_map::<Vec<_>, _>(of_node)
    };
    let there = entries().count();
    let shown = if wide { there } else { there.min(FEW) };
    if shown == 0 {
        return text;
    }
    let mut table = Table::new(["NODE", "TABLE", "ENTRY", "NOW", &format!("WITH {}", diff.candidate)]);
    for (node, entry) in entries().take(shown) {
        let said = |words: &str, is_there: bool| match (words, is_there) {
            (_, false) => "<none>".to_owned(),
            // What goes, or comes, beside what stays.
            ("", true) => "…".to_owned(),
            (words, true) => words.to_owned(),
        };
        let (was, is) = (entry.change != "added", entry.change != "removed");
        let EntryDiff {
            table: of,
            key,
            now,
            then,
            ..
        } = &entry;
        table.row([node, of.clone(), key.clone(), said(now, was), said(then, is)]);
    }
    text.push('\n');
    text.push_str(&table.to_text(true));
    let all: u64 = diff.nodes.iter().flat_map(|node| &node.tables).map(differing).sum();
    if all > shown as u64 {
        let more = if shown < there {
            "; -o wide shows more"
        } else {
            "; --node NAME shows more of one"
        };
        text.push_str(&format!("{shown} of {all} that would be other{more}\n"));
    }
    text
}

fn summary(diff: &PluginDiff) -> Table {
    let mut names: Vec<&String> = Vec::new();
    for table in diff.nodes.iter().flat_map(|node| &node.tables) {
        if !names.contains(&&table.table) {
            names.push(&table.table);
        }
    }
    let headers = ["NODE", "DECIDES"].into_iter().map(str::to_owned);
    let headers = headers.chain(names.iter().map(|name| name.to_uppercase()));
    let mut summary = Table::new(headers.chain(["NOTE".to_owned()]));
    for node in &diff.nodes {
        let counts = |name: &&String| {
            let of_name = node.tables.iter().find(|table| table.table == ***name);
            match (node.problem.is_empty() && node.refused.is_empty(), of_name) {
                (false, _) => "?".to_owned(),
                (true, None) => "same".to_owned(),
                (true, Some(table)) => counted(table),
            }
        };
        let note = match (node.problem.as_str(), node.refused.as_str()) {
            ("", "") => String::new(),
            ("", refused) => format!("refused, and nothing would change: {}", brief(refused)),
            (problem, _) => problem.to_owned(),
        };
        let decides = match (node.decides.as_str(), node.problem.as_str()) {
            ("", "") => "<none>",
            ("", _) => "?",
            (name, _) => name,
        };
        let start = [node.node.clone(), decides.to_owned()].into_iter();
        summary.row(start.chain(names.iter().map(counts)).chain([note]));
    }
    summary
}

/// Of what a trap says, the first line and the last: between them are the guest's functions.
fn brief(why: &str) -> String {
    let mut lines = why.lines();
    match (lines.next(), lines.last()) {
        (Some(first), Some(last)) => format!("{first} … {}", last.trim()),
        _ => why.to_owned(),
    }
}

/// As `+1 -2 ~3`, what there is of it.
fn counted(table: &TableDiff) -> String {
    let signs = [('+', table.added), ('-', table.removed), ('~', table.changed)];
    let parts = signs.into_iter().filter(|(_, count)| *count > 0);
    let parts: Vec<String> = parts.map(|(sign, count)| format!("{sign}{count}")).collect();
    match parts.is_empty() {
        true => "same".to_owned(),
        false => parts.join(" "),
    }
}

pub fn value(diff: &PluginDiff) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let table = |table: &TableDiff| {
        json!({
            "table": table.table, "now": table.now, "then": table.then, "added": table.added,
            "removed": table.removed, "changed": table.changed,
        })
    };
    let entry = |entry: &EntryDiff| {
        json!({
            "table": entry.table, "entry": entry.key, "change": entry.change, "now": entry.now, "then": entry.then,
        })
    };
    let node = |node: &NodeDiff| {
        json!({
            "node": node.node, "decides": text(&node.decides), "problem": text(&node.problem),
            "refused": text(&node.refused), "micros": node.micros,
            "tables": node.tables.iter().map(table).collect::<Vec<_>>(),
            "entries": node.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    };
    json!({
        "kind": "PluginDiff", "world": diff.world, "slot": diff.slot,
        "candidate": {"name": diff.candidate, "digest": diff.candidate_digest},
        "active": (!diff.active.is_empty()).then(|| json!({"name": diff.active, "digest": diff.active_digest})),
        "nodes": diff.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(nodes: Vec<NodeDiff>) -> PluginDiff {
        PluginDiff {
            world: "network".into(),
            slot: "routes".into(),
            candidate: "hub".into(),
            active: "routes".into(),
            nodes,
            ..PluginDiff::default()
        }
    }

    fn node(name: &str, changed: u32, shown: u32) -> NodeDiff {
        let entry = |number| EntryDiff {
            table: "routes".into(),
            key: format!("route {number}"),
            now: "at a".into(),
            then: String::new(),
            change: "changed".into(),
        };
        let table = |table: &str, changed| TableDiff {
            table: table.into(),
            now: 9,
            then: 9,
            changed,
            ..TableDiff::default()
        };
        NodeDiff {
            node: name.into(),
            decides: "routes".into(),
            tables: vec![table("routes", changed), table("peers", 0)],
            entries: (0..shown).map(entry).collect(),
            ..NodeDiff::default()
        }
    }

    #[test]
    fn each_node_has_its_line_whatever_became_of_it() {
        let away = NodeDiff {
            node: "c".into(),
            problem: "it is not ready".into(),
            ..NodeDiff::default()
        };
        let refused = NodeDiff {
            node: "d".into(),
            decides: "routes".into(),
            refused: "it trapped: at\n 0: f\n 1: g: unreachable".into(),
            ..NodeDiff::default()
        };
        let diff = diff(vec![node("a", 1, 1), node("b", 0, 0), away, refused]);
        assert_eq!(
            head(&diff),
            "Nodes:\t4: 1 would change, 1 would not, on 1 it is refused, 1 did not compare\n"
        );
        let text = text(&diff, false);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        assert_eq!(
            lines,
            [
                "",
                "NODE DECIDES ROUTES PEERS NOTE",
                "a routes ~1 same",
                "b routes same same",
                "c ? ? ? it is not ready",
                "d routes ? ? refused, and nothing would change: it trapped: at … 1: g: unreachable",
                "",
                "NODE TABLE ENTRY NOW WITH hub",
                "a routes route 0 at a …",
            ]
        );
        let value = value(&diff);
        assert_eq!(value["nodes"][2]["problem"], "it is not ready");
        assert_eq!(value["nodes"][0]["entries"][0]["change"], "changed");
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let of = |shown, wide| {
            let text = text(&diff(vec![node("a", 70, shown)]), wide);
            text.lines().last().unwrap().to_owned()
        };
        assert_eq!(of(50, false), "20 of 70 that would be other; -o wide shows more");
        assert_eq!(
            of(50, true),
            "50 of 70 that would be other; --node NAME shows more of one"
        );
        assert!(of(70, true).starts_with('a'));
    }
}
