//! A cluster of one node, with what it may leave on the machine looked for at its end.
use crate::stage::Stage;
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

/// True where all of these programs are installed; said loudly where not.
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: needs {missing:?}; `.ci/packages` installs them");
    }
    missing.is_empty()
}

/// Where a program is: on the PATH, or among those for administrators, which a user's PATH may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
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
        let mut all = vec!["--stop-pods", "--name", "n1", "--pod-cidr", &cidr];
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
        let of = |pod: &Value| {
            let uid = pod["metadata"]["uid"].as_str().unwrap();
            let path = self.data().join("node/pods").join(uid).join("shim/shim.json");
            let info: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let shim = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
            (shim, children(shim))
        };
        pods.iter().map(of).collect()
    }

    /// Notes which pods there are, whose traces are looked for at the end.
    pub fn note(&mut self) {
        let pods = fs::read_dir(self.data().join("node/pods"));
        self.seen.extend(
            pods.into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned()),
        );
    }

    /// Ends it with its pods, and sees that nothing is left on the machine.
    pub fn finish(mut self) {
        self.note();
        assert_eq!(self.stop(), 0);
        let (data, end) = (self.data(), Instant::now() + Duration::from_secs(10));
        loop {
            let left = traces(&data, &self.seen);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "left over: {left:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let pods: Vec<_> = fs::read_dir(data.join("node/pods")).unwrap().flatten().collect();
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
        for pid in processes(&data) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for mount in mounts(&data.join("node/pods")) {
            let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
        for uid in &self.seen {
            for group in cgroups(uid) {
                let _ = fs::remove_dir(group);
            }
        }
        // Components of tests are compiled once; they would only fill the disk.
        for entry in fs::read_dir(data.join("cache/wasm")).into_iter().flatten().flatten() {
            if entry.metadata().is_ok_and(|file| file.len() > LARGE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Everything on the machine that a cluster in a directory may have left.
fn traces(data: &Path, pods: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> = processes(data).iter().map(|pid| format!("process {pid}")).collect();
    found.extend(
        mounts(&data.join("node/pods"))
            .iter()
            .map(|path| format!("mount {}", path.display())),
    );
    for link in fs::read_dir("/sys/class/net").unwrap().flatten() {
        let alias = fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
        if alias.contains(&*data.to_string_lossy()) {
            found.push(format!("interface {}", link.file_name().to_string_lossy()));
        }
    }
    found.extend(
        pods.iter()
            .flat_map(|uid| cgroups(uid))
            .map(|group| format!("cgroup {}", group.display())),
    );
    found
}

/// Those that name the directory on their command line: agent, shims and Wasm runners.
pub fn processes(data: &Path) -> Vec<i32> {
    let of = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line)
            .contains(&*data.to_string_lossy())
            .then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

fn mounts(below: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    points.filter(|point| point.starts_with(below)).collect()
}

fn cgroups(uid: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let groups = hierarchies
        .chain([root.to_owned()])
        .map(|path| path.join("sampan").join(uid));
    groups.filter(|group| group.is_dir()).collect()
}

fn children(of: i32) -> Vec<i32> {
    let parent = |entry: &fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: i32 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        (parent == of).then_some(entry.file_name().to_str()?.parse().ok()?)
    };
    let mut found: Vec<i32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| parent(&entry))
        .collect();
    found.sort_unstable();
    found
}

/// A root file system of busybox alone.
pub fn busybox(root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::copy(find("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    for tool in [
        "sh", "sleep", "cat", "echo", "httpd", "wget", "env", "ls", "dd", "rm", "true", "seq",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
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
