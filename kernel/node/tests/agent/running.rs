//! Pods run, and tell how.
use crate::{
    plane::manifest,
    support::{Bench, SLEEP, container},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_goes_without_a_trace() {
    let Some(bench) = Bench::start().await else { return };
    let node = bench.plane.get("nodes", "n1").unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert!(
        node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            .as_u64()
            .unwrap()
            > 0
    );

    let pod = bench.create_script(
        "web",
        "Always",
        &format!("echo hello from $HOSTNAME $FROM_IMAGE; {SLEEP}"),
    );
    let running = bench.plane.until_phase("web", "Running").await;
    let status = &running["status"];
    assert!(status["podIP"].as_str().unwrap().starts_with("10.231."), "{status:#}");
    let container = &status["containerStatuses"][0];
    assert_eq!(
        (&container["ready"], &container["restartCount"]),
        (&json!(true), &json!(0))
    );
    assert!(
        container["imageID"].as_str().unwrap().contains("busybox@sha256:"),
        "{container:#}"
    );
    assert!(container["state"]["running"]["startedAt"].is_string());
    bench.until_log(&pod, "hello from web yes").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let events = bench.plane.events("web").join("\n");
    for event in [
        "Pulled: Container image",
        "Created: Created container main",
        "Started: Started container main",
    ] {
        assert!(events.contains(event), "{event} is not in {events}");
    }

    bench.plane.delete("pods", "web", 30);
    let begun = Instant::now();
    bench.plane.until_gone("web").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "it heeded its signal");
    bench.until_clean().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_with_their_codes() {
    let Some(bench) = Bench::start().await else { return };
    let pod = bench.create_script("good", "Never", "echo done");
    bench.create_script("bad", "Never", "exit 7");
    bench.create_pod(
        "none",
        json!({"restartPolicy": "Never", "containers": [
        {"name": "main", "image": "busybox:1", "command": ["/nope"]}]}),
    );
    let ended = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    let good = ended(&bench.plane.until_phase("good", "Succeeded").await);
    assert_eq!((&good["exitCode"], &good["reason"]), (&json!(0), &json!("Completed")));
    let bad = ended(&bench.plane.until_phase("bad", "Failed").await);
    assert_eq!((&bad["exitCode"], &bad["reason"]), (&json!(7), &json!("Error")));
    let none = ended(&bench.plane.until_phase("none", "Failed").await);
    assert_eq!(
        (&none["exitCode"], &none["reason"]),
        (&json!(128), &json!("StartError"))
    );
    assert!(none["message"].as_str().unwrap().contains("/nope"), "{none}");
    assert_eq!(bench.log(&pod, 0), "done\n", "the log outlives the sandbox");
    for pod in ["good", "bad", "none"] {
        bench.plane.delete("pods", pod, 30);
        bench.plane.until_gone(pod).await;
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_restarted_and_then_backed_off_from() {
    let Some(bench) = Bench::start().await else { return };
    bench.create_script("crash", "Always", "echo run; exit 3");
    let waits = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    let pod = bench.plane.until("pods", "crash", waits).await;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        (
            &container["restartCount"],
            &container["lastState"]["terminated"]["exitCode"]
        ),
        (&json!(1), &json!(3))
    );
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(
        (bench.log(&pod, 0), bench.log(&pod, 1)),
        ("run\n".into(), "run\n".into())
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn specs_become_environment_files_users_and_limits() {
    let Some(bench) = Bench::start().await else { return };
    bench.plane.create(&manifest(
        "ConfigMap",
        "conf",
        json!({"data": {"level": "debug", "app.conf": "x=1"}}),
    ));
    bench
        .plane
        .create(&manifest("Secret", "pw", json!({"data": {"password": "aHVudGVyMg=="}})));
    let script = "echo $LEVEL $PW $IP $GREETING; cat /conf/app.conf; echo; ls -l /secret/password; id -u; id -G; \
                  echo x > /mem/x && ls /mem; touch /ro 2>&1; cat /etc/hostname; cat /proc/self/status | grep CapEff";
    let mut main = container("main", script);
    main["env"] = json!([
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "level"}}},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "pw", "key": "password"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "GREETING", "value": "hi-$(LEVEL)"}]);
    main["volumeMounts"] = json!([{"name": "conf", "mountPath": "/conf"}, {"name": "secret", "mountPath": "/secret"},
        {"name": "mem", "mountPath": "/mem"}]);
    main["securityContext"] =
        json!({"runAsUser": 1000, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    main["resources"] = json!({"limits": {"cpu": "500m", "memory": "64Mi"}});
    let pod = bench.create_pod(
        "full",
        json!({
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": 2000},
        "containers": [main],
        "volumes": [{"name": "conf", "configMap": {"name": "conf"}},
            {"name": "secret", "secret": {"secretName": "pw", "defaultMode": 0o400}},
            {"name": "mem", "emptyDir": {"medium": "Memory"}}]}),
    );
    let done = bench
        .plane
        .until("pods", "full", |pod| {
            matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        })
        .await;
    let log = bench.log(&pod, 0);
    assert!(
        !log.is_empty(),
        "{:#}\n{:#?}",
        done["status"],
        bench.plane.events("full")
    );
    let ip = done["status"]["podIP"].as_str().unwrap();
    assert!(log.contains(&format!("debug hunter2 {ip} hi-debug\nx=1\n")), "{log}");
    assert!(log.contains("-r--r-----"), "{log}");
    assert!(log.contains("\n1000\n") && log.contains("2000"), "{log}");
    assert!(log.contains("Read-only file system") && log.contains("full\n"), "{log}");
    assert!(log.contains("CapEff:\t0000000000000000"), "{log}");
    assert_eq!(done["status"]["qosClass"], "Guaranteed");
    bench.plane.delete("pods", "full", 5);
    bench.plane.until_gone("full").await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_memory_is_kept() {
    let Some(bench) = Bench::start().await else { return };
    let mut main = container(
        "main",
        "cat /dev/zero | head -c 400m | tail -c 300m | wc -c; echo code $?; sleep 1",
    );
    main["resources"] = json!({"limits": {"memory": "24Mi"}});
    // The first process is what is killed.
    main["command"] = json!(["/bin/busybox", "tail", "-c", "300m", "/dev/zero"]);
    bench.create_pod("hungry", json!({"restartPolicy": "Never", "containers": [main]}));
    let pod = bench.plane.until_phase("hungry", "Failed").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["reason"]),
        (&json!(137), &json!("OOMKilled"))
    );
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_waited_for() {
    let Some(bench) = Bench::start().await else { return };
    let mut main = container("main", SLEEP);
    main["env"] = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]);
    bench.create_pod("waits", json!({"containers": [main]}));
    let reason = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    let message = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"].clone();
    let pod = bench
        .plane
        .until("pods", "waits", |pod| reason(pod) == "CreateContainerConfigError")
        .await;
    assert_eq!(message(&pod), "configmap \"late\" not found");
    bench
        .plane
        .create(&manifest("ConfigMap", "late", json!({"data": {"other": "x"}})));
    let pod = bench
        .plane
        .until("pods", "waits", |pod| message(pod) != "configmap \"late\" not found")
        .await;
    assert_eq!(message(&pod), "couldn't find key k in ConfigMap default/late");

    bench.create_pod(
        "image",
        json!({"containers": [
        {"name": "main", "image": "nothere:1", "imagePullPolicy": "Never"}]}),
    );
    bench
        .plane
        .until("pods", "image", |pod| reason(pod) == "ErrImageNeverPull")
        .await;
    bench.create_pod("bad", json!({"containers": [{"name": "main", "image": "Bad:Name:x"}]}));
    bench
        .plane
        .until("pods", "bad", |pod| reason(pod) == "InvalidImageName")
        .await;
    for pod in ["waits", "image", "bad"] {
        bench.plane.delete("pods", pod, 0);
    }
    bench.until_clean().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_sidecars_and_probes() {
    let Some(bench) = Bench::start().await else { return };
    let mut sidecar = container("proxy", SLEEP);
    sidecar["restartPolicy"] = json!("Always");
    let mut web = container(
        "web",
        "mkdir -p /www; echo ok > /www/index.html; sleep 0.3; exec httpd -f -p 8080 -h /www",
    );
    web["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    web["readinessProbe"] = json!({"httpGet": {"path": "/index.html", "port": "http"}});
    web["livenessProbe"] = json!({"tcpSocket": {"port": 8080}, "initialDelaySeconds": 2});
    bench.create_pod(
        "all",
        json!({
        "initContainers": [container("init", "exit 0"), sidecar],
        "containers": [web], "terminationGracePeriodSeconds": 1}),
    );
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let begun = Instant::now();
    let pod = bench.plane.until("pods", "all", ready).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(250) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(
        pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"],
        0
    );
    assert!(pod["status"]["initContainerStatuses"][1]["state"]["running"].is_object());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_created_to_running_in_milliseconds() {
    let Some(bench) = Bench::start().await else { return };
    let mut times = Vec::new();
    for number in 0..20 {
        let name = format!("quick-{number}");
        let begun = Instant::now();
        bench.create_script(&name, "Always", SLEEP);
        bench.plane.until_phase(&name, "Running").await;
        times.push(bench.plane.phase_time(&name, "Running").unwrap() - begun);
        bench.plane.delete("pods", &name, 5);
        bench.plane.until_gone(&name).await;
    }
    times.sort();
    eprintln!("created to running: median {:?}, longest {:?}", times[10], times[19]);
    bench.finish().await;
}
