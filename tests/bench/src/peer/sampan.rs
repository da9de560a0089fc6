//! Sampan's servers as processes, without nodes, and a client of theirs.
use super::{Client, PATIENCE, Process, Store, ports, until};
use anyhow::{Result, bail, ensure};
use sampan_api::rpc::{self, objects_client::ObjectsClient};
use sampan_cli::{
    contexts::{Access, Contexts},
    session::{PAGE, Session, Writer},
};
use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// The servers.
pub struct Sampan {
    pub home: tempfile::TempDir,
    binary: PathBuf,
    addresses: Vec<String>,
    processes: Vec<Process>,
    access: Access,
}

impl Sampan {
    fn command(&self, member: usize) -> Command {
        let home = self.home.path().join(format!("s{member}"));
        let mut command = Command::new(&self.binary);
        command.env("HOME", &home).env("SAMPAN_CONFIG", home.join("config"));
        command
    }

    fn server(&self, member: usize, verb: &[&str]) -> Result<Process> {
        let home = self.home.path().join(format!("s{member}"));
        std::fs::create_dir_all(&home)?;
        let mut command = self.command(member);
        command
            .args(verb)
            .args([
                "--no-agent",
                "--name",
                &format!("s{member}"),
                "--listen",
                &self.addresses[member],
                // Nodes are objects only here: nobody reports for them.
                "--node-monitor-grace-period",
                "86400",
            ])
            .arg("--data-dir")
            .arg(home.join("data"));
        Process::start(&mut command, &home.join("said"))
    }

    /// Runs a command of the CLI to its end; what it printed.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(0).args(args).output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "sampan {args:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Waits until the servers have nothing to do: children of a first start compile the built-in plugins.
    async fn rests(&self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(200);
        let cpu = || self.processes.iter().map(Process::cpu).sum::<Result<f64>>();
        let alone = || {
            self.processes
                .iter()
                .all(|process| process.is_childless().unwrap_or(false))
        };
        let rests = || async {
            let before = cpu().unwrap_or_default();
            let compiles = !alone();
            tokio::time::sleep(PAUSE).await;
            !compiles && alone() && cpu().is_ok_and(|after| after - before < PAUSE.as_secs_f64() / 20.0)
        };
        until("the servers rest", rests).await?;
        Ok(())
    }

    async fn status(&self, member: usize) -> Result<rpc::StatusResponse> {
        let session = self.session(member)?;
        let answer = session.cluster().status(rpc::StatusRequest { here: true }).await?;
        Ok(answer.into_inner())
    }

    /// A session with a member, as the CLI has one.
    pub fn session(&self, member: usize) -> Result<Session> {
        let access = Access {
            server: format!("https://{}", self.addresses[member]),
            ..self.access.clone()
        };
        Session::open(&access, PATIENCE)
    }
}

impl Store for Sampan {
    type Client = Connection;
    const NAME: &'static str = "sampan";
    const TOGETHER: usize = 500;

    async fn start(members: usize) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("sampan");
        ensure!(
            binary.exists(),
            "{} is missing: `cargo build --release` makes it",
            binary.display()
        );
        let mut store = Sampan {
            home: tempfile::tempdir()?,
            binary,
            addresses: ports(members)?.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            processes: Vec::new(),
            access: Access::default(),
        };
        let first = store.server(0, &["up"])?;
        store.processes.push(first);
        let config = store.home.path().join("s0/config");
        until("the first server", || async { config.exists() }).await?;
        store.access = Contexts::load(&config)?.access(None)?;
        for member in 1..members {
            let token = store.run(&["token", "create", "--role", "server"])?;
            let join = ["join", &store.addresses[0], "--token", &token, "--role", "server"];
            let process = store.server(member, &join)?;
            store.processes.push(process);
        }
        let all_vote = || async {
            let status = store.status(0).await.map(|status| status.members).unwrap_or_default();
            status.len() == members && status.iter().all(|member| member.role != "learner")
        };
        until("all servers are voters", all_vote).await?;
        store.rests().await?;
        Ok(store)
    }

    fn client(&self, member: usize) -> Result<Connection> {
        let session = self.session(member)?;
        Ok(Connection {
            writer: session.writer(),
            session: Arc::new(session),
        })
    }

    async fn leader(&self) -> Result<usize> {
        for member in 0..self.addresses.len() {
            let Ok(status) = self.status(member).await else {
                continue;
            };
            let leader = status.members.iter().find(|member| member.role == "leader");
            let number = leader.and_then(|leader| leader.name.strip_prefix('s')?.parse().ok());
            if let Some(leader) = number {
                return Ok(leader);
            }
        }
        bail!("nobody leads")
    }

    fn process(&mut self, member: usize) -> &mut Process {
        &mut self.processes[member]
    }

    fn again(&mut self, member: usize) -> Result<()> {
        self.processes[member] = self.server(member, &["up"])?;
        Ok(())
    }
}

fn create(name: &str, value: &str) -> rpc::Write {
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}},"data":{{"value":"{value}"}}}}"#
    );
    rpc::Write {
        key: Some(key(name)),
        expect: 0,
        operation: Some(rpc::write::Operation::Create(json.into())),
    }
}

fn key(name: &str) -> rpc::Key {
    rpc::Key {
        resource: "configmaps".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn all() -> rpc::Selection {
    rpc::Selection {
        resource: "configmaps".to_owned(),
        namespace: "default".to_owned(),
        ..rpc::Selection::default()
    }
}

fn plan(writes: Vec<rpc::Write>) -> rpc::Plan {
    rpc::Plan { writes }
}

/// A client; its clones share a connection, and what they write at a time travels together.
#[derive(Clone)]
pub struct Connection {
    session: Arc<Session>,
    writer: Writer,
}

impl Connection {
    fn objects(&self) -> ObjectsClient<Channel> {
        self.session.objects()
    }
}

impl Client for Connection {
    async fn put(&self, name: &str, value: &str) -> Result<()> {
        self.writer.commit(plan(vec![create(name, value)])).await?;
        Ok(())
    }

    async fn fill(&self, names: Vec<String>, value: &str) -> Result<()> {
        let writes = plan(names.iter().map(|name| create(name, value)).collect());
        self.writer.commit(writes).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<()> {
        let request = rpc::GetRequest {
            key: Some(key(name)),
            stale: false,
        };
        self.objects().get(request).await?;
        Ok(())
    }

    async fn list(&self) -> Result<usize> {
        // In pages, as the CLI asks for them.
        let mut request = rpc::ListRequest {
            selection: Some(all()),
            limit: PAGE,
            ..rpc::ListRequest::default()
        };
        let mut count = 0;
        loop {
            let page = self.objects().list(request.clone()).await?.into_inner();
            count += page.objects.len();
            if page.continue_token.is_empty() {
                return Ok(count);
            }
            request.continue_token = page.continue_token;
        }
    }

    async fn watch(&self, seen: mpsc::UnboundedSender<String>) -> Result<()> {
        let list = rpc::ListRequest {
            selection: Some(all()),
            limit: 1,
            ..rpc::ListRequest::default()
        };
        let revision = self.objects().list(list).await?.into_inner().revision;
        let request = rpc::WatchRequest {
            selection: Some(all()),
            revision,
        };
        let mut events = self.objects().watch(request).await?.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(event)) = events.message().await {
                let Some(key) = event.object.and_then(|object| object.key) else {
                    continue;
                };
                if seen.send(key.name).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}
