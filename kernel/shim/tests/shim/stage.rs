//! A pod to try things in, which leaves nothing behind however the test ends.
use sampan_shim::{
    Client, ClientError, ContainerSpec, ContainerState, DEFAULT_CAPABILITIES, Event, Launched, Log, Phase, PodSpec,
    Reply, Request, Rootfs, client, launch, sweep_cgroups,
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const SHIM: &str = env!("CARGO_BIN_EXE_sampan-shim");
const BUSYBOX: &str = "/bin/busybox";
static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Pod {
    pub home: TempDir,
    pub dir: PathBuf,
    pub cgroup: String,
    pub launched: Launched,
    pub client: Client,
}

/// None, loudly, where it cannot be.
pub fn pod() -> Option<Pod> {
    pod_with(|_| {})
}

pub fn pod_with(change: impl FnOnce(&mut PodSpec)) -> Option<Pod> {
    if !fs::metadata("/proc/self/ns/net").is_ok_and(|_| is_root()) {
        eprintln!("SKIPPED: needs root");
        return None;
    }
    if !Path::new(BUSYBOX).exists() {
        eprintln!("SKIPPED: needs {BUSYBOX} (Debian: apt install busybox-static)");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    // Longer than the address of a socket can be.
    let dir = home.path().join("pods").join("a-pod-with-a-very-long-name-".repeat(4));
    fs::create_dir_all(&dir).unwrap();
    let cgroup = format!(
        "sampan-test-{}/{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let mut spec = PodSpec {
        hostname: "boat".to_owned(),
        namespaces: true,
        cgroup: Some(cgroup.clone()),
        ..PodSpec::default()
    };
    change(&mut spec);
    busybox_rootfs(&home.path().join("image"));
    let launched = launch(Path::new(SHIM), &dir, &spec).unwrap();
    let client = Client::connect(&dir).unwrap();
    Some(Pod {
        home,
        dir,
        cgroup,
        launched,
        client,
    })
}

pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

fn busybox_rootfs(image: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "dev"] {
        fs::create_dir_all(image.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, image.join("bin/busybox")).unwrap();
    let applets = Command::new(BUSYBOX).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets)
        .unwrap()
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        symlink("busybox", image.join("bin").join(applet)).unwrap();
    }
}

impl Pod {
    /// What runs a shell script, with its log kept.
    pub fn script(&self, name: &str, script: &str) -> ContainerSpec {
        let layers = self
            .home
            .path()
            .join("layers")
            .join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        ContainerSpec {
            name: name.to_owned(),
            rootfs: Rootfs::Overlay {
                lower: vec![self.home.path().join("image")],
                upper: layers.join("upper"),
                work: layers.join("work"),
            },
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned(), "HOME=/".to_owned()],
            capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
            log: Some(Log {
                path: self.log(name),
                max_size: 0,
                max_files: 0,
            }),
            ..ContainerSpec::default()
        }
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.home.path().join("logs").join(format!("{name}.log"))
    }

    pub fn start(&mut self, spec: &ContainerSpec) -> Result<(ContainerState, Vec<String>), ClientError> {
        match self.client.request(Request::Start(Box::new(spec.clone())))? {
            Reply::Started { state, warnings } => Ok((state, warnings)),
            other => panic!("{other:?}"),
        }
    }

    /// Starts it, waits for its end, and returns that and what it printed, without what the log puts before each line.
    pub fn run(&mut self, spec: &ContainerSpec) -> (ContainerState, String) {
        let mut watcher = self.watcher();
        self.start(spec).unwrap();
        let state = exit_of(&mut watcher, &spec.name);
        (state, self.printed(&spec.name))
    }

    pub fn printed(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap();
        text.lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned() + "\n")
            .collect()
    }

    pub fn watcher(&self) -> Client {
        let mut watcher = Client::connect(&self.dir).unwrap();
        assert!(matches!(watcher.request(Request::Watch).unwrap(), Reply::State { .. }));
        watcher
    }

    pub fn state(&mut self) -> Vec<ContainerState> {
        match self.client.request(Request::State).unwrap() {
            Reply::State { containers } => containers,
            other => panic!("{other:?}"),
        }
    }

    pub fn signal(&mut self, name: &str, signal: i32) {
        self.client
            .request(Request::Signal {
                container: name.to_owned(),
                signal,
            })
            .unwrap();
    }

    /// Every directory of this pod's cgroup that is there.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = table
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .filter_map(|line| line.split(' ').nth(4));
        mounts
            .map(|mount| Path::new(mount).join(&self.cgroup))
            .filter(|path| path.exists())
            .collect()
    }
}

pub fn exit_of(watcher: &mut Client, name: &str) -> ContainerState {
    loop {
        match watcher
            .next_event(Duration::from_secs(20))
            .unwrap()
            .expect("it exits in time")
        {
            Event::Exited(state) if state.name == name => {
                assert_eq!(state.phase, Phase::Exited);
                return state;
            }
            _ => {}
        }
    }
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Over a connection of its own: the test's may be in any state.
        let done = client::connect(&self.dir).is_ok()
            && Client::connect(&self.dir).is_ok_and(|mut client| client.request(Request::Shutdown).is_ok());
        if !done {
            let _ = self.launched.child.kill();
        }
        let _ = self.launched.child.wait();
        let _ = sweep_cgroups(&self.cgroup);
    }
}
