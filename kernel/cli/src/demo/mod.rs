//! The demo: a story told on a cluster that is gone afterwards.
mod client;
mod ledger;
mod leftovers;
mod load;
mod report;
mod story;

use crate::{
    session::channel,
    up::{Cluster, Settings},
    verbs::compile,
};
use anyhow::{Context, Error, Result};
use client::Client;
use ledger::Ledger;
use report::Report;
use sampan_api::dual::ClusterRanges;
use sampan_container::{BuildConfig, BuildSource, Reference, build_archive};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode, sync::Arc, time::Instant};
use story::{App, Story};
use tokio::sync::{Mutex, watch};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sudo sampan demo\n  sampan demo              # without root: Wasm only")]
pub struct DemoArgs {
    /// Do without root even if this is root
    #[arg(long)]
    rootless: bool,
}

/// Puts this process on a network of its own, so that whatever the host has of Sampan or others is left alone. Comes before any
/// other thread. Without root there is nothing to put up.
pub fn withdraw(args: &DemoArgs) {
    if args.rootless || !rustix::process::geteuid().is_root() {
        return;
    }
    if let Err(error) = sampan_node::net::own_namespace() {
        tracing::warn!(%error, "the demo shares the host's network");
    }
}

/// Tells the story; success only if all of it was seen.
///
/// # Errors
/// If it could not be told to its end.
pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    let home = tempfile::Builder::new()
        .prefix("sampan-demo-")
        .tempdir()
        .context("no temporary directory")?;
    let number = std::process::id();
    let cgroup = format!("sampan-demo-{number}");
    let mut report = Report::new();
    println!("A cluster of one, in {}:", home.path().display());
    let mut settings = Settings::new(home.path().join("data"));
    settings.rootless |= args.rootless;
    settings.name = "demo".to_owned();
    settings.compiler = compile::apart();
    // Beside a cluster that this host may have, and another demo.
    settings.cgroup.clone_from(&cgroup);
    // Beside the range of Services, too.
    let pods = format!("10.{}.{}.0/24", 112 + number / 256 % 16, number % 256);
    settings.ranges = Some(ClusterRanges::read(&pods, "").map_err(Error::msg)?);
    let rootless = settings.rootless;
    if rootless {
        let why = "containers need root; run the demo as root to see it";
        report.leave_out("a Deployment of a native container answers", why);
        let why = "pods need networks of their own; run the demo as root to see it";
        report.leave_out("one Service is in front of a container and a Wasm component", why);
    }
    let step = report.step("start the control plane and the node");
    let started = Instant::now();
    let cluster = Cluster::start(settings).await?;
    let took = started.elapsed().as_secs_f64() * 1000.0;
    step.done("ready");
    report.check("a cluster starts", true, format!("ready after {took:.0} ms"));

    let client = Client::new(channel(&cluster.access())?);
    let told = tell(client, report, home.path(), rootless).await;
    let (mut report, error) = match told {
        (report, Ok(())) => (report, None),
        (report, Err(error)) => (report, Some(error)),
    };
    let step = report.step("stop, and look for what is left");
    cluster.stop(true).await;
    let left = what_is_left(home.path(), &cgroup).await;
    home.close().context("the temporary directory cannot be removed")?;
    step.done(if left.is_empty() { "nothing" } else { "something" });
    let seen = if left.is_empty() {
        "no process, mount, interface or cgroup".to_owned()
    } else {
        left.join("; ")
    };
    report.check("nothing is left on the host", left.is_empty(), seen);
    report.print();
    match error {
        Some(error) => Err(error.context("the story could not be told to its end")),
        None => Ok(if report.good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }),
    }
}

/// The chapters, on a cluster that runs.
async fn tell(client: Client, report: Report, home: &Path, rootless: bool) -> (Report, Result<()>) {
    let (web, web_ready) = watch::channel(Vec::new());
    let (hello, hello_ready) = watch::channel(Vec::new());
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let witness = {
        let (client, ledger) = (client.clone(), ledger.clone());
        tokio::spawn(async move { client.witness(ledger, [("web", web), ("hello", hello)]).await })
    };
    let mut apps = vec![App::hello(hello_ready)];
    if !rootless {
        apps.insert(0, App::web(web_ready));
    }
    let mut story = Story {
        client,
        report,
        ledger,
        apps,
        front: None,
    };
    let told = chapters(&mut story, home, rootless).await;
    witness.abort();
    (story.report, told)
}

async fn chapters(story: &mut Story, home: &Path, rootless: bool) -> Result<()> {
    images(story, home, rootless).await?;
    story.deployments().await?;
    if !rootless {
        story.service().await?;
    }
    story.job().await?;
    story.swaps().await?;
    story.hostile().await?;
    story.delete_all().await
}

/// Packs the images that the binary carries, and gives them to the node as a user would.
async fn images(story: &Story, home: &Path, rootless: bool) -> Result<()> {
    let step = story.report.step("pack and load the images");
    let work = home.join("images");
    let rootfs = work.join("web");
    fs::create_dir_all(&rootfs)?;
    fs::write(rootfs.join("web"), sampan_builtin::WEB)?;
    fs::set_permissions(rootfs.join("web"), fs::Permissions::from_mode(0o755))?;
    let config = BuildConfig {
        entrypoint: vec!["/web".to_owned()],
        ..BuildConfig::default()
    };
    let mut sources = vec![(
        "demo/web:1",
        BuildSource::Folder {
            path: rootfs,
            config: Box::new(config),
        },
    )];
    if rootless {
        sources.clear();
    }
    for (name, bytes) in [("hello", sampan_builtin::HELLO), ("primes", sampan_builtin::PRIMES)] {
        let path = work.join(format!("{name}.wasm"));
        fs::write(&path, bytes)?;
        let name = if name == "hello" {
            "demo/hello:1"
        } else {
            "demo/primes:1"
        };
        sources.push((name, BuildSource::Wasm { path }));
    }
    let count = sources.len();
    for (name, source) in sources {
        let archive = work.join("image.tar");
        let reference: Reference = name.parse()?;
        build_archive(&reference, source, &archive)
            .await
            .with_context(|| format!("cannot pack {name}"))?;
        story
            .client
            .load_image(fs::read(&archive)?)
            .await
            .with_context(|| format!("cannot load {name}"))?;
        fs::remove_file(&archive)?;
    }
    step.done(&format!("{count} images"));
    Ok(())
}

/// What is on the host of this cluster. The kernel takes a moment to let go of what has ended.
async fn what_is_left(home: &Path, cgroup: &str) -> Vec<String> {
    let mut left = Vec::new();
    for _ in 0..40 {
        left = leftovers::of(home, cgroup).into_iter().collect();
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    left
}
