//! Two hosts made of network namespaces, a cable between them, and a cluster with a node on each: what the benchmarks of the
//! network run on. All of it goes when it is dropped.
pub mod iperf;

use crate::peer::Process;
use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_cli::contexts::{Access, Contexts};
use serde_json::Value;
use std::{
    fs,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// The longest packet on the cable, in bytes, if nobody says otherwise.
pub const MTU: u16 = 1500;

/// The hosts' addresses on the cable.
pub const HOSTS: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

const PATIENCE: Duration = Duration::from_secs(60);

/// A pod that only is there: something runs in its network.
const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "NAME", "labels": {"app": "NAME"}},
    "spec": {"nodeName": "NODE", "terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": "bench/web:1"}]}}"#;

/// The hosts.
pub struct Hosts(String);

impl Hosts {
    /// # Errors
    /// If this machine makes no network namespaces: it takes root and `ip`.
    pub fn make(mtu: u16) -> Result<Self> {
        let hosts = Hosts(format!("sampan-bench-{}", std::process::id()));
        for host in 0..HOSTS.len() {
            ip(&format!("netns add {}", hosts.name(host)))?;
            ip(&format!("-n {} link set lo up", hosts.name(host)))?;
        }
        let (a, b) = (hosts.name(0), hosts.name(1));
        ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"))?;
        for (host, address) in HOSTS.iter().enumerate() {
            let name = hosts.name(host);
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 mtu {mtu} up"))?;
            // A node goes by what its way out carries.
            ip(&format!("-n {name} route add default dev eth0"))?;
        }
        Ok(hosts)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.0)
    }

    /// A command on a host.
    pub fn command(&self, host: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name(host)))
            .arg(program);
        command
    }

    /// `ip` on a host.
    ///
    /// # Errors
    /// What it says.
    pub fn ip(&self, host: usize, line: &str) -> Result<()> {
        ip(&format!("-n {} {line}", self.name(host)))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..HOSTS.len() {
            let _ = ip(&format!("netns del {}", self.name(host)));
        }
    }
}

fn ip(line: &str) -> Result<()> {
    said(Command::new("ip").args(line.split_whitespace())).with_context(|| format!("ip {line}"))?;
    Ok(())
}

/// What a command prints.
///
/// # Errors
/// What it complains of.
pub fn said(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let complaint = String::from_utf8_lossy(&stderr);
    ensure!(
        status.success(),
        "{}{}",
        String::from_utf8_lossy(&stdout),
        complaint.trim()
    );
    Ok(String::from_utf8(stdout)?)
}

/// A network that something can be run in: a host's, or a pod's.
#[derive(Clone, Debug)]
pub struct Place {
    /// A handle of its namespace.
    pub namespace: PathBuf,
    pub address: String,
}

impl Place {
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace.display())).arg(program);
        command
    }
}

impl Place {
    /// Runs something there, on a thread of its own.
    ///
    /// # Errors
    /// Its own, or if the place is gone.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = fs::File::open(&self.namespace)?;
        let work = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|_| bail!("what was done in a network namespace has panicked"))
    }
}

/// The cluster.
pub struct Lab {
    nodes: Vec<Process>,
    binary: PathBuf,
    pub hosts: Hosts,
    home: tempfile::TempDir,
}

impl Lab {
    /// Starts it, with the binary beside this one and a cable that carries so much at once.
    ///
    /// # Errors
    /// Whatever keeps it from running.
    pub fn start(mtu: u16) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("sampan");
        let built = "`cargo build --release -p sampan -p bench` makes it";
        ensure!(binary.exists(), "{} is missing: {built}", binary.display());
        let mut lab = Lab {
            nodes: Vec::new(),
            binary,
            hosts: Hosts::make(mtu)?,
            home: tempfile::tempdir()?,
        };
        let listen = format!("{}:7443", HOSTS[0]);
        lab.node(0, &["up", "--listen", &listen])?;
        let token = lab.run(&["token", "create"])?;
        lab.node(1, &["join", &listen, "--token", token.trim()])?;
        lab.image()?;
        Ok(lab)
    }

    fn data(&self, host: usize) -> PathBuf {
        self.home.path().join(format!("h{host}"))
    }

    fn sampan(&self, host: usize) -> Command {
        let mut command = self.hosts.command(host, &self.binary);
        command.env("SAMPAN_CONFIG", self.home.path().join(format!("config-{host}")));
        command
    }

    fn node(&mut self, host: usize, verb: &[&str]) -> Result<()> {
        let log = self.home.path().join(format!("said-{host}"));
        let (name, data) = (format!("h{host}"), self.data(host));
        let mut command = self.sampan(host);
        command
            .args(verb)
            .args(["--name", &name, "--stop-pods", "--data-dir"])
            .arg(data);
        self.nodes.push(Process::start(&mut command, &log)?);
        until(&format!("node {name} is ready"), || {
            fs::read_to_string(&log).is_ok_and(|said| said.contains("is ready on"))
        })
        .with_context(|| fs::read_to_string(&log).unwrap_or_default())
    }

    /// Runs a command of the CLI to its end; what it printed.
    ///
    /// # Errors
    /// What it complains of.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        said(self.sampan(0).args(args)).with_context(|| format!("sampan {args:?}"))
    }

    /// The administrator's way to it, from the first host.
    ///
    /// # Errors
    /// If its context cannot be read.
    pub fn access(&self) -> Result<Access> {
        Contexts::load(&self.home.path().join("config-0"))?.access(None)
    }

    /// # Errors
    /// If the objects are refused.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let file = self.home.path().join("manifest.json");
        fs::write(&file, manifest)?;
        self.run(&["apply", "-f", &file.to_string_lossy()]).map(drop)
    }

    fn image(&self) -> Result<()> {
        let root = self.home.path().join("web");
        fs::create_dir_all(&root)?;
        fs::write(root.join("web"), sampan_builtin::WEB)?;
        fs::set_permissions(root.join("web"), fs::Permissions::from_mode(0o755))?;
        let root = root.to_string_lossy().into_owned();
        self.run(&["image", "build", &root, "-t", "bench/web:1", "--entrypoint", "/web"])
            .map(drop)
    }

    /// A pod on a host, running.
    ///
    /// # Errors
    /// If it does not come to run.
    pub fn pod(&self, name: &str, host: usize) -> Result<Place> {
        self.apply(&POD.replace("NAME", name).replace("NODE", &format!("h{host}")))?;
        self.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=30s"])?;
        let pod: Value = serde_json::from_str(&self.run(&["get", "pod", name, "-o", "json"])?)?;
        let (Some(uid), Some(address)) = (pod["metadata"]["uid"].as_str(), pod["status"]["podIP"].as_str()) else {
            bail!("the pod {name} has no address");
        };
        let shim = self.data(host).join("node/pods").join(uid).join("shim/shim.json");
        let shim: Value = serde_json::from_slice(&fs::read(shim)?)?;
        Ok(Place {
            namespace: format!("/proc/{}/ns/net", shim["pid"]).into(),
            address: address.to_owned(),
        })
    }

    /// A host itself.
    pub fn host(&self, host: usize) -> Place {
        Place {
            namespace: Path::new("/run/netns").join(self.hosts.name(host)),
            address: HOSTS[host].to_owned(),
        }
    }

    /// A file of the lab's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The nodes take their pods with them.
        for node in self.nodes.iter_mut().rev() {
            let _ = node.stop();
        }
    }
}

/// # Errors
/// If it does not come to be.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !holds() {
        ensure!(began.elapsed() < PATIENCE, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
