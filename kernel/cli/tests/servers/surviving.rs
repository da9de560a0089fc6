//! What of the network goes on when an agent is killed, a node dies, or starts while no server is there. What fails is counted.
use crate::{
    churning::{dns_of, of_app, service, set_up},
    group::{NODES, SERVERS, play},
    nodes::{ended, is_ready, until},
    steady::{Flow, Steady, address, lookups, of_pod, page, pages},
    tools::have,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// A node that died is found out after its grace, three seconds here; its endpoints leave within so long.
const FOUND_OUT: Duration = Duration::from_secs(15);

#[test]
fn what_stays_on_a_node_goes_on_while_its_agent_is_dead() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let [other, host] = NODES;
        let (here, there) = (of_pod(group, &clients[1]), of_pod(group, &clients[0]));
        let web = SocketAddr::new(address(&of_app(group, "web", host)[0]), 8080);
        let straight = Steady::begin(&here, "to a pod of the same node", pages(web));
        let elsewhere = Steady::begin(&there, "Service on the other node", {
            let service = service(group);
            move || page(service, Duration::from_secs(1))
        });
        let names = Steady::begin(
            &here,
            "DNS of the node",
            lookups(dns_of(group, host), "web.default.svc.cluster.local"),
        );
        let across = Flow::begin(&there, &here, address(&clients[1]), 9000, "across");
        let within = Flow::begin(
            &of_pod(group, &of_app(group, "web", host)[0]),
            &here,
            address(&clients[1]),
            9001,
            "within",
        );
        [&straight, &elsewhere, &names].into_iter().for_each(Steady::answered);
        across.goes_on("before");
        group.kill(host);
        let killed = Instant::now();
        within.goes_on("while the agent is dead");
        // Shorter than the node's grace: nobody is to think it dead.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        within.goes_on("while the agent is dead");
        group.start_node(host).await;
        println!("the agent was away for {:?}", killed.elapsed());
        println!(
            "the flow across goes on after {:?}",
            across.goes_on("once the agent is back")
        );
        for (what, stream) in [("DNS of the node", &names), ("Service on the other node", &elsewhere)] {
            let tally = stream.tally();
            println!("meanwhile, {what}: {} done, {} failed", tally.done, tally.failed.len());
            stream.anew();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        within.end();
        across.end();
        // What failed meanwhile was what needs the agent: the way to other nodes, and names.
        straight.end_well(200);
        elsewhere.end_well(50);
        names.end_well(50);
        until(group, "the node is ready", || {
            is_ready(group, host) && is_ready(group, other)
        })
        .await;
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}

#[test]
fn the_endpoints_of_a_node_that_died_leave() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let [stays, dies] = NODES;
        let service = service(group);
        let requests = Steady::begin(
            &of_pod(group, &clients[0]),
            &format!("Service from n{stays}"),
            move || page(service, Duration::from_millis(500)),
        );
        requests.answered();
        group.network.cut(dies);
        let cut = Instant::now();
        tokio::time::sleep(FOUND_OUT).await;
        let meanwhile = requests.tally();
        let last = meanwhile.last_failure(cut);
        let (failed, done) = (meanwhile.failed.len(), meanwhile.done);
        println!(
            "{failed} of {} failed, the last one {last:?} after the node died",
            failed + done
        );
        let after = |(at, why): &(Instant, String)| format!("{:?} {why}", at.saturating_duration_since(cut));
        println!("{}", meanwhile.failed.iter().map(after).collect::<Vec<_>>().join(", "));
        assert!(failed > 0, "the dead node had endpoints");
        requests.anew();
        tokio::time::sleep(Duration::from_secs(3)).await;
        requests.end_well(50);
        group.network.mend(dies);
        until(group, "the node is ready again", || is_ready(group, dies)).await;
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}

#[test]
fn a_node_that_starts_while_no_server_is_there_reaches_its_peers() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let [_, host] = NODES;
        let (here, there) = (of_pod(group, &clients[1]), of_pod(group, &clients[0]));
        let flow = Flow::begin(&there, &here, address(&clients[1]), 9000, "across");
        flow.goes_on("before");
        let service = service(group);
        let names = lookups(dns_of(group, host), "web.default.svc.cluster.local");
        // What was wanted last is on disk by then.
        tokio::time::sleep(Duration::from_secs(12)).await;
        (0..SERVERS).for_each(|server| group.kill(server));
        group.kill(host);
        tokio::time::sleep(Duration::from_secs(1)).await;
        group.launch_node(host);
        println!("the flow goes on after {:?}", flow.goes_on("without any server"));
        let requests = Steady::begin(&here, "Service, without any server", pages(service));
        let names = Steady::begin(&here, "DNS, without any server", names);
        [&requests, &names].into_iter().for_each(Steady::answered);
        tokio::time::sleep(Duration::from_secs(2)).await;
        requests.end_well(50);
        names.end_well(50);
        group.start_all().await;
        group.settled().await;
        until(group, "the node is ready", || is_ready(group, host)).await;
        flow.end();
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}

#[test]
fn a_transfer_lives_through_changes_of_a_nodes_address() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let (near, far) = (of_pod(group, &clients[0]), of_pod(group, &clients[1]));
        let flow = Flow::begin(&near, &far, address(&clients[1]), 9000, "across");
        let requests = Steady::begin(&near, "Service", pages(service(group)));
        requests.answered();
        flow.goes_on("before");
        // Of the two the second was dialled, and then the one that had dialled moves.
        for host in [NODES[1], NODES[0]] {
            let to = format!("10.231.0.{}", 110 + host);
            group.network.readdress(host, &to);
            println!(
                "n{host} has moved, and the flow goes on after {:?}",
                flow.goes_on("elsewhere")
            );
            until(group, "its object says so", || {
                group.ok(0, &format!("get node n{host} -o json")).contains(&to)
            })
            .await;
            until(group, "it is reached there", || {
                group.run(0, "get peers").out.contains(&to)
            })
            .await;
            until(group, "it is ready", || is_ready(group, host)).await;
            flow.goes_on("once all know");
            requests.anew();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(requests.tally().failed.is_empty(), "{:?}", requests.tally());
        }
        requests.end_well(10);
        flow.end();
        let pod = clients[1]["metadata"]["name"].as_str().unwrap();
        group.ok(0, &format!("logs {pod}"));
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}
