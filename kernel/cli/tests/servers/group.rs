//! A group of `sampan` processes, each on a host and a data directory of its own.
use crate::network::{Network, ip, possible};
use rustix::{
    mount::UnmountFlags,
    process::{Pid, Signal, kill_process},
};
use sampan_cli::contexts::{Access, Contexts};
use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Voters of the group.
pub const SERVERS: usize = 3;
/// A further host, for who is no member.
pub const STRANGER: usize = SERVERS;
/// Hosts that may become nodes.
pub const NODES: [usize; 2] = [SERVERS, SERVERS + 1];

/// One more, for tests that have a node in the middle.
pub const HUB: usize = SERVERS + NODES.len();

pub const HOSTS: usize = HUB + 1;

/// Debian's library that tells another time.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Where nodes serve their figures, each on a loopback of its own.
pub const METRICS: &str = "127.0.0.1:9444";

/// Nothing here should take so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// So long one answer is waited for.
pub const ANSWER: Duration = Duration::from_millis(2500);

/// One group at a time: the machine has few cores, and what is told of times should mean something.
static TURN: Mutex<()> = Mutex::new(());

/// The group. Its processes, mounts and namespaces end with it.
pub struct Group {
    pub network: Network,
    pub dir: tempfile::TempDir,
    up: Vec<Option<Child>>,
    /// Where each host listens now.
    pub addresses: Vec<String>,
    /// The binary of each host.
    binaries: Vec<PathBuf>,
    /// By how much the clock of a host is wrong, as `faketime` has it.
    clocks: Vec<Option<&'static str>>,
    mounts: Vec<PathBuf>,
    pub access: Access,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Where a server listens when it starts first.
pub fn address(host: usize) -> String {
    format!("{}:7443", ip(host))
}

/// Makes a group and plays a test on it; each server has a disk of so many bytes, where a size is given.
pub fn play(disk: Option<&str>, test: impl AsyncFnOnce(&mut Group) + Send) {
    play_with(disk, "", test);
}

/// As [`play`], of a cluster that was made with further arguments.
pub fn play_with(disk: Option<&str>, made_with: &str, test: impl AsyncFnOnce(&mut Group) + Send) {
    if !possible() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let played = std::thread::scope(|scope| {
        let play = || {
            let network = Network::new(HOSTS);
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let mut group = Group::form(network, disk, made_with).await;
                test(&mut group).await;
            });
        };
        scope.spawn(play).join()
    });
    if let Err(cause) = played {
        std::panic::resume_unwind(cause);
    }
}

impl Group {
    async fn form(network: Network, disk: Option<&str>, made_with: &str) -> Self {
        let began = Instant::now();
        let mut group = Group {
            network,
            dir: tempfile::tempdir().unwrap(),
            up: (0..HOSTS).map(|_| None).collect(),
            addresses: (0..HOSTS).map(address).collect(),
            binaries: vec![env!("CARGO_BIN_EXE_sampan").into(); HOSTS],
            clocks: vec![None; HOSTS],
            mounts: Vec::new(),
            access: Access::default(),
        };
        for host in 0..HOSTS {
            group.prepare(host, disk.filter(|_| host < SERVERS));
        }
        let first = format!("up {} {made_with}", group.server_args(0));
        group.until_ready(0, &first).await;
        let contexts = Contexts::load(&group.home(0).join("config")).unwrap();
        group.access = contexts.access(None).unwrap();
        for host in 1..SERVERS {
            let token = group.ok(0, "token create --role server --single-use --ttl 10m");
            group.join(host, &token, 0).await;
        }
        group.settled().await;
        println!("formed in {:?}", began.elapsed());
        group
    }

    fn prepare(&mut self, host: usize, disk: Option<&str>) {
        let data = self.data(host);
        fs::create_dir_all(data.join("server")).unwrap();
        // What one test has compiled the next finds compiled.
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole-cache");
        fs::create_dir_all(&shared).unwrap();
        std::os::unix::fs::symlink(shared, data.join("cache")).unwrap();
        if let Some(size) = disk {
            let path = data.join("server");
            let options = format!("size={size},mode=0700");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
            assert!(mount.status().unwrap().success());
            self.mounts.push(path);
        }
    }

    /// Takes a server out of the group. A leader that has just begun to ask anew who is there may refuse for a moment.
    pub async fn remove(&self, by: usize, host: usize) {
        let began = Instant::now();
        loop {
            let done = self.run(by, &format!("member remove s{host}"));
            if done.code == Some(0) {
                return;
            }
            let for_now = done.err.contains("which is no majority") && began.elapsed() < ANSWER;
            assert!(for_now, "{done:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Puts away what a server has, for an empty directory.
    pub fn renew(&mut self, host: usize) {
        fs::rename(self.data(host), self.home(host).join("put-away")).unwrap();
        self.prepare(host, None);
    }

    /// What a host has of its own.
    pub fn home(&self, host: usize) -> PathBuf {
        self.dir.path().join(format!("s{host}"))
    }

    pub fn data(&self, host: usize) -> PathBuf {
        self.home(host).join("data")
    }

    /// All that the processes of a host have said.
    pub fn said(&self, host: usize) -> String {
        let bytes = fs::read(self.home(host).join("said")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same, without what was said before it was so long.
    pub fn said_since(&self, host: usize, length: usize) -> String {
        self.said(host).get(length..).unwrap_or_default().to_owned()
    }

    /// A command on a host, with that host's contexts. The machine's cgroups stay in sight.
    fn command(&self, host: usize, args: &str) -> Command {
        let mut command = self.network.command(host, &self.binaries[host]);
        if let Some(offset) = self.clocks[host] {
            // Of the clock that tells the time; the one that measures it goes on as it is.
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME", offset)
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
            .args(args.split_whitespace())
            .env("SAMPAN_CONFIG", self.home(host).join("config"))
            .env("RUST_LOG", "warn,sampan_server=info,sampan_node::network=info")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, host: usize, args: &str) -> Done {
        let output = self.command(host, args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    #[track_caller]
    pub fn ok(&self, host: usize, args: &str) -> String {
        let done = self.run(host, args);
        assert_eq!(done.code, Some(0), "sampan {args}: {done:?}");
        done.out.trim().to_owned()
    }

    /// The arguments with which a host's server starts.
    pub fn server_args(&self, host: usize) -> String {
        let data = self.data(host);
        format!(
            "--no-agent --name s{host} --listen {} --data-dir {} --node-monitor-grace-period 3",
            self.addresses[host],
            data.display()
        )
    }

    /// A host is reached elsewhere, and so is its server once it starts again.
    pub fn move_to(&mut self, host: usize, ip: &str) {
        self.network.readdress(host, ip);
        self.addresses[host] = format!("{ip}:7443");
    }

    /// From its next start on a host has this binary.
    pub fn install(&mut self, host: usize, binary: PathBuf) {
        self.binaries[host] = binary;
    }

    /// From its next start on a host's clock is wrong by so much.
    pub fn set_clock(&mut self, host: usize, offset: Option<&'static str>) {
        self.clocks[host] = offset;
    }

    fn spawn(&mut self, host: usize, args: &str) {
        let path = self.home(host).join("said");
        let said = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let mut command = self.command(host, args);
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        self.up[host] = Some(command.spawn().unwrap());
    }

    /// Starts a server on what it has on disk; returns when it is ready.
    pub async fn start(&mut self, host: usize) {
        self.until_ready(host, &format!("up {}", self.server_args(host))).await;
    }

    /// As [`Group::start`], without being told where it listens: it goes on where it joined.
    pub async fn start_as_it_was(&mut self, host: usize) {
        let line = format!("up --no-agent --data-dir {}", self.data(host).display());
        self.until_ready(host, &line).await;
    }

    /// Another host becomes a server, by what it hears from `by`.
    pub async fn join(&mut self, host: usize, token: &str, by: usize) {
        let args = self.server_args(host);
        let line = format!("join {} --token {token} --role server {args}", self.addresses[by]);
        self.until_ready(host, &line).await;
    }

    /// As [`Group::join`], to stay a learner.
    pub async fn join_as_standby(&mut self, host: usize, token: &str, by: usize) {
        let args = self.server_args(host);
        let line = format!(
            "join {} --token {token} --role server --learner {args}",
            self.addresses[by]
        );
        self.until_ready(host, &line).await;
    }

    /// Another host becomes a node.
    pub async fn join_as_node(&mut self, host: usize, token: &str, by: usize) {
        let data = self.data(host);
        let line = format!(
            "join {} --token {token} --name n{host} --stop-pods --metrics {METRICS} --data-dir {}",
            self.addresses[by],
            data.display()
        );
        self.until_ready(host, &line).await;
    }

    /// Starts a node on what it has on disk, without waiting for anything.
    pub fn launch_node(&mut self, host: usize) {
        let line = format!("up --stop-pods --data-dir {}", self.data(host).display());
        self.spawn(host, &line);
    }

    /// As [`Group::launch_node`]; returns when it is ready.
    pub async fn start_node(&mut self, host: usize) {
        let before = self.said(host).len();
        self.launch_node(host);
        self.said_ready(host, before).await;
    }

    /// Starts all servers at once: alone none of them is ready.
    pub async fn start_all(&mut self) {
        let before: Vec<usize> = (0..SERVERS).map(|host| self.said(host).len()).collect();
        for host in 0..SERVERS {
            self.spawn(host, &format!("up {}", self.server_args(host)));
        }
        for (host, before) in before.into_iter().enumerate() {
            self.said_ready(host, before).await;
        }
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self, host: usize) {
        kill_process(self.pid(host), Signal::TERM).unwrap();
        let mut child = self.up[host].take().expect("it runs");
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "s{host} does not end: {}", self.said(host));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_ready(&mut self, host: usize, line: &str) {
        let before = self.said(host).len();
        self.spawn(host, line);
        self.said_ready(host, before).await;
    }

    async fn said_ready(&mut self, host: usize, before: usize) {
        let began = Instant::now();
        while !self.said_since(host, before).contains("is ready on") {
            let ended = self.up[host].as_mut().unwrap().try_wait().unwrap();
            let fine = ended.is_none() && began.elapsed() < PATIENCE;
            assert!(fine, "s{host} is not ready ({ended:?}): {}", self.said(host));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn pid(&self, host: usize) -> Pid {
        Pid::from_child(self.up[host].as_ref().expect("it runs"))
    }

    /// kill -9.
    pub fn kill(&mut self, host: usize) {
        let mut child = self.up[host].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP and SIGCONT.
    pub fn pause(&self, host: usize) {
        kill_process(self.pid(host), Signal::STOP).unwrap();
    }

    pub fn go_on(&self, host: usize) {
        kill_process(self.pid(host), Signal::CONT).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.all_said());
        }
        for child in self.up.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for path in &self.mounts {
            let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
        }
    }
}
