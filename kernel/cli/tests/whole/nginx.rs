//! The nginx Deployment of the Kubernetes tutorials, through its whole life, with an image that other tools made and
//! pushed to a real registry.
use crate::{
    cluster::{Cluster, get, is_root},
    registry::{Registry, TOOLS},
    stage::NGINX,
    tools::have,
};
use std::collections::BTreeSet;

const DEPLOYMENT: &str = "deployment/nginx-deployment";

/// The addresses of the pods that are there to stay, each of which must answer with a page.
fn all_answer(cluster: &Cluster, count: usize, page: &str) -> BTreeSet<String> {
    let pods = cluster.list("pods -l app=nginx");
    assert_eq!(pods.len(), count, "{pods:#?}");
    for pod in &pods {
        let address = format!("{}:80", pod["status"]["podIP"].as_str().unwrap());
        let answer = get(&address);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains(page),
            "{address}: {answer}"
        );
    }
    pods.iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn rolled_out(cluster: &Cluster) {
    let said = cluster.ok(&format!("rollout status {DEPLOYMENT} --timeout=60s"));
    assert!(said.contains("successfully rolled out"), "{said}");
}

#[test]
fn the_tutorials_nginx_lives_its_life() {
    if !have(&TOOLS) || !is_root() {
        return;
    }
    let registry = Registry::start();
    registry.push_nginx("1.14.2", None);
    registry.push_nginx("1.16.1", Some("a newer page"));
    registry.push_busybox("latest");
    // No mirror stands for the public registry here, so images are named by where they are, as users of one do.
    let host = registry.host.as_str();
    let manifest = NGINX.replace("image: nginx", &format!("image: {host}/nginx"));

    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir, &["--insecure-registry", host]);
    let pulled = cluster.ok(&format!("image pull {host}/nginx:1.14.2"));
    assert!(pulled.contains("pulled on n1: sha256:"), "{pulled}");
    assert!(cluster.ok("image ls").contains(&format!("{host}/nginx:1.14.2")));

    let applied = cluster.feed("apply -f -", &manifest);
    assert_eq!(applied.out, "deployment.apps/nginx-deployment created\n", "{applied:?}");
    rolled_out(&cluster);
    all_answer(&cluster, 3, "Welcome to nginx!");
    cluster.until("logs -l app=nginx --tail=-1", |log| {
        log.contains("\"GET / HTTP/1.1\" 200")
    });
    let list = cluster.ok("get deployments");
    assert!(list.contains("nginx-deployment   3/3     3            3 "), "{list}");

    cluster.ok(&format!("scale {DEPLOYMENT} --replicas=5"));
    rolled_out(&cluster);
    all_answer(&cluster, 5, "Welcome to nginx!");
    cluster.ok(&format!("scale {DEPLOYMENT} --replicas=2"));
    cluster.until("get pods -l app=nginx -o name", |pods| pods.lines().count() == 2);
    all_answer(&cluster, 2, "Welcome to nginx!");

    // The node fetches by itself what it lacks.
    let newer = cluster.feed(
        "apply -f -",
        &manifest
            .replace("1.14.2", "1.16.1")
            .replace("replicas: 3", "replicas: 2"),
    );
    assert_eq!(newer.out, "deployment.apps/nginx-deployment configured\n", "{newer:?}");
    rolled_out(&cluster);
    all_answer(&cluster, 2, "a newer page");
    let events = cluster.until("events", |events| events.contains("Successfully pulled image"));
    assert!(events.contains(&format!("{host}/nginx:1.16.1")), "{events}");
    assert!(cluster.ok(&format!("rollout history {DEPLOYMENT}")).lines().count() >= 4);

    cluster.ok(&format!("rollout undo {DEPLOYMENT}"));
    rolled_out(&cluster);
    let before = all_answer(&cluster, 2, "Welcome to nginx!");
    cluster.ok(&format!("rollout restart {DEPLOYMENT}"));
    rolled_out(&cluster);
    let after = all_answer(&cluster, 2, "Welcome to nginx!");
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");

    cluster.note();
    busybox_says_hello(&cluster, host);
    missing_images_are_told(&cluster, host);
    cluster.ok("delete deployment,pod --all");
    cluster.until("get deploy,rs,pods -o name", str::is_empty);
    cluster.finish();
}

/// A pod whose image has no tag: the newest, which the registry is asked for at each start.
fn busybox_says_hello(cluster: &Cluster, host: &str) {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: busybox\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - name: busybox\n    image: {host}/busybox\n    command: [sh, -c, 'echo Hello, Kubernetes! && sleep 600']\n"
    );
    cluster.feed("apply -f -", &pod);
    cluster.ok("wait --for=condition=Ready pod/busybox --timeout=60s");
    assert_eq!(
        cluster.until("logs busybox", |log| !log.is_empty()),
        "Hello, Kubernetes!\n"
    );
    let policy = cluster.ok("describe pod busybox");
    assert!(policy.contains("Successfully pulled image"), "{policy}");
}

fn missing_images_are_told(cluster: &Cluster, host: &str) {
    let refused = cluster.refused(&format!("image pull {host}/nginx:none"));
    assert!(
        refused.contains(&format!("{host}/nginx:none")) && refused.contains("not found"),
        "{refused}"
    );
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: missing}}\nspec:\n  \
         containers: [{{name: c, image: \"{host}/nginx:none\"}}]\n"
    );
    cluster.feed("apply -f -", &pod);
    cluster.until("get pods missing", |row| {
        row.contains("ErrImagePull") || row.contains("ImagePullBackOff")
    });
    cluster.until("events --types=Warning", |events| {
        events.contains(&format!("{host}/nginx:none"))
    });
}
