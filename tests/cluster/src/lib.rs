//! A control plane for tests: the real server with the real plugins, nodes that are only objects, and pods that wait.
#![allow(clippy::expect_used)] // Tests' own code: a panic here is the test failing.
pub mod group;

use sampan_api::{
    Key, Object, Operation, Plan, Selection, Write, kinds,
    plugin::{DEFAULT_SCHEDULER, Mode, PluginSpec, RESOURCE, World},
    rpc::{objects_client::ObjectsClient, plugins_client::PluginsClient},
};
use sampan_server::{BuiltinPlugin, Server, ServerConfig};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Nothing in these tests takes so long on a machine that works.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A control plane in a directory that goes with it.
pub struct ControlPlane {
    pub server: Server,
    _home: tempfile::TempDir,
}

impl ControlPlane {
    /// Starts one with the built-in plugins, `scheduler` deciding. Compiled plugins are kept in `cache`.
    pub async fn start(cache: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = tempfile::tempdir().expect("a temporary directory");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = ServerConfig::new(home.path().join("server"), cache.to_owned(), listen);
        let builtins = sampan_builtin::PLUGINS.iter();
        config.builtin_plugins = builtins
            .map(|(name, bytes)| BuiltinPlugin::named(name, bytes))
            .collect();
        let server = Server::start(config).await.expect("the server starts");
        ControlPlane { server, _home: home }
    }

    /// The service of plugins, as an administrator asks it.
    pub fn plugins(&self) -> PluginsClient<Channel> {
        PluginsClient::new(self.channel())
    }

    /// The service of objects, as an administrator asks it.
    pub fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel())
    }

    fn channel(&self) -> Channel {
        let authority = self.server.authority();
        let admin = authority.issue_admin().expect("a certificate");
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority.ca_pem()))
            .identity(Identity::from_pem(admin.cert_pem, admin.key_pem));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server.local_addr()));
        let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls));
        endpoint.expect("an endpoint").connect_lazy()
    }

    /// Commits writes as one plan.
    pub async fn commit(&self, writes: Vec<Write>) {
        self.server
            .replica()
            .commit_one(Plan { writes })
            .await
            .expect("the plan commits");
    }

    pub async fn create(&self, value: Value) {
        let object = Object::from_value(&value).expect("an object");
        let key = object.key().expect("a known kind");
        self.commit(vec![Write::new(key, Operation::Create(object))]).await;
    }

    /// A node that is ready, with room for `pods` pods of a tenth of a core.
    pub async fn node(&self, name: &str, pods: u32) {
        let status = json!({
            "allocatable": {"cpu": format!("{}m", pods * 100), "memory": "64Gi", "pods": "100000"},
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}))
            .await;
    }

    /// So many pods that wait for a node.
    pub async fn pods(&self, prefix: &str, count: usize) {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}}});
        let pod = |n: usize| {
            let metadata = json!({"name": format!("{prefix}-{n}"), "namespace": "default"});
            let value =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}});
            let object = Object::from_value(&value).expect("a pod");
            Write::new(object.key().expect("a known kind"), Operation::Create(object))
        };
        self.commit((0..count).map(pod).collect()).await;
    }

    /// The node of each pod whose name starts so; empty where it has none.
    pub fn bindings(&self, prefix: &str) -> Vec<(String, String, String)> {
        let pods = Selection::of("pods");
        let snapshot = self.server.replica().snapshot();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        snapshot
            .list(&pods)
            .filter(|(key, _)| key.name.starts_with(prefix))
            .map(|(key, pod)| {
                let policy = pod
                    .metadata
                    .annotations
                    .get("sampan.dev/scheduled-by")
                    .cloned()
                    .unwrap_or_default();
                (key.name.to_string(), text(&pod.field_value("spec")["nodeName"]), policy)
            })
            .collect()
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    }

    /// Waits until all pods whose name starts so have a node.
    pub async fn until_bound(&self, prefix: &str) -> Duration {
        let bound = |plane: &Self| plane.bindings(prefix).iter().all(|(_, node, _)| !node.is_empty());
        self.until(&format!("all pods {prefix}-* bound"), bound).await
    }

    /// What a plugin is wanted to be, and what its status says.
    pub fn plugin(&self, name: &str) -> (PluginSpec, Value) {
        let snapshot = self.server.replica().snapshot();
        let object = snapshot.get(&Key::new(RESOURCE, "", name)).expect("the plugin");
        (
            object.field("spec").expect("a plugin's spec"),
            object.field_value("status"),
        )
    }

    /// Stores a scheduler and makes it the active one in place of `scheduler`, as `plugin load` and `activate` do.
    pub async fn activate_scheduler(&self, name: &str, bytes: &'static [u8]) {
        let digest = self
            .server
            .replica()
            .put_blob(bytes.into())
            .await
            .expect("the bytes are kept");
        let kind = kinds::of_resource(RESOURCE).expect("plugins are a kind");
        let spec = PluginSpec {
            world: World::Scheduler,
            digest,
            slot: DEFAULT_SCHEDULER.to_owned(),
            mode: Mode::Active,
            ..PluginSpec::default()
        };
        let object = Object::new(kind, "", name).with_field("spec", &spec);
        let key = |name: &str| Key::new(RESOURCE, "", name);
        let step_back = Operation::Merge(json!({"spec": {"mode": Mode::LastGood}}));
        self.commit(vec![
            Write::new(key("scheduler"), step_back),
            Write::new(key(name), Operation::Create(object)),
        ])
        .await;
    }
}
