//! Several real servers as one group, in this process, that come and go.
use crate::PATIENCE;
use sampan_api::{
    Key, Object, kinds,
    rpc::{CreateTokenRequest, RemoveMemberRequest, membership_client::MembershipClient},
};
use sampan_server::{
    Server, ServerConfig, StartError,
    enroll::{Enroll, Enrolled, enroll, enrolled},
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
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
    server: Option<Server>,
}

/// Servers `s0`, `s1`, …
pub struct Group {
    machines: Vec<Machine>,
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
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut group = Group {
            machines: Vec::new(),
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
        config.enrolled = enrolled;
        config.alone = alone;
        Server::start(config).await
    }

    /// Another machine becomes one of the group.
    pub async fn join(&mut self) {
        let token = self.token("server", true).await;
        let number = self.machine();
        let ask = self.ask(&token, "server", &format!("s{number}"), self.machines[number].listen);
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
            advertise: match role {
                "server" => listen.to_string(),
                _ => listen.ip().to_string(),
            },
        }
    }

    /// Why a machine is not let in.
    pub async fn refusal(&self, token: &str, role: &str, name: &str) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ask = self.ask(token, role, name, free_port());
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

    /// A connection to a server, as an administrator.
    pub async fn channel(&self, number: usize) -> Channel {
        let (ca, cert, key) = &self.admin;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .identity(Identity::from_pem(cert, key));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server(number).local_addr()));
        let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls));
        endpoint.expect("an endpoint").connect().await.expect("a connection")
    }

    async fn membership(&self, number: usize) -> MembershipClient<Channel> {
        MembershipClient::new(self.channel(number).await)
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
        let answer = self
            .membership(running.expect("a server"))
            .await
            .create_token(request)
            .await;
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
        let answer = self
            .membership(asked)
            .await
            .remove_member(RemoveMemberRequest { name })
            .await;
        answer.map(drop).map_err(|status| status.message().to_owned())
    }
}
