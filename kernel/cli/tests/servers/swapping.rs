//! Network plugins that are swapped under load, and hostile ones: no flow breaks, no request fails, and the last good datapath
//! stands.
use crate::{
    churning::{service, set_up_on},
    group::{Group, HUB, NODES, play},
    nodes::{ended_on, until},
    steady::{Flow, Steady, address, of_pod, pages},
    tools::have,
};
use serde_json::Value;
use std::{fs::File, time::Instant};

const ALL: [usize; 3] = [NODES[0], NODES[1], HUB];

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

/// Two clients that speak with each other, and one that asks the Service, while plugins change.
struct Load {
    flow: Flow,
    requests: Vec<Steady>,
}

async fn under_load(group: &Group, clients: &[Value]) -> Load {
    let networks: Vec<File> = clients.iter().map(|client| of_pod(group, client)).collect();
    let service = service(group);
    let ask = |(network, host)| Steady::begin(network, &format!("Service from n{host}"), pages(service));
    let requests: Vec<Steady> = networks.iter().zip(ALL).map(ask).collect();
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
}

async fn clean(group: &Group) {
    group.ok(0, "delete deployment web client");
    group.ok(0, "delete service web");
    ended_on(group, &ALL).await;
}

#[test]
fn a_swap_to_a_hub_and_back_breaks_no_flow_and_no_request() {
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
        for _ in 0..2 {
            group.ok(0, "plugin activate hub-and-spoke");
            for host in NODES {
                until(group, "all ways lead through the hub", || {
                    peers(group, host) == named(&[HUB])
                })
                .await;
            }
            println!("through the hub after {:?}", load.flow.goes_on("through the hub"));
            group.ok(0, "plugin activate routes");
            until(group, "they reach each other", || {
                peers(group, NODES[0]) == named(&[NODES[1], HUB])
            })
            .await;
            until(group, "they reach each other", || {
                peers(group, NODES[1]) == named(&[NODES[0], HUB])
            })
            .await;
            println!("straight after {:?}", load.flow.goes_on("straight again"));
        }
        load.end();
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
