//! What a node without pods has of the network, and what of it is too much.
use crate::{families, group::Group, tools::find, traces};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// Sets of the datapath that have something for each pod or endpoint.
const OF_PODS: [&str; 7] = [
    "speakers",
    "senders",
    "hairpins",
    "rules-in",
    "rules-out",
    "places",
    "members",
];

/// Namespaces as open files show them.
const NAMESPACES: [&str; 7] = ["net:[", "mnt:[", "pid:[", "ipc:[", "uts:[", "user:[", "cgroup:["];

/// What is left of pods on a host that is a node and runs none.
pub fn left(group: &Group, host: usize) -> Vec<String> {
    let printed = |program: &str, args: &str| {
        let mut command = group.network.command(host, program.as_ref());
        let output = command.args(args.split(' ')).output().unwrap();
        assert!(output.status.success(), "{program} {args}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut left: Vec<String> = interfaces(&printed("ip", "-o link")).collect();
    for family in ["-4", "-6"] {
        let rules = printed("ip", &format!("{family} rule"));
        let usual = |rule: &&str| ["local", "main", "default"].iter().any(|table| rule.ends_with(table));
        left.extend(
            rules
                .lines()
                .map(str::trim_end)
                .filter(|rule| !usual(rule))
                .map(|rule| format!("rule {rule}")),
        );
        let known = ranges(group);
        let routes = printed("ip", &format!("{family} route show table all"));
        let strange = routes.lines().filter(|route| !is_known(route, &known, host));
        left.extend(strange.map(|route| format!("route {route}")));
    }
    if find("nft").is_some() {
        left.extend(in_datapath(&printed("nft", "-s list ruleset")));
    }
    left.extend(on_machine(&group.data(host), &uids(group)));
    left
}

/// All but its own, the bridge's and the overlay's.
fn interfaces(links: &str) -> impl Iterator<Item = String> {
    let name = |link: &str| Some(link.split([':', '@']).nth(1)?.trim().to_owned());
    let names: BTreeSet<String> = links.lines().filter_map(name).collect();
    let overlays = names.iter().filter(|name| name.starts_with("so")).count();
    assert!(names.contains("lo") && overlays == 1, "{links}");
    let strange = names
        .into_iter()
        .filter(|name| name != "lo" && name != "eth0" && !name.starts_with("so"));
    strange.map(|name| format!("interface {name}"))
}

/// The ranges of pods by node.
fn ranges(group: &Group) -> Vec<(String, String)> {
    let nodes: Value = serde_json::from_str(&group.ok(0, "get nodes -o json")).unwrap();
    let of = |node: &Value| {
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let ranges = node["spec"]["podCIDRs"].as_array().cloned().unwrap_or_default();
        ranges
            .into_iter()
            .map(move |range| (name.clone(), range.as_str().unwrap_or_default().to_owned()))
    };
    nodes["items"].as_array().unwrap().iter().flat_map(of).collect()
}

/// Whether a route is the kernel's own, or of those that a node has for as long as it is one.
fn is_known(route: &str, ranges: &[(String, String)], host: usize) -> bool {
    let words: Vec<&str> = route.split_whitespace().collect();
    let after = |word: &str| {
        words
            .iter()
            .skip_while(|own| **own != word)
            .nth(1)
            .copied()
            .unwrap_or_default()
    };
    let stays = ["lo", "eth0"].contains(&after("dev")) || after("dev").starts_with("so");
    let is = |own: bool| move |(name, _): &&(String, String)| (*name == format!("n{host}")) == own;
    let range = |to: &str, own: bool| ranges.iter().filter(is(own)).any(|(_, range)| range == to);
    match (words[0], after("proto")) {
        (_, "kernel") => stays,
        ("unreachable", "static") => range(words[1], true),
        ("10.96.0.0/12" | families::SERVICES, "static") => stays,
        (to, "201") => stays && range(to, false),
        _ => false,
    }
}

/// What the kernel's datapath still has for pods.
fn in_datapath(listing: &str) -> Vec<String> {
    let (mut left, mut set) = (Vec::new(), String::new());
    for line in listing.lines().map(str::trim) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["set" | "map", name, "{"] => set = name.to_owned(),
            ["chain", name, "{"] if ["in-", "out-"].iter().any(|of| name.starts_with(of)) => {
                left.push(format!("chain {name}"));
            }
            ["elements", ..] if OF_PODS.iter().any(|of| set.trim_end_matches(['4', '6']).ends_with(of)) => {
                left.push(format!("{set} {line}"));
            }
            _ => {}
        }
    }
    left
}

/// Of all pods that something has happened to.
fn uids(group: &Group) -> BTreeSet<String> {
    let events: Value = serde_json::from_str(&group.ok(0, "get events -A -o json")).unwrap();
    let of_pod = |event: &Value| {
        let object = &event["involvedObject"];
        (object["kind"] == "Pod").then(|| object["uid"].as_str().unwrap_or_default().to_owned())
    };
    let uids = events["items"].as_array().unwrap().iter().filter_map(of_pod);
    uids.filter(|uid| !uid.is_empty()).collect()
}

/// Mounts, cgroups, processes beside the agent, and namespaces that the agent holds open.
fn on_machine(data: &Path, uids: &BTreeSet<String>) -> Vec<String> {
    let all = traces::traces(data, uids);
    let (processes, mut left): (Vec<String>, Vec<String>) = all.into_iter().partition(|one| one.starts_with("process"));
    left.extend(processes.into_iter().skip(1));
    for agent in traces::processes(data) {
        let files = fs::read_dir(format!("/proc/{agent}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        let links = links.map(|link| link.to_string_lossy().into_owned());
        left.extend(links.filter(|link| NAMESPACES.iter().any(|kind| link.starts_with(kind))));
    }
    left
}
