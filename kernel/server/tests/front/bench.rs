//! A server for a test, and clients of it.
use sampan_api::{
    ApiError,
    dual::ClusterRanges,
    rpc::{self, objects_client::ObjectsClient},
};
use sampan_server::{KeyPair, Server, ServerConfig, StartError};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub struct Bench {
    pub server: Option<Server>,
    pub dir: tempfile::TempDir,
}

pub fn config(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::new(dir.join("server"), dir.join("cache"), "127.0.0.1:0".parse().unwrap());
    config.node_grace = Duration::from_millis(600);
    config
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Of a cluster with these ranges of addresses.
    pub async fn start_with(ranges: Option<ClusterRanges>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            ranges,
            ..config(dir.path())
        };
        let server = Server::start(config).await.unwrap();
        Bench {
            server: Some(server),
            dir,
        }
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub async fn restart(&mut self) -> Result<(), StartError> {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
        self.server = Some(Server::start(config(self.dir.path())).await?);
        Ok(())
    }

    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
    }

    /// A connection with a certificate of this cluster's, or with none.
    pub fn channel(&self, pair: Option<&KeyPair>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.server().authority().ca_pem()));
        if let Some(pair) = pair {
            tls = tls.identity(Identity::from_pem(&pair.cert_pem, &pair.key_pem));
        }
        let address = format!("https://localhost:{}", self.server().local_addr().port());
        Endpoint::from_shared(address)
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect_lazy()
    }

    pub fn admin(&self) -> Channel {
        self.channel(Some(&self.server().authority().issue_admin().unwrap()))
    }

    pub fn agent(&self, node: &str) -> Channel {
        self.channel(Some(
            &self
                .server()
                .authority()
                .issue_node(node, &["127.0.0.1".to_owned()])
                .unwrap(),
        ))
    }

    pub fn objects(&self) -> Client {
        Client(ObjectsClient::new(self.admin()))
    }
}

/// The service of objects, with errors as the house knows them.
#[derive(Clone)]
pub struct Client(pub ObjectsClient<Channel>);

type Wrote = Result<rpc::WriteResponse, ApiError>;

impl Client {
    pub async fn create(&mut self, value: Value) -> Wrote {
        let request = rpc::CreateRequest {
            json: value.to_string().into(),
            ..Default::default()
        };
        Ok(self.0.create(request).await?.into_inner())
    }

    pub async fn apply(&mut self, value: Value) -> Wrote {
        let request = rpc::ApplyRequest {
            json: value.to_string().into(),
            ..Default::default()
        };
        Ok(self.0.apply(request).await?.into_inner())
    }

    pub async fn replace(&mut self, value: Value) -> Wrote {
        let request = rpc::ReplaceRequest {
            json: value.to_string().into(),
            ..Default::default()
        };
        Ok(self.0.replace(request).await?.into_inner())
    }

    pub async fn patch(&mut self, resource: &str, name: &str, kind: rpc::PatchType, patch: Value) -> Wrote {
        let request = rpc::PatchRequest {
            key: Some(key(resource, name)),
            r#type: kind.into(),
            patch: patch.to_string().into(),
            ..Default::default()
        };
        Ok(self.0.patch(request).await?.into_inner())
    }

    pub async fn delete(&mut self, resource: &str, name: &str) -> Wrote {
        let request = rpc::DeleteRequest {
            key: Some(key(resource, name)),
            ..Default::default()
        };
        Ok(self.0.delete(request).await?.into_inner())
    }

    pub async fn get(&mut self, resource: &str, name: &str) -> Result<Value, ApiError> {
        let request = rpc::GetRequest {
            key: Some(key(resource, name)),
            stale: false,
        };
        Ok(json_of(&self.0.get(request).await?.into_inner()))
    }

    pub async fn list(&mut self, request: rpc::ListRequest) -> Result<rpc::ListResponse, ApiError> {
        Ok(self.0.list(request).await?.into_inner())
    }

    pub async fn commit(
        &mut self,
        plans: Vec<rpc::Plan>,
        key: &str,
    ) -> Result<Vec<Result<rpc::Committed, ApiError>>, ApiError> {
        let request = rpc::CommitRequest {
            plans,
            idempotency_key: key.to_owned(),
        };
        let results = self.0.commit(request).await?.into_inner().results.into_iter();
        Ok(results
            .map(|result| match result.result.unwrap() {
                rpc::plan_result::Result::Committed(committed) => Ok(committed),
                rpc::plan_result::Result::Failure(failure) => Err(ApiError::from(&failure)),
            })
            .collect())
    }
}

/// A key in the namespace `default`.
pub fn key(resource: &str, name: &str) -> rpc::Key {
    let namespace = match resource {
        "nodes" | "namespaces" | "plugins.sampan.dev" | "priorityclasses.scheduling.k8s.io" => "",
        _ => "default",
    };
    rpc::Key {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

pub fn json_of(object: &rpc::Object) -> Value {
    serde_json::from_slice(&object.json).unwrap()
}

pub fn written(response: &rpc::WriteResponse) -> Value {
    json_of(response.object.as_ref().unwrap())
}

pub fn selection(resource: &str) -> Option<rpc::Selection> {
    Some(rpc::Selection {
        resource: resource.to_owned(),
        ..Default::default()
    })
}

pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

pub fn deployment(name: &str, replicas: i64, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": image}]}}}})
}

pub fn pod(name: &str, node: &str) -> Value {
    let mut spec = json!({"containers": [{"name": "a", "image": "i"}]});
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}
