//! What a network plugin would change, told without changing it.
use super::*;

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
    play_under_load(async |group, _, load| {
        let load_one = |file: &str, name: &str, config: &str| {
            let config = format!("--plugin-config {config}");
            group.ok(0, &format!("plugin load {file} --name {name} --slot routes {config}"));
        };
        load_hub(group);
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
    });
}

#[test]
fn a_node_that_is_away_is_said_to_be_when_plugins_are_compared() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, _) = set_up_on(group, &ALL).await;
        load_hub(group);
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
