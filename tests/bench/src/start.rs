//! Starting a container: the shim beside `runc run` and beside a bare spawn of the same program; then a whole `apply`, from
//! the call until the client has seen the pod run.
use crate::figure::{Figure, beside, missing, percentile};
use anyhow::{Context, Result, bail, ensure};
use sampan_api::rpc::Selection;
use sampan_cli::{
    session::{Asked, Seen, Session},
    up::{Cluster, Settings},
};
use sampan_container::{BuildConfig, BuildSource, Reference, build_archive};
use sampan_shim::{Client, ContainerSpec, DEFAULT_CAPABILITIES, Limits, PodSpec, Request, Rootfs, launch};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 50;
const PODS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(20);

/// Of `runc run`'s time.
const TARGET_RATIO: f64 = 0.25;
const TARGET_APPLY_MS: f64 = 25.0;

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

pub async fn run() -> Result<Vec<Figure>> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "containers need root: run this benchmark as root"
    );
    let home = tempfile::tempdir()?;
    let rootfs = home.path().join("rootfs");
    for dir in ["proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(dir))?;
    }
    executable(&rootfs.join("web"), sampan_builtin::WEB)?;
    let at = home.path().to_owned();
    let mut figures = tokio::task::spawn_blocking(move || containers(&at, &rootfs)).await??;
    figures.extend(applies(home.path()).await?);
    Ok(figures)
}

fn executable(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// In turns, so that what else the machine does meets all of them alike.
fn containers(home: &Path, rootfs: &Path) -> Result<Vec<Figure>> {
    let mut pod = Pod::launch(home, rootfs)?;
    let runc = Runc::find(home, rootfs)?;
    let (mut own, mut peer, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        own.push(pod.start(round)?);
        if let Some(runc) = &runc {
            peer.push(runc.start(round)?);
        }
        let started = Instant::now();
        let mut child = Command::new(rootfs.join("web"))
            .env("PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        bare.push(millis(started));
        child.kill()?;
        child.wait()?;
    }
    pod.end()?;
    let case = |share: f64, name: &str| {
        let mut figure = Figure::new(
            "start",
            &format!("container, request to running, {name} of {ROUNDS}"),
            percentile(&mut own.clone(), share),
            "ms",
        );
        figure.floor = Some(percentile(&mut bare.clone(), share));
        figure.peer = match peer.is_empty() {
            true => missing("runc"),
            false => beside("runc run --detach", percentile(&mut peer.clone(), share)),
        };
        figure.target = figure.peer_value().map(|value| value * TARGET_RATIO);
        figure
    };
    Ok(vec![case(0.5, "median"), case(0.99, "p99")])
}

/// A pod's shim, and containers that come and go in it.
struct Pod {
    client: Client,
    child: std::process::Child,
    rootfs: PathBuf,
    home: PathBuf,
}

impl Pod {
    fn launch(home: &Path, rootfs: &Path) -> Result<Self> {
        let shim = home.join("sampan-shim");
        executable(&shim, sampan_builtin::SHIM)?;
        let dir = home.join("pod");
        fs::create_dir(&dir)?;
        let spec = PodSpec {
            hostname: "bench".to_owned(),
            namespaces: true,
            cgroup: Some(format!("sampan-bench-{}", std::process::id())),
            ..PodSpec::default()
        };
        let launched = launch(&shim, &dir, &spec)?;
        Ok(Pod {
            client: Client::connect(&dir)?,
            child: launched.child,
            rootfs: rootfs.to_owned(),
            home: home.to_owned(),
        })
    }

    fn start(&mut self, round: usize) -> Result<f64> {
        let name = format!("c{round}");
        let layers = self.home.join("layers").join(&name);
        let spec = ContainerSpec {
            name: name.clone(),
            rootfs: Rootfs::Overlay {
                lower: vec![self.rootfs.clone()],
                upper: layers.join("upper"),
                work: layers.join("work"),
            },
            args: vec!["/web".to_owned()],
            env: vec!["PORT=0".to_owned()],
            capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
            limits: Limits {
                memory: Some(64 << 20),
                pids: Some(100),
                ..Limits::default()
            },
            ..ContainerSpec::default()
        };
        let started = Instant::now();
        self.client.request(Request::Start(Box::new(spec)))?;
        let took = millis(started);
        self.client.request(Request::Signal {
            container: name,
            signal: 9,
        })?;
        Ok(took)
    }

    fn end(mut self) -> Result<()> {
        self.client.request(Request::Shutdown)?;
        self.child.wait()?;
        Ok(())
    }
}

/// The peer.
struct Runc {
    root: PathBuf,
    bundle: PathBuf,
}

impl Runc {
    /// None if it is not installed.
    fn find(home: &Path, rootfs: &Path) -> Result<Option<Self>> {
        let (root, bundle) = (home.join("runc"), home.join("bundle"));
        fs::create_dir_all(&bundle)?;
        let made = Command::new("runc").arg("spec").current_dir(&bundle).status();
        if !made.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let config = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(["/web"]);
        spec["process"]["env"] = json!(["PORT=0"]);
        spec["root"]["path"] = rootfs.to_string_lossy().into();
        spec["linux"]["cgroupsPath"] = format!("/sampan-bench-runc-{}", std::process::id()).into();
        fs::write(&config, spec.to_string())?;
        Ok(Some(Runc { root, bundle }))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(&self.root)
            .args(args)
            .current_dir(&self.bundle)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn start(&self, round: usize) -> Result<f64> {
        let name = format!("sampan-bench-{}-{round}", std::process::id());
        let started = Instant::now();
        let status = self.command(&["run", "--detach", &name]).status()?;
        let took = millis(started);
        let removed = self.command(&["delete", "--force", &name]).status()?;
        ensure!(
            status.success() && removed.success(),
            "runc failed: {status}, {removed}"
        );
        Ok(took)
    }
}

/// Pods that are applied one after the other on a cluster of one, with the image there.
async fn applies(home: &Path) -> Result<Vec<Figure>> {
    let cluster = Cluster::start(Settings::new(home.join("data"))).await?;
    let measured = measure_applies(&cluster, home).await;
    cluster.stop(true).await;
    let mut samples = measured?;
    let mut case = |share: f64, name: &str| {
        let what = format!("apply until a watcher sees the pod run, image present, {name} of {PODS}");
        let mut figure = Figure::new("start", &what, percentile(&mut samples, share), "ms");
        figure.target = Some(TARGET_APPLY_MS);
        figure
    };
    Ok(vec![case(0.5, "p50"), case(0.99, "p99")])
}

async fn measure_applies(cluster: &Cluster, home: &Path) -> Result<Vec<f64>> {
    let session = Session::open(&cluster.access(), PATIENCE)?;
    load_image(&session, home).await?;
    // A first start compiles the policies aside: that is `up`'s matter, and is over soon.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut watcher = session.watch(
        Selection {
            resource: "pods".to_owned(),
            ..Selection::default()
        },
        0,
    );
    let mut samples = Vec::new();
    for number in 0..PODS {
        let name = format!("web-{number}");
        let container = json!({
            "name": "web", "image": "bench/web:1", "imagePullPolicy": "Never", "env": [{"name": "PORT", "value": "0"}],
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        });
        let started = Instant::now();
        session.apply(&pod, Asked::default()).await?;
        tokio::time::timeout(PATIENCE, until_runs(&mut watcher, &name))
            .await
            .with_context(|| format!("pod {name} does not run"))??;
        samples.push(millis(started));
        let key = sampan_api::Key::new("pods", sampan_api::DEFAULT_NAMESPACE, &name);
        session
            .delete(sampan_api::rpc::DeleteRequest {
                key: Some((&key).into()),
                ..Default::default()
            })
            .await?;
    }
    Ok(samples)
}

async fn until_runs(watcher: &mut sampan_cli::session::Watcher, name: &str) -> Result<()> {
    loop {
        match watcher.next().await? {
            Seen::Added(pod) | Seen::Modified(pod) if pod.value["metadata"]["name"] == name => {
                match pod.value["status"]["phase"].as_str() {
                    Some("Running") => return Ok(()),
                    Some("Failed") => bail!("pod {name} failed: {}", pod.value["status"]),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

async fn load_image(session: &Session, home: &Path) -> Result<()> {
    let archive = home.join("image.tar");
    let config = BuildConfig {
        entrypoint: vec!["/web".to_owned()],
        ..BuildConfig::default()
    };
    let source = BuildSource::Folder {
        path: home.join("rootfs"),
        config: Box::new(config),
    };
    let reference: Reference = "bench/web:1".parse()?;
    build_archive(&reference, source, &archive).await?;
    let data = fs::read(&archive)?;
    let chunks: Vec<_> = data
        .chunks(256 << 10)
        .map(|data| sampan_api::rpc::LoadImageRequest {
            data: data.to_vec().into(),
            node: String::new(),
        })
        .collect();
    session.runtime().load_image(futures::stream::iter(chunks)).await?;
    Ok(())
}
