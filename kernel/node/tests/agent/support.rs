//! A node for one test: an agent on a directory, a cgroup and a pod CIDR of its own, with a busybox image.
use crate::plane::{Plane, manifest};
use sampan_api::dual::ClusterRanges;
use sampan_container::{BuildConfig, BuildSource, Store};
use sampan_node::{Agent, AgentConfig};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// The shim's binary, built by whoever needs it first.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(given) = std::env::var_os("SAMPAN_TEST_SHIM") {
        return given.into();
    }
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "sampan-shim", "--bin", "sampan-shim"])
        .status();
    assert!(build.unwrap().success(), "the shim does not build");
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("sampan-shim")
});

/// A node and its control plane. Ends both, and whatever is left of the pods, with the test.
pub struct Bench {
    pub plane: Plane,
    pub agent: Option<Agent>,
    pub dir: tempfile::TempDir,
    pub config: AgentConfig,
}

impl Bench {
    /// None, said loudly, where this test cannot run.
    pub async fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return None;
        }
        let mut bench = Self::prepare(false).await;
        bench.load_busybox().await;
        bench.start_agent().await;
        Some(bench)
    }

    pub async fn prepare(rootless: bool) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = Plane::start().await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = AgentConfig::new(dir.path().join("node"), "n1", &format!("https://{}", plane.address));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        (config.cert_pem, config.key_pem) = plane.authority.issue("system:node:n1", "system:nodes");
        config.ca_pem = plane.authority.ca_pem.clone();
        config.shim = SHIM.clone();
        config.ranges = ClusterRanges::read("10.231.0.0/16", "").unwrap();
        config.pod_cidr = format!("10.231.{number}.0/24");
        config.cgroup = format!("sampan-test-{}-{number}", std::process::id());
        config.rootless = rootless;
        config.shutdown_grace = Duration::from_millis(500);
        Bench {
            plane,
            agent: None,
            dir,
            config,
        }
    }

    /// An image `busybox:1` that has the machine's busybox as its shell and its tools.
    pub async fn load_busybox(&self) {
        let root = self.dir.path().join("busybox");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
        for tool in [
            "sh", "sleep", "cat", "echo", "nc", "httpd", "wget", "ping", "id", "env", "ls", "hostname", "ip", "true",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n",
        )
        .unwrap();
        fs::create_dir_all(&self.config.data).unwrap();
        let store = Store::open(self.config.data.join("images")).unwrap();
        let config = BuildConfig {
            env: vec!["FROM_IMAGE=yes".into()],
            ..BuildConfig::default()
        };
        let source = BuildSource::Folder {
            path: root,
            config: Box::new(config),
        };
        store.build(&"busybox:1".parse().unwrap(), source).await.unwrap();
        if !self.config.rootless {
            store.prepare(&"busybox:1".parse().unwrap()).await.unwrap();
        }
    }

    pub async fn start_agent(&mut self) {
        let agent = Agent::start(self.config.clone()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), agent.registered())
            .await
            .unwrap();
        self.agent = Some(agent);
    }

    /// A pod of this node.
    pub fn create_pod(&self, name: &str, mut spec: Value) -> Value {
        spec["nodeName"] = "n1".into();
        self.plane
            .create(&manifest("Pod", name, json!({"spec": spec})))
            .to_value()
    }

    /// A pod with one container that runs a shell script.
    pub fn create_script(&self, name: &str, restart: &str, script: &str) -> Value {
        self.create_pod(
            name,
            json!({"restartPolicy": restart, "containers": [container("main", script)]}),
        )
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.data.join("pods").join(uid)
    }

    /// What a container wrote.
    pub fn log(&self, pod: &Value, attempt: u32) -> String {
        let dir = self.pod_dir(pod["metadata"]["uid"].as_str().unwrap()).join("logs/main");
        let text = fs::read_to_string(dir.join(format!("{attempt}.log"))).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.splitn(4, ' ').nth(3))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Waits for a line in a container's log.
    pub async fn until_log(&self, pod: &Value, text: &str) -> String {
        for _ in 0..400 {
            let log = self.log(pod, 0);
            if log.contains(text) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no {text:?} in the log: {:?}", self.log(pod, 0));
    }

    /// Everything on the machine that a pod of this node may have left.
    pub fn remains(&self) -> Vec<String> {
        let mut found = Vec::new();
        let data = self.config.data.to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&data))
                .map(|line| format!("mount {line}")),
        );
        for link in fs::read_dir("/sys/class/net").unwrap().flatten() {
            let alias = fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
            if alias.contains(&data) {
                found.push(format!("interface {}", link.file_name().to_string_lossy()));
            }
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let path = hierarchy.path().join(&self.config.cgroup);
            let pods = fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().is_dir());
            found.extend(pods.map(|pod| format!("cgroup {}", pod.path().display())));
        }
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains("sampan-shim run") && line.contains(&data) {
                found.push(format!("process {line}"));
            }
        }
        let pods = fs::read_dir(self.config.data.join("pods"))
            .into_iter()
            .flatten()
            .flatten();
        found.extend(pods.map(|entry| format!("directory {}", entry.path().display())));
        found
    }

    /// Waits until nothing is left.
    pub async fn until_clean(&self) {
        for _ in 0..200 {
            if self.remains().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("left over: {:#?}", self.remains());
    }

    /// Ends the agent with its pods, and sees that nothing is left.
    pub async fn finish(mut self) {
        if let Some(agent) = self.agent.take() {
            agent.shutdown(true).await;
        }
        self.until_clean().await;
        assert!(!any_cgroup(&self.config.cgroup), "the node's own cgroup is left");
    }
}

fn any_cgroup(name: &str) -> bool {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    Path::new("/sys/fs/cgroup").join(name).exists() || hierarchies.into_iter().any(|h| h.path().join(name).exists())
}

/// Where a test failed, its pods are ended by force.
impl Drop for Bench {
    fn drop(&mut self) {
        if self.agent.take().is_some() {
            // What it has begun goes on for a moment.
            std::thread::sleep(Duration::from_millis(300));
        }
        sampan_node::sweep_network(&self.config);
        for entry in fs::read_dir(self.config.data.join("pods"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let info = fs::read(entry.path().join("shim/shim.json")).unwrap_or_default();
            let info: Option<sampan_shim::ShimInfo> = serde_json::from_slice(&info).ok();
            if let Some(pid) = info
                .filter(|info| info.is_alive())
                .and_then(|info| rustix::process::Pid::from_raw(info.pid))
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let uid = entry.file_name().to_string_lossy().into_owned();
            let _ = sampan_shim::sweep_cgroups(&format!("{}/{uid}", self.config.cgroup));
            for volume in fs::read_dir(entry.path().join("volumes"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let _ = rustix::mount::unmount(volume.path(), rustix::mount::UnmountFlags::DETACH);
            }
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(&self.config.cgroup));
        }
        let _ = sampan_node::net::sweep(&self.config.data.to_string_lossy(), |_| false);
    }
}

/// A container of the busybox image that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "command": ["/bin/sh", "-c", script]})
}

/// Sleeps until it is told to end, and then ends at once.
pub const SLEEP: &str = "trap 'exit 0' TERM; sleep 600 & wait";
