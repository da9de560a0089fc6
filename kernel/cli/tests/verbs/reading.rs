//! Verbs that read.
use crate::stage::{NGINX, PATIENCE, Stage, sampan};
use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::Stdio,
};

#[test]
fn get_in_all_forms() {
    let stage = Stage::new();
    let empty = stage.run("get pods");
    assert_eq!(
        (empty.code, empty.err.as_str()),
        (0, "No resources found in default namespace.\n"),
        "{empty:?}"
    );
    stage.feed("apply -f -", NGINX);
    stage.until("get pods -o name", |out| out.lines().count() == 3);
    let pods = stage.ok("get po");
    assert!(
        pods.starts_with("NAME ") && pods.contains("   READY   STATUS    RESTARTS   AGE\n"),
        "{pods}"
    );
    assert_eq!(pods.matches("   0/1     Pending   0          ").count(), 3, "{pods}");
    let all = stage.ok("get all");
    for part in [
        "pod/nginx-deployment-",
        "\n\nNAME ",
        "deployment.apps/nginx-deployment ",
        "replicaset.apps/nginx-deployment-",
    ] {
        assert!(all.contains(part), "{all}");
    }
    let wide = stage.ok("get deploy -A -o wide --show-labels");
    assert!(
        wide.starts_with("NAMESPACE   NAME ") && wide.contains("nginx:1.14.2   app=nginx   app=nginx\n"),
        "{wide}"
    );
    let yaml = stage.ok("get deploy/nginx-deployment -o yaml");
    assert!(
        yaml.starts_with("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n"),
        "{yaml}"
    );
    assert!(
        yaml.contains("      containers:\n      - image: nginx:1.14.2\n"),
        "{yaml}"
    );
    assert_eq!(
        stage.ok("get deploy -o jsonpath={.items[0].metadata.labels.app}"),
        "nginx"
    );
    let columns = stage.ok("get deploy -o custom-columns=NAME:.metadata.name,WANTED:.spec.replicas");
    assert_eq!(columns, "NAME               WANTED\nnginx-deployment   3\n");
    assert_eq!(stage.ok("get pods -l app=other -o name"), "");
    assert_eq!(stage.ok("get pods --field-selector status.phase=Running -o name"), "");
    let both = stage.run("get deploy nginx-deployment nothing");
    assert_eq!(both.code, 1, "{both:?}");
    assert!(
        both.out.contains("nginx-deployment")
            && both.err == "Error from server (NotFound): deployments.apps \"nothing\" not found\n",
        "{both:?}"
    );
}

#[test]
fn a_watch_shows_what_changes() {
    let stage = Stage::new();
    stage.ok("create configmap first --from-literal=a=1");
    let mut child = sampan(stage.dir.path())
        .args(["get", "cm", "-w", "--output-watch-events"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || lines.recv_timeout(PATIENCE).expect("the watch says something");
    assert!(next().starts_with("EVENT   NAME    DATA   AGE"));
    assert!(next().starts_with("ADDED   first   1      "));
    stage.ok("create configmap other --from-literal=a=1");
    assert!(next().starts_with("ADDED   other   1      "));
    stage.ok("delete cm first");
    assert!(next().starts_with("DELETED   first   1      "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn describe_and_events_tell_the_story() {
    let stage = Stage::new();
    stage.feed("apply -f -", NGINX);
    stage.until("get pods -o name", |out| out.lines().count() == 3);
    let page = stage.ok("describe deploy nginx");
    assert!(
        page.starts_with("Name:                   nginx-deployment\nNamespace:              default\n"),
        "{page}"
    );
    assert!(page.contains("NewReplicaSet:   nginx-deployment-"), "{page}");
    stage.until("events", |out| {
        out.contains("deployment/nginx-deployment") || out.contains("pod/nginx-deployment-")
    });
    stage.until("describe pods -l app=nginx", |out| out.contains("FailedScheduling"));
    assert!(stage.ok("events --types=Warning").contains("FailedScheduling"));
    let refused = stage.refused("describe deploy nothing");
    assert_eq!(
        refused,
        "Error from server (NotFound): deployments.apps \"nothing\" not found\n"
    );
}

#[test]
fn events_say_how_often_they_repeated() {
    let mut stage = Stage::new();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: lonely}\nspec: {containers: [{name: a, image: a}]}\n";
    stage.feed("create -f -", pod);
    let told = stage.until("events --for=pod/lonely", |out| out.contains("FailedScheduling"));
    assert!(told.starts_with("LAST SEEN ") && !told.contains("(x"), "{told}");
    // Who tells it again counts on from what was told.
    stage.stop();
    stage.again();
    let told = stage.until("events --for=pod/lonely", |out| out.contains("(x2 over "));
    assert_eq!(told.matches("FailedScheduling").count(), 1, "{told}");
    assert!(!stage.ok("get events").contains("(x2"), "as kubectl's get");

    let event = "apiVersion: v1\nkind: Event\nmetadata: {name: e}\ntype: Warning\nreason: BackOff\nmessage: again\ncount: 5\n\
                 firstTimestamp: 2020-01-01T00:00:00Z\nlastTimestamp: 2020-01-05T00:00:00Z\n\
                 involvedObject: {kind: Pod, name: other}\n";
    stage.feed("create -f -", event);
    let line = stage.ok("events -A --for=pod/other --no-headers");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words[2], words[3]), ("default", "(x5", "over"), "{line}");
    assert!(words[1].contains('y') && words[4].ends_with(')'), "{line}");
}

#[test]
fn forwarded_ports_are_those_of_both_loopbacks() {
    let stage = Stage::new();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: a}]}\n";
    stage.feed("create -f -", pod);
    let mut wanted = vec!["127.0.0.1"];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => wanted.push("[::1]"),
        Err(error) => eprintln!("SKIPPED: no IPv6 here: {error}"),
    }
    for (address, wanted) in [
        ("localhost", wanted),
        ("127.0.0.3,127.0.0.2", vec!["127.0.0.3", "127.0.0.2"]),
    ] {
        let mut child = sampan(stage.dir.path())
            .args(["port-forward", "pod/p", ":80", "--address", address])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ports = Vec::new();
        for at in &wanted {
            let line = lines.next().unwrap().unwrap();
            let port = line
                .strip_prefix(&format!("Forwarding from {at}:"))
                .and_then(|rest| rest.strip_suffix(" -> 80"));
            ports.push(port.unwrap_or_else(|| panic!("{at}: {line}")).to_owned());
            drop(TcpStream::connect(format!("{at}:{}", ports[0])).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }
}

#[test]
fn wait_knows_conditions_paths_and_time() {
    let stage = Stage::new();
    stage.feed("apply -f -", NGINX);
    assert_eq!(
        stage.ok("wait --for=jsonpath={.status.replicas}=3 deploy/nginx-deployment"),
        "deployment.apps/nginx-deployment condition met\n"
    );
    let refused = stage.refused("wait --for=condition=Ready pod -l app=nginx --timeout=300ms");
    assert!(
        refused.contains("error: timed out waiting for the condition on pods/nginx-deployment-"),
        "{refused}"
    );
    assert_eq!(
        stage.refused("wait --for=condition=Ready pod/none"),
        "Error from server (NotFound): pods \"none\" not found\n"
    );
    assert!(
        stage
            .refused("wait --for=condition=Ready jobs --all")
            .contains("no matching resources found")
    );
}

#[test]
fn plugins_and_the_cluster_itself() {
    let stage = Stage::new();
    let list = stage.ok("plugin list");
    assert!(
        list.starts_with("NAME ") && list.contains("scheduler") && list.contains("spread") && list.contains("binpack"),
        "{list}"
    );
    assert_eq!(stage.ok("get plugins scheduler -o jsonpath={.spec.mode}"), "Active");
    assert!(
        stage
            .ok("plugin activate binpack")
            .starts_with("plugin.sampan.dev/binpack activated")
    );
    assert_eq!(stage.ok("get plugins scheduler -o jsonpath={.spec.mode}"), "LastGood");
    stage.ok("plugin rollback binpack");
    assert_eq!(stage.ok("get plugins scheduler -o jsonpath={.spec.mode}"), "Active");
    let page = stage.ok("plugin describe scheduler");
    assert!(page.contains("World:") && page.contains("Figures:"), "{page}");
    failed_on_a_node(&stage);
    let file = stage.file("no.wasm", "this is no component");
    let refused = stage.refused(&format!("plugin load {file} --name no"));
    assert!(refused.contains("no WebAssembly component"), "{refused}");
    let status = stage.ok("status");
    assert!(
        status.contains("Cluster:") && status.contains("0 of 0 ready"),
        "{status}"
    );
    assert!(stage.ok("version").contains("Server Version: v"));
    assert_eq!(stage.ok("config current-context"), "sampan\n");
}

/// What nodes say of a plugin that they run is to be seen where plugins are.
fn failed_on_a_node(stage: &Stage) {
    let uid = stage.ok("get plugin routes -o jsonpath={.metadata.uid}");
    let event = format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: routes.1}}\ntype: Warning\nreason: PluginFailed\nmessage: it trapped\n\
         source: {{component: kubelet, host: h1}}\nlastTimestamp: 2020-01-05T00:00:00Z\n\
         involvedObject: {{kind: Plugin, apiVersion: sampan.dev/v1, name: routes, uid: {uid}}}\n"
    );
    assert_eq!(stage.feed("create -f -", &event).code, 0);
    let list = stage.ok("plugin list");
    let line = |start: &str| list.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("NAME ").ends_with("FAILED ON"), "{list}");
    assert!(
        line("routes ").contains("   h1 (") && line("routes ").ends_with(" ago)"),
        "{list}"
    );
    assert!(line("scheduler ").ends_with("<none>"), "{list}");
    let page = stage.ok("plugin describe routes");
    assert!(page.contains("it trapped") && !page.contains("Calls:"), "{page}");
}

#[test]
fn a_pod_is_explained() {
    let stage = Stage::new();
    let pod = stage.file(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: lonely}\nspec: {containers: [{name: c, image: i}]}\n",
    );
    stage.ok(&format!("apply -f {pod}"));
    // Until the policy is compiled nobody explains.
    let said = stage.until("explain pod lonely --scheduling", |said| !said.is_empty());
    assert!(
        said.starts_with("pod/lonely waits (policy scheduler): 0/0 nodes are available. Remedy: add a node"),
        "{said}"
    );
    let json = stage.ok("explain pod/lonely --scheduling -o json");
    assert!(json.contains("\"kind\": \"SchedulingExplanation\""), "{json}");
    assert!(
        stage
            .refused("explain node n --scheduling")
            .contains("policies decide about pods")
    );
    assert!(stage.refused("explain pod none --scheduling").contains("not found"));
}
