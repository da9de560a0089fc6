//! Several real servers as one group, in this process, that come and go.
use crate::PATIENCE;
use sampan_api::{
    Key, Object,
    dual::ClusterRanges,
    kinds,
    rpc::{CreateTokenRequest, RemoveMemberRequest, membership_client::MembershipClient},
};
use sampan_server::{
    BuiltinPlugin, Server, ServerConfig, StartError,
    enroll::{Enroll, Enrolled, enroll, enrolled},
    features::Build,
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A namespace.
pub fn namespace(name: &str) -> Object {
    Object::new(kinds::of_manifest("v1", "Namespace").expect("known"), "", name)
}

struct Machine {
    dir: PathBuf,
    /// The same at each start, as members know it.
    listen: SocketAddr,
    /// What its program is, and carries.
    build: Build,
    builtins: Vec<BuiltinPlugin>,
    server: Option<Server>,
}

/// Servers `s0`, `s1`, …
pub struct Group {
    machines: Vec<Machine>,
    /// That of machines to come.
    build: Build,
    /// What the cluster is made with.
    ranges: Option<ClusterRanges>,
    home: tempfile::TempDir,
    admin: (String, String, String),
}

/// A port that nobody has now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

impl Group {
    /// A group of so many voters.
    pub async fn of(count: usize) -> Self {
        Self::of_build(count, Build::this()).await
    }

    /// A group of so many voters, all with this build.
    pub async fn of_build(count: usize, build: Build) -> Self {
        Self::made_with(count, build, None).await
    }

    /// A group of so many voters of a cluster with these ranges of addresses.
    pub async fn of_ranges(count: usize, ranges: ClusterRanges) -> Self {
        Self::made_with(count, Build::this(), Some(ranges)).await
    }

    async fn made_with(count: usize, build: Build, ranges: Option<ClusterRanges>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut group = Group {
            machines: Vec::new(),
            build,
            ranges,
            home,
            admin: Default::default(),
        };
        group.machine();
        group.start(0, None, false).await;
        let authority = group.server(0).authority();
        let admin = authority.issue_admin().expect("a certificate");
        group.admin = (authority.ca_pem().to_owned(), admin.cert_pem, admin.key_pem);
        for _ in 1..count {
            group.join().await;
        }
        group
            .until("all are voters", |group| {
                group
                    .servers()
                    .all(|server| server.replica().status().voters.len() == count)
            })
            .await;
        group
    }

    fn machine(&mut self) -> usize {
        let number = self.machines.len();
        self.machines.push(Machine {
            dir: self.home.path().join(format!("s{number}")),
            listen: free_port(),
            build: self.build.clone(),
            builtins: Vec::new(),
            server: None,
        });
        number
    }

    async fn start(&mut self, number: usize, enrolled: Option<Enrolled>, alone: bool) {
        let started = self.try_start(number, enrolled, alone).await;
        self.machines[number].server = Some(started.expect("the server starts"));
    }

    async fn try_start(&self, number: usize, enrolled: Option<Enrolled>, alone: bool) -> Result<Server, StartError> {
        let machine = &self.machines[number];
        let cache = self.home.path().join("cache");
        let mut config = ServerConfig::new(machine.dir.join("server"), cache, machine.listen);
        config.name = format!("s{number}");
        config.ranges = self.ranges.filter(|_| enrolled.is_none());
        config.enrolled = enrolled;
        config.alone = alone;
        config.build = machine.build.clone();
        config.builtin_plugins = machine.builtins.clone();
        Server::start(config).await
    }

    /// Another machine becomes one of the group.
    pub async fn join(&mut self) {
        self.join_as(false).await;
    }

    /// As [`Group::join`]; a standby does not vote until it is promoted.
    pub async fn join_as(&mut self, standby: bool) {
        let token = self.token("server", true).await;
        let number = self.machine();
        let mut ask = self.ask(&token, "server", &format!("s{number}"), self.machines[number].listen);
        ask.standby = standby;
        let dir = self.machines[number].dir.clone();
        let enrolled = enroll(&ask, &dir, &dir.join("server")).await.expect("it is let in");
        self.start(number, Some(enrolled), false).await;
    }

    fn ask(&self, token: &str, role: &str, name: &str, listen: SocketAddr) -> Enroll {
        Enroll {
            address: self.servers().next().expect("a server").local_addr().to_string(),
            token: token.parse().expect("a token"),
            role: role.parse().expect("a role"),
            name: name.to_owned(),
            listen: listen.to_string(),
            advertise: match role {
                "server" => listen.to_string(),
                _ => listen.ip().to_string(),
            },
            standby: false,
            build: self.build.clone(),
        }
    }

    /// Why a machine is not let in.
    pub async fn refusal(&self, token: &str, role: &str, name: &str) -> String {
        self.refusal_of(self.ask(token, role, name, free_port())).await
    }

    /// As [`Group::refusal`], of a node that has another build.
    pub async fn refusal_of_node(&self, token: &str, build: Build) -> String {
        let ask = self.ask(token, "node", "x", free_port());
        self.refusal_of(Enroll { build, ..ask }).await
    }

    /// As [`Group::refusal`], of who would be a standby, or has another build.
    pub async fn refusal_as(&self, token: &str, standby: bool, build: Build) -> String {
        let ask = self.ask(token, "server", "x", free_port());
        self.refusal_of(Enroll { standby, build, ..ask }).await
    }

    async fn refusal_of(&self, ask: Enroll) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let answer = enroll(&ask, dir.path(), &dir.path().join("server")).await;
        let kept = std::fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(kept, 0, "nothing is kept of a join that was refused");
        answer.expect_err("it is not let in").to_string()
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.machines.iter().filter_map(|machine| machine.server.as_ref())
    }

    pub fn server(&self, number: usize) -> &Server {
        self.machines[number].server.as_ref().expect("it runs")
    }

    /// The id of a machine among the members.
    pub fn id(&self, number: usize) -> u64 {
        match enrolled(&self.machines[number].dir).expect("readable") {
            Some(enrolled) => enrolled.member,
            None => 1,
        }
    }

    /// Who leads.
    pub fn leader(&self) -> usize {
        let leads = |machine: &Machine| {
            let status = machine.server.as_ref().map(|server| server.replica().status());
            status.is_some_and(|status| status.leader == status.member)
        };
        self.machines.iter().position(leads).expect("a leader")
    }

    /// Ends a server without a farewell to the others.
    pub async fn kill(&mut self, number: usize) {
        if let Some(server) = self.machines[number].server.take() {
            server.shutdown().await;
        }
    }

    /// Starts it again on what it has on disk.
    pub async fn revive(&mut self, number: usize) {
        let enrolled = enrolled(&self.machines[number].dir).expect("readable");
        self.start(number, enrolled, false).await;
    }

    /// Ends it and starts it again with another build.
    ///
    /// # Errors
    /// Why that does not start.
    pub async fn change_build(&mut self, number: usize, build: Build) -> Result<(), String> {
        self.change_build_with(number, build, Vec::new()).await
    }

    /// As [`Group::change_build`], to one that carries these plugins.
    ///
    /// # Errors
    /// As [`Group::change_build`].
    pub async fn change_build_with(
        &mut self,
        number: usize,
        build: Build,
        builtins: Vec<BuiltinPlugin>,
    ) -> Result<(), String> {
        self.kill(number).await;
        (self.machines[number].build, self.machines[number].builtins) = (build, builtins);
        let enrolled = enrolled(&self.machines[number].dir).expect("readable");
        let started = self.try_start(number, enrolled, false).await;
        self.machines[number].server = Some(started.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Where a machine keeps what it has.
    pub fn dir(&self, number: usize) -> &Path {
        &self.machines[number].dir
    }

    /// A node joins through a server; the range of its pods.
    pub async fn join_node(&self, by: usize, token: &str, name: &str) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut ask = self.ask(token, "node", name, self.machines[by].listen);
        ask.address = self.machines[by].listen.to_string();
        let enrolled = enroll(&ask, dir.path(), &dir.path().join("server")).await;
        enrolled.expect("it is let in").pod_cidr
    }

    /// Starts it again, to go on without the others.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn go_on_alone(&mut self, number: usize) -> Result<(), String> {
        let enrolled = enrolled(&self.machines[number].dir).expect("readable");
        let started = self.try_start(number, enrolled, true).await;
        self.machines[number].server = Some(started.map_err(|error| error.to_string())?);
        Ok(())
    }

    pub async fn end(mut self) {
        for number in 0..self.machines.len() {
            self.kill(number).await;
        }
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A connection to a machine, as an administrator, whoever listens there.
    pub fn channel(&self, number: usize) -> Channel {
        let (ca, cert, key) = &self.admin;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .identity(Identity::from_pem(cert, key));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.machines[number].listen));
        let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls));
        endpoint.expect("an endpoint").connect_lazy()
    }

    pub fn membership(&self, number: usize) -> MembershipClient<Channel> {
        MembershipClient::new(self.channel(number))
    }

    /// A token, as an administrator gets one.
    pub async fn token(&self, role: &str, single_use: bool) -> String {
        let request = CreateTokenRequest {
            role: role.to_owned(),
            ttl_seconds: 600,
            single_use,
            description: String::new(),
        };
        let running = self.machines.iter().position(|machine| machine.server.is_some());
        let answer = self.membership(running.expect("a server")).create_token(request).await;
        answer.expect("a token").into_inner().token
    }

    /// Makes a token worthless.
    pub async fn revoke(&self, token: &str) {
        let id = token.split('.').nth(1).expect("an id");
        let key = Key::new(sampan_server::token::RESOURCE, "", id);
        let deletion = sampan_api::Operation::Delete(sampan_api::plan::Deletion::default());
        let plan = sampan_api::Plan::from(sampan_api::Write::new(key, deletion));
        self.server(0).replica().commit_one(plan).await.expect("it is revoked");
    }

    /// Takes a member out, asking that server.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn remove(&self, asked: usize, number: usize) -> Result<(), String> {
        let name = format!("s{number}");
        let answer = self.membership(asked).remove_member(RemoveMemberRequest { name }).await;
        answer.map(drop).map_err(|status| status.message().to_owned())
    }
}
