//! Network plugins that are swapped under load, and hostile ones: no flow breaks, no request fails, and the last good datapath
//! stands.
use crate::{
    churning::{of_app, service, set_up_on},
    group::{Group, HUB, NODES, play},
    nodes::{ended_on, until},
    steady::{Flow, Steady, address, of_pod, pages},
    tools::have,
};
use serde_json::Value;
use std::{
    fs::File,
    net::SocketAddr,
    time::{Duration, Instant},
};

const ALL: [usize; 3] = [NODES[0], NODES[1], HUB];

/// A new connection of which a packet is lost takes longer: its first is sent again after a second.
const PROMPT: Duration = Duration::from_millis(500);

/// The overlay takes the new way after two seconds, and has forgotten the old one after ten.
const TAKEN: Duration = Duration::from_secs(4);
const FORGOTTEN: Duration = Duration::from_secs(11);

/// A component of the tree as a file.
fn component(group: &Group, table: &[sampan_builtin::Component], name: &str) -> String {
    let path = group.dir.path().join(format!("{name}.wasm"));
    std::fs::write(&path, sampan_builtin::component(table, name).unwrap()).unwrap();
    path.display().to_string()
}

/// The peers of a node, by name.
fn peers(group: &Group, host: usize) -> Vec<String> {
    let list: Value = serde_json::from_str(&group.ok(0, "get peers -o json")).unwrap();
    let of_node = |peer: &&Value| peer["node"] == format!("n{host}");
    let names = list["items"].as_array().unwrap().iter().filter(of_node);
    names.map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
}

fn named(hosts: &[usize]) -> Vec<String> {
    hosts.iter().map(|host| format!("n{host}")).collect()
}

/// Two clients that speak with each other, and that ask the Service and web servers of the other's node, each time by a new
/// connection, while plugins change.
struct Load {
    flow: Flow,
    requests: Vec<Steady>,
}

async fn under_load(group: &Group, clients: &[Value]) -> Load {
    let networks: Vec<File> = clients.iter().map(|client| of_pod(group, client)).collect();
    let service = service(group);
    let ask = |(network, host)| Steady::begin(network, &format!("Service from n{host}"), pages(service));
    let mut requests: Vec<Steady> = networks.iter().zip(ALL).map(ask).collect();
    for (from, to) in [(0, 1), (1, 0)] {
        let page = SocketAddr::new(address(&of_app(group, "web", NODES[to])[0]), 8080);
        let what = format!("n{} from n{}", NODES[to], NODES[from]);
        requests.push(Steady::begin(&networks[from], &what, pages(page)));
    }
    requests.iter().for_each(Steady::answered);
    for host in NODES {
        until(group, "everybody is everybody's peer", || peers(group, host).len() == 2).await;
    }
    Load {
        flow: Flow::begin(&networks[0], &networks[1], address(&clients[1]), 9000, "there and back"),
        requests,
    }
}

impl Load {
    fn end(self) {
        self.flow.end();
        self.requests.into_iter().for_each(|requests| requests.end_well(50));
    }

    /// As [`Load::end`], where no request may have waited.
    fn end_promptly(self) {
        for requests in &self.requests {
            let longest = requests.tally().longest;
            assert!(longest < PROMPT, "{longest:?} of {:?}", requests.tally());
        }
        self.end();
    }
}

async fn clean(group: &Group) {
    group.ok(0, "delete deployment web client");
    group.ok(0, "delete service web");
    ended_on(group, &ALL).await;
}

#[test]
fn a_swap_to_a_hub_and_back_breaks_no_flow_and_holds_up_no_request() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up_on(group, &ALL).await;
        let load = under_load(group, &clients).await;
        let file = component(group, sampan_builtin::OTHERS, "hub-and-spoke");
        let config = format!(r#"--plugin-config {{"hub":"n{HUB}"}}"#);
        group.ok(
            0,
            &format!("plugin load {file} --name hub-and-spoke --slot routes {config}"),
        );
        load.requests.iter().for_each(Steady::anew);
        for stays in [Duration::ZERO, TAKEN, FORGOTTEN] {
            group.ok(0, "plugin activate hub-and-spoke");
            for host in NODES {
                until(group, "all ways lead through the hub", || {
                    peers(group, host) == named(&[HUB])
                })
                .await;
            }
            tokio::time::sleep(stays).await;
            println!("through the hub after {:?}", load.flow.goes_on("through the hub"));
            let [from, to] = [0, 1].map(|client: usize| clients[client]["metadata"]["name"].as_str().unwrap());
            let traced = group.ok(0, &format!("net trace {from} pod/{to}:9000"));
            let passed_on = traced.lines().find(|line| line.contains("passed on: "));
            assert!(
                passed_on.unwrap().contains(&format!("n{HUB} ")) && traced.contains("arrives"),
                "{traced}"
            );
            group.ok(0, "plugin activate routes");
            for (host, other) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
                until(group, "they reach each other", || {
                    peers(group, host) == named(&[other, HUB])
                })
                .await;
            }
            tokio::time::sleep(stays).await;
            println!("straight after {:?}", load.flow.goes_on("straight again"));
        }
        load.end_promptly();
        clean(group).await;
    });
}

/// What a plugin would change, node by node.
fn diff(group: &Group, name: &str, more: &str) -> Value {
    serde_json::from_str(&group.ok(0, &format!("plugin diff {name} -o json {more}"))).unwrap()
}

/// The entries that a node would have otherwise, as `route …: now | then`.
fn entries(diff: &Value, host: usize) -> Vec<String> {
    let nodes = diff["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["node"] == format!("n{host}"));
    let node = node.unwrap_or_else(|| panic!("no n{host} in {diff}"));
    assert!(node["problem"].is_null() && node["refused"].is_null(), "{node}");
    assert_eq!(node["decides"], "routes");
    let text = |entry: &Value| {
        let word = |field: &str| entry[field].as_str().unwrap().to_owned();
        format!(
            "{} {}: {} | {}",
            word("change"),
            word("entry"),
            word("now"),
            word("then")
        )
    };
    node["entries"].as_array().unwrap().iter().map(text).collect()
}

/// Whether entries say that a node would reach another through the hub alone.
fn through_the_hub(entries: &[String], other: usize) -> bool {
    let [route, peer] = entries else { return false };
    route.starts_with("changed route ")
        && route.contains(&format!("| through n{HUB}, at "))
        && peer.starts_with(&format!("removed peer n{other}: at "))
}

/// What fails, or wants what it must not, would change nothing, and is no failure of whoever decides.
fn hostile_ones_are_refused(group: &Group, load_one: &dyn Fn(&str, &str, &str)) {
    let hostile = component(group, sampan_builtin::HOSTILE, "hostile-network");
    for (how, why) in [
        ("trap", "it trapped"),
        ("outside", "makes no sense"),
        ("loop", "did not end within"),
    ] {
        load_one(&hostile, how, &format!(r#"{{"how":"{how}"}}"#));
        let found = diff(group, how, "");
        for node in found["nodes"].as_array().unwrap() {
            let refused = node["refused"].as_str().unwrap_or_default();
            assert!(
                refused.contains(why) && node["entries"] == serde_json::json!([]),
                "{how}: {node}"
            );
        }
        println!("{how}: {}", found["nodes"][0]["refused"]);
        assert_eq!(
            complaints(group, how),
            (0, 0),
            "it was asked, and did not fail in its place"
        );
    }
}

#[test]
fn what_a_network_plugin_would_change_is_told_and_nothing_is_changed() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up_on(group, &ALL).await;
        let load = under_load(group, &clients).await;
        let file = component(group, sampan_builtin::OTHERS, "hub-and-spoke");
        let load_one = |file: &str, name: &str, config: &str| {
            let config = format!("--plugin-config {config}");
            group.ok(0, &format!("plugin load {file} --name {name} --slot routes {config}"));
        };
        load_one(&file, "hub-and-spoke", &format!(r#"{{"hub":"n{HUB}"}}"#));
        let found = diff(group, "hub-and-spoke", "");
        let [one, other] = NODES;
        assert!(through_the_hub(&entries(&found, one), other), "{found}");
        assert!(through_the_hub(&entries(&found, other), one), "{found}");
        assert_eq!(
            entries(&found, HUB),
            [""; 0],
            "the hub reaches all straight, as before: {found}"
        );
        let text = group.ok(0, &format!("plugin diff hub-and-spoke --node n{one}"));
        println!("{text}");
        assert!(
            text.contains("1: 1 would change") && !text.contains(&format!("n{HUB} ")),
            "{text}"
        );
        hostile_ones_are_refused(group, &load_one);
        let refused = |args: &str| {
            let done = group.run(0, args);
            assert_ne!(done.code, Some(0), "{args}: {done:?}");
            done.err
        };
        assert!(refused("plugin diff routes").contains("name another of its slot"));
        assert!(refused("plugin diff hub-and-spoke --node nowhere").contains("nowhere"));
        assert!(refused("plugin diff deployment --node n3").contains("decides"));
        for host in NODES {
            assert_eq!(peers(group, host).len(), 2, "nothing has changed");
        }
        // Once it is active, the others would change what it changed; it itself would change nothing more.
        group.ok(0, "plugin activate hub-and-spoke");
        until(group, "all ways lead through the hub", || {
            peers(group, one) == named(&[HUB])
        })
        .await;
        until(group, "the mesh would come back", || {
            let found = diff(group, "routes", &format!("--node n{one}"));
            let tables = &found["nodes"][0]["tables"];
            tables[0]["changed"] == 1 && tables[1]["table"] == "peers" && tables[1]["added"] == 1
        })
        .await;
        group.ok(0, "plugin activate routes");
        load.end();
        clean(group).await;
    });
}

#[test]
fn a_node_that_is_away_is_said_to_be_when_plugins_are_compared() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, _) = set_up_on(group, &ALL).await;
        let file = component(group, sampan_builtin::OTHERS, "hub-and-spoke");
        let config = format!(r#"--plugin-config {{"hub":"n{HUB}"}}"#);
        group.ok(
            0,
            &format!("plugin load {file} --name hub-and-spoke --slot routes {config}"),
        );
        let away = NODES[1];
        group.kill(away);
        let says = |why: &str| {
            let found = diff(group, "hub-and-spoke", "");
            let nodes = found["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), 3, "{found}");
            let (gone, there): (Vec<&Value>, Vec<&Value>) =
                nodes.iter().partition(|node| node["node"] == format!("n{away}"));
            assert!(
                there
                    .iter()
                    .all(|node| node["problem"].is_null() && node["decides"] == "routes"),
                "{found}"
            );
            gone[0]["problem"].as_str().unwrap_or_default().contains(why)
        };
        assert!(says("cannot be reached"));
        until(group, "it is taken to be away", || says("not ready")).await;
        group.start_node(away).await;
        clean(group).await;
    });
}

/// How often nodes have said that a plugin failed, and how often that it is not asked again.
fn complaints(group: &Group, plugin: &str) -> (u64, u64) {
    let list: Value = serde_json::from_str(&group.ok(0, "get events -o json")).unwrap();
    let about = |event: &&Value| event["involvedObject"]["name"] == plugin && event["reason"] == "PluginFailed";
    let count = |event: &Value| event["count"].as_u64().unwrap_or(1);
    let all: Vec<Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(about)
        .cloned()
        .collect();
    let given_up = |event: &&Value| event["message"].as_str().unwrap().contains("not asked again");
    (
        all.iter().map(count).sum(),
        all.iter().filter(given_up).map(count).sum(),
    )
}

#[test]
fn hostile_network_plugins_leave_the_last_good_datapath() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up_on(group, &ALL).await;
        let load = under_load(group, &clients).await;
        let file = component(group, sampan_builtin::HOSTILE, "hostile-network");
        for how in ["trap", "outside", "loop"] {
            let config = format!(r#"--plugin-config {{"how":"{how}"}}"#);
            let begun = Instant::now();
            group.ok(
                0,
                &format!("plugin load {file} --name {how} --slot routes {config} --activate"),
            );
            until(group, "each node has given it up", || complaints(group, how).1 == 3).await;
            println!("{how}: given up by all nodes after {:?}", begun.elapsed());
            assert_eq!(complaints(group, how).0, 9, "three tries on each");
            load.flow.goes_on(how);
            for host in NODES {
                assert_eq!(peers(group, host).len(), 2, "{how}");
            }
            group.ok(0, "plugin activate routes");
            group.ok(0, &format!("plugin remove {how}"));
        }
        load.end();
        clean(group).await;
    });
}

#[test]
fn a_network_plugin_that_stumbles_is_asked_again_at_once() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up_on(group, &ALL).await;
        let load = under_load(group, &clients).await;
        let file = component(group, sampan_builtin::HOSTILE, "hostile-network");
        let config = r#"--plugin-config {"how":"stumble","after":3}"#;
        group.ok(
            0,
            &format!("plugin load {file} --name stumble --slot routes {config} --activate"),
        );
        until(group, "it decides", || group.ok(0, "plugin list").contains("stumble")).await;
        // The fourth question of its life: a fresh one is asked the first three again, and one of them is answered otherwise.
        let begun = Instant::now();
        group.ok(0, &format!("label node n{HUB} hidden=yes"));
        for host in NODES {
            until(group, "what changed is so", || peers(group, host).len() == 1).await;
        }
        println!("asked again, and done, after {:?}", begun.elapsed());
        assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
        assert!(complaints(group, "stumble").0 > 0, "it has stumbled");
        group.ok(0, "plugin activate routes");
        until(group, "all are peers again", || peers(group, NODES[0]).len() == 2).await;
        load.flow.end();
        clean(group).await;
    });
}
