//! Which addresses pods get: what the plugin in the slot `ipam` says, and, where none does well, what the node gives itself.
use crate::{
    cluster::{Cluster, SLEEP, is_root},
    tools::have,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A cluster with pods.
struct Play {
    cluster: Cluster,
    /// What the addresses of its pods begin with: `10.193.7.`
    prefix: String,
}

impl Play {
    fn start() -> Option<Self> {
        if !have(&["busybox"]) || !is_root() {
            return None;
        }
        let cluster = Cluster::start(tempfile::tempdir().unwrap(), &[]);
        cluster.load_busybox("busybox:1");
        let node: Value = serde_json::from_str(&cluster.ok("get node n1 -o json")).unwrap();
        let range = node["spec"]["podCIDR"].as_str().unwrap();
        let prefix = range.strip_suffix("0/24").unwrap().to_owned();
        Some(Play { cluster, prefix })
    }

    fn address(&self, last: u8) -> String {
        format!("{}{last}", self.prefix)
    }

    fn create(&self, name: &str, address: Option<&str>) {
        let mut annotations = BTreeMap::new();
        annotations.extend(address.map(|address| ("sampan.dev/ip-address", address)));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "busybox:1", "command": ["sh", "-c", SLEEP]}]}});
        let done = self.cluster.feed("apply -f -", &pod.to_string());
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// The address of a pod that runs.
    fn running(&self, name: &str) -> String {
        let runs = |text: &str| text.contains("\"phase\": \"Running\"");
        let pod = self.cluster.until(&format!("get pod {name} -o json"), runs);
        let pod: Value = serde_json::from_str(&pod).unwrap();
        pod["status"]["podIP"].as_str().unwrap().to_owned()
    }

    /// Messages of events about an object, and how often each was said.
    fn events(&self, of: &str, reason: &str) -> Vec<(String, u64)> {
        let list: Value = serde_json::from_str(&self.cluster.ok("get events -o json")).unwrap();
        let about = |event: &&Value| event["involvedObject"]["name"] == of && event["reason"] == reason;
        let found = list["items"].as_array().unwrap().iter().filter(about);
        let said = |event: &Value| {
            let message = event["message"].as_str().unwrap().to_owned();
            (message, event["count"].as_u64().unwrap_or(1))
        };
        found.map(said).collect()
    }

    /// Waits until a pod waits for the reason that words say.
    fn waits(&self, name: &str, words: &str) {
        self.cluster.until("get events -o json", |_| {
            let events = self.events(name, "FailedCreatePodSandBox");
            events.iter().any(|(message, _)| message.contains(words))
        });
        let pod: Value = serde_json::from_str(&self.cluster.ok(&format!("get pod {name} -o json"))).unwrap();
        assert_eq!(pod["status"]["phase"], "Pending", "{pod}");
    }

    /// How a plugin is loaded that misbehaves.
    fn loading(&self, name: &str, how: &str) -> String {
        let bytes = sampan_builtin::component(sampan_builtin::HOSTILE, "hostile-ipam").unwrap();
        let path = self.cluster.dir.path().join("hostile-ipam.wasm");
        std::fs::write(&path, bytes).unwrap();
        let config = format!("{{\"how\":\"{how}\"}}");
        format!("plugin load {} --name {name} --plugin-config {config}", path.display())
    }

    fn load(&self, name: &str, how: &str) {
        let loading = self.loading(name, how);
        self.cluster.ok(&format!("{loading} --activate"));
    }
}

#[test]
fn a_pod_has_the_address_that_it_names_or_says_why_not() {
    let Some(mut play) = Play::start() else { return };
    let (fixed, far) = (play.address(50), "10.9.9.9");
    play.create("fixed", Some(&fixed));
    assert_eq!(play.running("fixed"), fixed);
    play.create("any", None);
    assert_ne!(play.running("any"), fixed);
    play.create("second", Some(&fixed));
    play.waits("second", &format!("{fixed} is taken by the pod default/fixed"));
    play.create("far", Some(far));
    play.waits("far", "10.9.9.9 is not in");
    // The next agent finds who has it.
    play.cluster.note();
    play.cluster.kill();
    play.cluster.again();
    assert_eq!(play.running("fixed"), fixed);
    play.create("third", Some(&fixed));
    play.waits("third", &format!("{fixed} is taken by the pod default/fixed"));
    play.cluster.ok("delete pod third");
    // Whoever waits for it has it when it is free.
    play.cluster.ok("delete pod fixed");
    assert_eq!(play.running("second"), fixed);
    play.cluster.finish();
}

#[test]
fn hostile_plugins_give_no_pod_a_wrong_address() {
    let Some(play) = Play::start() else { return };
    let mut known = BTreeMap::new();
    play.create("first", None);
    known.insert("first".to_owned(), play.running("first"));
    for how in ["trap", "outside", "node", "taken", "loop"] {
        let name = format!("hostile-{how}");
        play.load(&name, how);
        let given_up = || {
            let events = play.events(&name, "PluginFailed");
            events.iter().any(|(message, _)| message.contains("not asked again"))
        };
        for number in 0.. {
            assert!(
                number < 30,
                "{how} is not given up: {:?}",
                play.events(&name, "PluginFailed")
            );
            let pod = format!("{how}-{number}");
            play.create(&pod, None);
            let address = play.running(&pod);
            assert!(address.starts_with(&play.prefix), "{how}: {address}");
            assert!(![play.address(0), play.address(1), play.address(255)].contains(&address));
            assert!(
                !known.values().any(|one| *one == address),
                "{how}: {address} is given twice"
            );
            known.insert(pod, address);
            if given_up() {
                break;
            }
        }
        let failures: u64 = play.events(&name, "PluginFailed").iter().map(|(_, count)| count).sum();
        assert_eq!(failures, 3, "{how}: three tries");
        let list = play.cluster.ok("plugin list");
        let line = list.lines().find(|line| line.starts_with(&name)).unwrap();
        assert!(line.contains("  n1 (") && line.ends_with(" ago)"), "{list}");
        // The last good one is asked in its place.
        let fixed = play.address(200);
        play.create("fixed", Some(&fixed));
        assert_eq!(play.running("fixed"), fixed, "{how}");
        play.cluster.ok("delete pod fixed");
        play.cluster
            .until("get pods -o name", |pods| !pods.contains("pod/fixed"));
        play.cluster.ok("plugin activate ipam");
        play.cluster.ok(&format!("plugin remove {name}"));
    }
    // Whoever decided: pods keep what they have.
    for (pod, address) in &known {
        assert_eq!(play.running(pod), *address);
    }
    play.cluster.finish();
}

#[test]
fn a_plugin_that_refuses_lets_pods_wait_and_its_successor_serves_them() {
    let Some(play) = Play::start() else { return };
    play.create("before", None);
    let before = play.running("before");
    let elsewhere = play
        .cluster
        .refused(&format!("{} --slot other", play.loading("other", "refuse")));
    assert!(elsewhere.contains("fill the slot \"ipam\""), "{elsewhere}");
    play.load("refuses", "refuse");
    for verb in ["shadow", "diff"] {
        let said = play.cluster.refused(&format!("plugin {verb} ipam"));
        assert!(said.contains("gives pods their addresses"), "{verb}: {said}");
    }
    // Until it is seated the one before it is asked.
    let refused = (0..30).find(|number| {
        let name = format!("pod-{number}");
        play.create(&name, None);
        let text = play.cluster.until(&format!("get pod {name} -o json"), |text| {
            text.contains("\"phase\": \"Running\"") || !play.events(&name, "FailedCreatePodSandBox").is_empty()
        });
        !text.contains("\"phase\": \"Running\"")
    });
    let name = format!("pod-{}", refused.expect("a pod is refused"));
    play.waits(&name, &format!("{name} is not liked"));
    assert!(
        play.events("refuses", "PluginFailed").is_empty(),
        "words are no failure"
    );
    play.cluster.ok("plugin rollback refuses");
    assert!(play.running(&name).starts_with(&play.prefix));
    assert_eq!(play.running("before"), before);
    // Who came back was told what was given before.
    play.create("same", Some(&before));
    play.waits("same", &format!("{before} is taken by the pod default/before"));
    assert!(play.events("ipam", "PluginFailed").is_empty());
    play.cluster.finish();
}
