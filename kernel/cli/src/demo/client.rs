//! The demo's way to its cluster: the same gRPC as every other client's.
use super::ledger::Ledger;
use anyhow::{Context, Result, bail};
use sampan_api::{
    Key, Object,
    rpc::{
        self, EventType, PluginChunk, PluginHeader, PluginRequest, Selection, objects_client::ObjectsClient,
        plugins_client::PluginsClient, runtime_client::RuntimeClient,
    },
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};
use tonic::transport::Channel;

/// How large the pieces are in which archives and plugins are sent.
const CHUNK: usize = 256 * 1024;

/// A client of the demo's cluster.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Client { channel }
    }

    fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel.clone())
    }

    fn plugins(&self) -> PluginsClient<Channel> {
        PluginsClient::new(self.channel.clone())
    }

    fn runtime(&self) -> RuntimeClient<Channel> {
        RuntimeClient::new(self.channel.clone())
    }

    /// Applies a manifest.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        let value: Value = serde_saphyr::from_str(yaml).context("the demo's manifest is not YAML")?;
        let request = rpc::ApplyRequest {
            json: value.to_string().into(),
            default_namespace: sampan_api::DEFAULT_NAMESPACE.to_owned(),
            // The demo's manifests are ours: a slip in one is told to nobody but who reads this.
            field_validation: rpc::FieldValidation::Strict.into(),
            ..rpc::ApplyRequest::default()
        };
        self.objects().apply(request).await?;
        Ok(())
    }

    /// Sets how many pods a deployment wants.
    pub async fn scale(&self, deployment: &str, replicas: usize) -> Result<()> {
        let request = rpc::PatchRequest {
            key: Some((&deployment_key(deployment)).into()),
            r#type: rpc::PatchType::Merge.into(),
            patch: json!({"spec": {"replicas": replicas}}).to_string().into(),
            ..rpc::PatchRequest::default()
        };
        self.objects().patch(request).await?;
        Ok(())
    }

    pub async fn get(&self, key: &Key) -> Result<Object> {
        let request = rpc::GetRequest {
            key: Some(key.into()),
            stale: false,
        };
        Ok(self.objects().get(request).await?.into_inner().object()?)
    }

    pub async fn list(&self, resource: &str) -> Result<Vec<Object>> {
        let selection = Selection {
            resource: resource.to_owned(),
            ..Selection::default()
        };
        let request = rpc::ListRequest {
            selection: Some(selection),
            ..rpc::ListRequest::default()
        };
        let response = self.objects().list(request).await?.into_inner();
        response.objects.iter().map(|object| Ok(object.object()?)).collect()
    }

    pub async fn delete(&self, key: &Key) -> Result<()> {
        let request = rpc::DeleteRequest {
            key: Some(key.into()),
            ..rpc::DeleteRequest::default()
        };
        self.objects().delete(request).await?;
        Ok(())
    }

    /// Waits until an object is as wanted.
    pub async fn wait_for(
        &self,
        key: &Key,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            let object = self.get(key).await?;
            if wanted(&object) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!(
                    "{key} did not become {what} within {limit:?}; its status is {}",
                    object.field_value("status")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all pods of a deployment are available.
    pub async fn wait_available(&self, deployment: &str, replicas: usize, limit: Duration) -> Result<()> {
        let what = format!("available with {replicas} pods");
        let wanted = |object: &Object| object.field_value("status")["availableReplicas"] == json!(replicas);
        self.wait_for(&deployment_key(deployment), limit, &what, wanted).await
    }

    /// Gives the node an image archive.
    pub async fn load_image(&self, archive: Vec<u8>) -> Result<()> {
        let chunks: Vec<_> = archive
            .chunks(CHUNK)
            .map(|chunk| rpc::LoadImageRequest {
                data: chunk.to_vec().into(),
                node: String::new(),
            })
            .collect();
        self.runtime().load_image(futures::stream::iter(chunks)).await?;
        Ok(())
    }

    /// The log of a pod, whole.
    pub async fn logs(&self, pod: &str) -> Result<String> {
        let request = rpc::LogsRequest {
            namespace: sampan_api::DEFAULT_NAMESPACE.to_owned(),
            pod: pod.to_owned(),
            ..rpc::LogsRequest::default()
        };
        let mut stream = self.runtime().logs(request).await?.into_inner();
        let mut text = Vec::new();
        while let Some(chunk) = stream.message().await? {
            text.extend_from_slice(&chunk.data);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn load_plugin(&self, name: &str, bytes: &[u8], slot: &str) -> Result<()> {
        let header = PluginHeader {
            name: name.to_owned(),
            slot: slot.to_owned(),
            ..PluginHeader::default()
        };
        let first = PluginChunk {
            header: Some(header),
            data: Default::default(),
        };
        let rest = bytes.chunks(CHUNK).map(|data| PluginChunk {
            header: None,
            data: data.to_vec().into(),
        });
        let chunks: Vec<_> = std::iter::once(first).chain(rest).collect();
        self.plugins().load(futures::stream::iter(chunks)).await?;
        Ok(())
    }

    pub async fn activate_plugin(&self, name: &str) -> Result<()> {
        self.plugins().activate(PluginRequest { name: name.to_owned() }).await?;
        Ok(())
    }

    /// The digest and mode of a plugin.
    pub async fn plugin(&self, name: &str) -> Result<(String, String, String)> {
        let object = self.get(&Key::new(sampan_api::plugin::RESOURCE, "", name)).await?;
        let spec = object.field_value("spec");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((
            text(&spec["digest"]),
            text(&spec["mode"]),
            text(&object.field_value("status")["message"]),
        ))
    }

    /// Watches pods for as long as the receivers live: into the ledger, and the endpoints of both apps.
    pub async fn witness(
        &self,
        ledger: Arc<Mutex<Ledger>>,
        apps: [(&'static str, watch::Sender<Vec<SocketAddr>>); 2],
    ) -> Result<()> {
        let selection = Selection {
            resource: "pods".to_owned(),
            ..Selection::default()
        };
        let request = rpc::WatchRequest {
            selection: Some(selection),
            revision: 0,
        };
        let mut events = self.objects().watch(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            if let Some(message) = &event.object {
                let mut ledger = ledger.lock().await;
                ledger.see(&message.object()?, event.r#type() == EventType::Deleted);
                for (app, endpoints) in &apps {
                    endpoints.send_replace(ledger.endpoints(app));
                }
            }
        }
        Ok(())
    }
}

/// The key of a Service in the default namespace.
pub fn service_key(name: &str) -> Key {
    Key::new("services", sampan_api::DEFAULT_NAMESPACE, name)
}

/// The key of a deployment in the default namespace.
pub fn deployment_key(name: &str) -> Key {
    Key::new("deployments.apps", sampan_api::DEFAULT_NAMESPACE, name)
}
