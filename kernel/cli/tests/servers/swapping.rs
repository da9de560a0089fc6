//! Network plugins that are swapped under load: no flow breaks, and no request fails.
mod comparing;
mod hostile;
mod interrupted;

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

/// Waits until all ways between the two lead through the hub.
async fn through_hub(group: &Group) {
    for host in NODES {
        until(group, "all ways lead through the hub", || {
            peers(group, host) == named(&[HUB])
        })
        .await;
    }
}

/// Waits until each reaches the other.
async fn straight(group: &Group) {
    for (host, other) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
        until(group, "they reach each other", || {
            peers(group, host) == named(&[other, HUB])
        })
        .await;
    }
}

/// Loads the plugin that makes one node a hub, and does not let it decide.
fn load_hub(group: &Group) {
    let file = component(group, sampan_builtin::OTHERS, "hub-and-spoke");
    let config = format!(r#"--plugin-config {{"hub":"n{HUB}"}}"#);
    group.ok(
        0,
        &format!("plugin load {file} --name hub-and-spoke --slot routes {config}"),
    );
}

async fn clean(group: &Group) {
    group.ok(0, "delete deployment web client");
    group.ok(0, "delete service web");
    ended_on(group, &ALL).await;
}

/// Plays a test on three nodes, under load, which the test ends.
fn play_under_load(test: impl AsyncFnOnce(&mut Group, &[Value], Load) + Send) {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up_on(group, &ALL).await;
        let load = under_load(group, &clients).await;
        test(group, &clients, load).await;
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

/// The overlay takes the new way after two seconds, and has forgotten the old one after ten.
const TAKEN: Duration = Duration::from_secs(4);
const FORGOTTEN: Duration = Duration::from_secs(11);

#[test]
fn a_swap_to_a_hub_and_back_breaks_no_flow_and_holds_up_no_request() {
    play_under_load(async |group, clients, load| {
        load_hub(group);
        load.requests.iter().for_each(Steady::anew);
        for stays in [Duration::ZERO, TAKEN, FORGOTTEN] {
            group.ok(0, "plugin activate hub-and-spoke");
            through_hub(group).await;
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
            straight(group).await;
            tokio::time::sleep(stays).await;
            println!("straight after {:?}", load.flow.goes_on("straight again"));
        }
        load.end_promptly();
    });
}
