//! Whom the node takes on: no pod that wants what another here has, and no more than it has addresses for.
use crate::support::{Bench, SLEEP, container};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pods_with_one_port_of_the_node_the_second_is_turned_away() {
    let Some(mut bench) = Bench::start().await else { return };
    let with_port = |port: serde_json::Value| {
        let mut main = container("main", SLEEP);
        main["ports"] = json!([port]);
        json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 1, "containers": [main]})
    };
    let taken = json!({"containerPort": 80, "hostPort": 38080, "hostIP": "192.0.2.1"});
    bench.create_pod("first", with_port(taken));
    bench.plane.until_phase("first", "Running").await;
    bench.create_pod("second", with_port(json!({"containerPort": 81, "hostPort": 38080})));
    let failed = bench.plane.until_phase("second", "Failed").await;
    let why = "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: \
               38080/TCP is that of pod default/first";
    let status = &failed["status"];
    assert_eq!(
        (&status["reason"], &status["message"]),
        (&json!("NodePorts"), &json!(why))
    );
    assert_eq!(
        status["containerStatuses"],
        Value::Null,
        "nothing of it was begun: {status:#}"
    );
    for _ in 0..100 {
        if bench.plane.events("second").concat().contains("NodePorts") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let events = bench.plane.events("second");
    assert!(events.concat().contains("Predicate NodePorts failed"), "{events:?}");
    // Another protocol and another address are other ports.
    bench.create_pod(
        "udp",
        with_port(json!({"containerPort": 80, "hostPort": 38080, "protocol": "UDP"})),
    );
    bench.create_pod(
        "beside",
        with_port(json!({"containerPort": 80, "hostPort": 38080, "hostIP": "192.0.2.2"})),
    );
    for name in ["udp", "beside"] {
        bench.plane.until_phase(name, "Running").await;
    }
    // Who has ended holds nothing.
    let mut done = with_port(json!({"containerPort": 80, "hostPort": 38081}));
    done["restartPolicy"] = "Never".into();
    done["containers"][0]["command"] = json!(["true"]);
    bench.create_pod("done", done);
    bench.plane.until_phase("done", "Succeeded").await;
    bench.create_pod("after", with_port(json!({"containerPort": 80, "hostPort": 38081})));
    bench.plane.until_phase("after", "Running").await;
    // It stays turned away, by a new agent too; who comes when the port is free has it.
    bench.agent.take().unwrap().shutdown(false).await;
    bench.start_agent().await;
    bench.plane.delete("pods", "first", 0);
    bench.plane.delete("pods", "beside", 0);
    for name in ["first", "beside"] {
        bench.plane.until_gone(name).await;
    }
    assert_eq!(bench.plane.get("pods", "second").unwrap()["status"]["phase"], "Failed");
    bench.create_pod("third", with_port(json!({"containerPort": 81, "hostPort": 38080})));
    bench.plane.until_phase("third", "Running").await;
    bench.finish().await;
}

#[tokio::test]
async fn a_node_says_no_more_pods_than_its_range_has_addresses_for() {
    for (range, rootless, pods) in [
        ("10.231.200.0/29", false, "5"),
        ("10.231.200.0/22", false, "250"),
        ("10.231.200.0/29", true, "250"),
    ] {
        if !rootless && !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: {range} needs root");
            continue;
        }
        let mut bench = Bench::prepare(rootless).await;
        bench.config.pod_cidr = range.to_owned();
        bench.config.control_plane = pods == "5";
        bench.start_agent().await;
        let node = bench.plane.get("nodes", "n1").unwrap();
        let status = &node["status"];
        assert_eq!(
            (&status["capacity"]["pods"], &status["allocatable"]["pods"]),
            (&json!(pods), &json!(pods)),
            "{range}"
        );
        // Which machine a server is on, too, is to be seen.
        let role = &node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"];
        assert_eq!(role.is_string(), pods == "5", "{role}");
        bench.finish().await;
    }
}
