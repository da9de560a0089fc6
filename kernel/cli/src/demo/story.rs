//! The demo's chapters, each on the real cluster through its gRPC, each with what had to be seen.
use super::{
    client::{Client, deployment_key, service_key},
    ledger::Ledger,
    load::{Load, get},
    report::Report,
};
use anyhow::{Context, Result, bail};
use sampan_api::Key;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};

const WEB: &str = include_str!("../../../../images/demo/web.yaml");
const HELLO: &str = include_str!("../../../../images/demo/hello.yaml");
const FRONT: &str = include_str!("../../../../images/demo/front.yaml");
const PRIMES: &str = include_str!("../../../../images/demo/primes.yaml");

/// Nothing here should take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the policy is swapped, there and back.
const SWAPS: usize = 4;

/// Longer than a batch takes.
const SETTLE: Duration = Duration::from_millis(200);

/// What each app's answers begin with.
const GREETING: &str = "hello from the ";

/// Requests to the Service in which everybody behind it must answer.
const ASKED: usize = 200;

/// Pods that each scale-up adds.
const MORE: usize = 2;

/// The story so far.
pub struct Story {
    pub client: Client,
    pub report: Report,
    pub ledger: Arc<Mutex<Ledger>>,
    /// `web` is left out without root.
    pub apps: Vec<App>,
    /// The Service in front of all of them, once it is known to answer.
    pub front: Option<watch::Receiver<Vec<SocketAddr>>>,
}

/// A deployment of the demo.
pub struct App {
    pub name: &'static str,
    pub manifest: &'static str,
    /// What an answer of it starts with.
    pub greeting: &'static str,
    pub replicas: usize,
    pub endpoints: watch::Receiver<Vec<SocketAddr>>,
}

impl App {
    /// The native container.
    pub fn web(endpoints: watch::Receiver<Vec<SocketAddr>>) -> Self {
        App {
            name: "web",
            manifest: WEB,
            greeting: "hello from the container",
            replicas: 2,
            endpoints,
        }
    }

    /// The Wasm component.
    pub fn hello(endpoints: watch::Receiver<Vec<SocketAddr>>) -> Self {
        App {
            name: "hello",
            manifest: HELLO,
            greeting: "hello from the component",
            replicas: 2,
            endpoints,
        }
    }
}

impl Story {
    /// Deployments come up and answer.
    pub async fn deployments(&mut self) -> Result<()> {
        for app in &mut self.apps {
            let step = self.report.step(&format!("deployment {}: two pods", app.name));
            let started = Instant::now();
            self.client
                .apply(app.manifest)
                .await
                .with_context(|| format!("cannot apply {}", app.name))?;
            self.client.wait_available(app.name, app.replicas, PATIENCE).await?;
            let took = started.elapsed();
            app.endpoints.wait_for(|ready| ready.len() == app.replicas).await?;
            let endpoint = app.endpoints.borrow()[0];
            let answer = get(endpoint)
                .await
                .with_context(|| format!("{} does not answer on {endpoint}", app.name))?;
            step.done(answer.trim());
            let seen = format!("available in {} ms; \"{}\"", took.as_millis(), answer.trim());
            let what = match app.name {
                "web" => "a Deployment of a native container answers",
                _ => "a Deployment of a Wasm HTTP component answers",
            };
            self.report.check(what, answer.starts_with(app.greeting), seen);
        }
        Ok(())
    }

    /// One Service is in front of all deployments, whatever their pods run.
    pub async fn service(&mut self) -> Result<()> {
        let step = self.report.step("service front: one address for both");
        self.client.apply(FRONT).await?;
        let service = self.client.get(&service_key("front")).await?;
        let address: IpAddr = service.field_value("spec")["clusterIP"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .context("the Service has no address")?;
        let front = SocketAddr::new(address, 80);
        let started = Instant::now();
        let mut missing: Vec<&str> = self.apps.iter().map(|app| app.greeting).collect();
        let mut failure = None;
        for _ in 0..ASKED {
            match tokio::time::timeout(Duration::from_secs(1), get(front)).await {
                Ok(Ok(answer)) => missing.retain(|greeting| !answer.starts_with(greeting)),
                Ok(Err(error)) => failure = Some(format!("{error:#}")),
                Err(_) => failure = Some("no answer in a second".to_owned()),
            }
            if missing.is_empty() || started.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seen = match (missing.is_empty(), failure) {
            (true, _) => format!("{front}: a container and a component answer"),
            (false, Some(failure)) => format!("{front}: {failure}"),
            (false, None) => format!("{front}: not seen: \"{}\"", missing.join("\", \"")),
        };
        step.done(&seen);
        let good = missing.is_empty();
        self.report.check(
            "one Service is in front of a container and a Wasm component",
            good,
            seen,
        );
        if good {
            self.front = Some(watch::channel(vec![front]).1);
        }
        Ok(())
    }

    /// Whom requests go to: the Service, or where there is none each app's pods by themselves.
    fn loads(&self) -> Vec<Load> {
        match &self.front {
            Some(front) => vec![Load::start(6, front.clone(), GREETING)],
            None => {
                let of = |app: &App| Load::start(3, app.endpoints.clone(), app.greeting);
                self.apps.iter().map(of).collect()
            }
        }
    }

    /// A Wasm batch job runs to completion.
    pub async fn job(&mut self) -> Result<()> {
        let step = self.report.step("job primes: two Wasm pods");
        self.client.apply(PRIMES).await?;
        let key = Key::new("jobs.batch", sampan_api::DEFAULT_NAMESPACE, "primes");
        let complete = |job: &sampan_api::Object| job.field_value("status")["succeeded"] == 2;
        self.client.wait_for(&key, PATIENCE, "complete", complete).await?;
        let pods = self.client.list("pods").await?;
        let pod = pods
            .iter()
            .find(|pod| pod.metadata.labels.get("app").is_some_and(|app| app == "primes"));
        let log = self
            .client
            .logs(&pod.context("the job's pods are gone")?.metadata.name)
            .await?;
        step.done(log.trim());
        self.report.check(
            "a Wasm batch job runs to completion",
            log.contains("78498 primes"),
            log.trim(),
        );
        Ok(())
    }

    /// The policy is swapped while requests and scale-ups go on.
    pub async fn swaps(&mut self) -> Result<()> {
        let loads = self.loads();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut slowest = Duration::ZERO;
        for swap in 0..SWAPS {
            let policy = if swap % 2 == 0 { "binpack" } else { "scheduler" };
            let step = self
                .report
                .step(&format!("swap to {policy}, and {MORE} more pods each"));
            let swapped = Instant::now();
            self.client.activate_plugin(policy).await?;
            slowest = slowest.max(swapped.elapsed());
            // The loop takes the new line-up between two batches; what it had begun it ends.
            tokio::time::sleep(SETTLE).await;
            self.scale_up(policy).await?;
            let answered: u64 = loads
                .iter()
                .map(|load| load.tally.answered.load(Ordering::Relaxed))
                .sum();
            step.done(&format!("{answered} requests answered so far"));
        }
        let (mut answered, mut failed, mut worst, mut failures) = (0, 0, 0, Vec::new());
        for load in loads {
            let tally = load.stop();
            answered += tally.answered.load(Ordering::Relaxed);
            failed += tally.failed.load(Ordering::Relaxed);
            worst = worst.max(tally.slowest.load(Ordering::Relaxed));
            failures.extend(
                tally
                    .failures
                    .lock()
                    .map(|failures| failures.clone())
                    .unwrap_or_default(),
            );
        }
        let seen = match failures.first() {
            Some(first) => format!("{failed} of {answered} failed, first: {first}"),
            None => format!("{answered} answered, 0 failed, the slowest in {worst} ms"),
        };
        self.report.check(
            "no request fails during swaps and scale-ups",
            failed == 0 && answered > 100,
            seen,
        );
        self.pods_are_whole(slowest).await
    }

    /// More pods of each app; all of them must become ready, and new ones be bound by the policy in force.
    async fn scale_up(&mut self, policy: &str) -> Result<()> {
        let (digest, mode, _) = self.client.plugin(policy).await?;
        if mode != "Active" {
            bail!("{policy} is {mode} after its activation");
        }
        let before = self.bound_by(&digest).await;
        for app in &mut self.apps {
            app.replicas += MORE;
            self.client.scale(app.name, app.replicas).await?;
        }
        for app in &self.apps {
            self.client.wait_available(app.name, app.replicas, PATIENCE).await?;
        }
        let after = self.bound_by(&digest).await;
        if after < before + MORE * self.apps.len() {
            bail!(
                "of the new pods only {} were bound by {policy} ({digest})",
                after - before
            );
        }
        Ok(())
    }

    async fn bound_by(&self, digest: &str) -> usize {
        self.ledger
            .lock()
            .await
            .bound_by()
            .get(digest)
            .copied()
            .unwrap_or_default()
    }

    async fn pods_are_whole(&mut self, slowest: Duration) -> Result<()> {
        let ledger = self.ledger.lock().await;
        let wrong: Vec<String> = self
            .apps
            .iter()
            .filter(|app| ledger.count(app.name) != (app.replicas, app.replicas))
            .map(|app| format!("{}: {:?} of {}", app.name, ledger.count(app.name), app.replicas))
            .chain(ledger.lost().into_iter().map(|pod| format!("{pod} went")))
            .collect();
        let all: usize = self.apps.iter().map(|app| app.replicas).sum();
        let policies = ledger.bound_by().len();
        let seen = match wrong.is_empty() {
            true => format!("{all} of {all} ready, each named its policy ({policies} policies)"),
            false => wrong.join("; "),
        };
        let twice = ledger.bound_twice.iter().cloned().collect::<Vec<_>>();
        self.report.check("no pod is lost", wrong.is_empty(), seen);
        let seen = if twice.is_empty() {
            "none".to_owned()
        } else {
            twice.join(", ")
        };
        self.report.check("no pod is bound twice", twice.is_empty(), seen);
        let seen = format!("{SWAPS} swaps, the slowest in {:.1} ms", slowest.as_secs_f64() * 1000.0);
        self.report
            .check("the scheduler policy is swapped and swapped back", true, seen);
        Ok(())
    }

    /// A policy that loops for ever is loaded, and rolled back by itself.
    pub async fn hostile(&mut self) -> Result<()> {
        let step = self.report.step("a policy that loops for ever");
        let bytes = sampan_builtin::component(sampan_builtin::HOSTILE, "hostile-loop").context("no hostile policy")?;
        self.client
            .load_plugin("loop", bytes, sampan_api::plugin::DEFAULT_SCHEDULER)
            .await?;
        self.client.activate_plugin("loop").await?;
        let app = self.apps.last_mut().context("no deployment is left")?;
        app.replicas += MORE;
        let asked = Instant::now();
        self.client.scale(app.name, app.replicas).await?;
        let mut message = String::new();
        let rolled_back = loop {
            let (_, mode, status) = self.client.plugin("loop").await?;
            if mode != "Active" {
                message = status;
                break true;
            }
            if asked.elapsed() > PATIENCE {
                break false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let took = asked.elapsed();
        self.client.wait_available(app.name, app.replicas, PATIENCE).await?;
        let (_, mode, _) = self.client.plugin("scheduler").await?;
        let good = rolled_back && mode == "Active";
        step.done(&format!("rolled back by itself: {message}"));
        let seen = format!(
            "{} ms after it was asked; scheduler is {mode}, and its pods run",
            took.as_millis()
        );
        self.report
            .check("a policy that loops is rolled back by itself", good, seen);
        Ok(())
    }

    /// Everything is deleted, as a user would.
    pub async fn delete_all(&mut self) -> Result<()> {
        let step = self.report.step("delete it all");
        for app in &self.apps {
            self.client.delete(&deployment_key(app.name)).await?;
        }
        self.client
            .delete(&Key::new("jobs.batch", sampan_api::DEFAULT_NAMESPACE, "primes"))
            .await?;
        if self.front.take().is_some() {
            self.client.delete(&service_key("front")).await?;
        }
        let started = Instant::now();
        loop {
            let left = self.client.list("pods").await?.len();
            if left == 0 {
                break;
            }
            if started.elapsed() > PATIENCE {
                bail!("{left} pods are still there {PATIENCE:?} after their deployments were deleted");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        step.done("every pod is gone");
        Ok(())
    }
}
