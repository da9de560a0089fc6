//! A cluster of one node, with what it may leave on the machine looked for at its end.
use crate::{stage::Stage, tools::busybox, traces};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// What no plugin's compiled code comes near. Bytes.
const LARGE: u64 = 8 << 20;

/// Waits for its signal, and ends at once when it comes.
pub const SLEEP: &str = "trap 'exit 0' TERM; sleep 600 & wait";

/// A cluster that ends with the test, and its pods with it.
pub struct Cluster {
    stage: Stage,
    /// Pods that were seen in the node's directory.
    seen: BTreeSet<String>,
}

impl Deref for Cluster {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

/// True for root; said loudly where not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root, to run containers");
    }
    root
}

impl Cluster {
    /// Starts one in a directory that is there already, on pod addresses of its own.
    pub fn start(dir: tempfile::TempDir, args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let data = dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        if !data.join("cache").exists() {
            // What one test has compiled the next finds compiled.
            let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole-cache");
            fs::create_dir_all(&shared).unwrap();
            std::os::unix::fs::symlink(shared, data.join("cache")).unwrap();
        }
        let number = std::process::id() * 8 + NEXT.fetch_add(1, Ordering::Relaxed);
        let cidr = format!("10.{}.{}.0/24", 192 + number / 256 % 32, number % 256);
        let mut all = vec![
            "--stop-pods",
            "--name",
            "n1",
            "--cluster-cidr",
            "10.192.0.0/11",
            "--pod-cidr",
            &cidr,
        ];
        all.extend(args);
        Cluster {
            stage: Stage::with(dir, &all),
            seen: BTreeSet::new(),
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Gives the node an image that has the machine's busybox as its shell and its tools.
    pub fn load_busybox(&self, name: &str) {
        let root = self.dir.path().join("busybox");
        if !root.exists() {
            busybox(&root);
        }
        let built = self.ok(&format!("image build {} -t {name} --cmd sh", root.display()));
        assert!(built.contains("Loaded image"), "{built}");
    }

    /// Objects of one kind that a selector selects and that are not going.
    pub fn list(&self, what: &str) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.ok(&format!("get {what} -o json"))).unwrap();
        let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
        items
            .into_iter()
            .filter(|item| item["metadata"]["deletionTimestamp"].is_null())
            .collect()
    }

    /// The shim of each pod, and what it has started.
    pub fn processes(&self, pods: &[Value]) -> Vec<(i32, Vec<i32>)> {
        traces::of_pods(&self.data(), pods)
    }

    /// Notes which pods there are, whose traces are looked for at the end.
    pub fn note(&mut self) {
        self.seen.extend(traces::pods(&self.data()));
    }

    /// Ends it with its pods, and sees that nothing is left on the machine.
    pub fn finish(mut self) {
        self.note();
        assert_eq!(self.stop(), 0);
        let (data, end) = (self.data(), Instant::now() + Duration::from_secs(10));
        loop {
            let mut left = traces::traces(&data, &self.seen);
            left.extend(interfaces(&data));
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "left over: {left:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let pods = traces::pods(&data);
        assert!(pods.is_empty(), "directories are left: {pods:?}");
    }
}

/// Where a test failed, its pods are ended by force.
impl Drop for Cluster {
    fn drop(&mut self) {
        self.note();
        let data = self.data();
        if std::thread::panicking() {
            eprintln!("events: {}", self.run("events -A").out);
        }
        traces::wipe(&data, &self.seen);
        // Components of tests are compiled once; they would only fill the disk.
        for entry in fs::read_dir(data.join("cache/wasm")).into_iter().flatten().flatten() {
            if entry.metadata().is_ok_and(|file| file.len() > LARGE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The interfaces of a cluster in a directory, in the network that the caller is in.
fn interfaces(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for link in fs::read_dir("/sys/class/net").unwrap().flatten() {
        let alias = fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
        if alias.contains(&*data.to_string_lossy()) {
            found.push(format!("interface {}", link.file_name().to_string_lossy()));
        }
    }
    found
}

/// What a server answers on an address of this machine; empty where none does.
pub fn get(address: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    ask().unwrap_or_default()
}
