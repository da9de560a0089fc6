//! A control plane in a map: as much of the protocol as an agent speaks, over TLS as in the real one.
use crate::issuing::Issuing;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair, SanType,
};
use sampan_api::{ApiError, Key, Object, Operation, Plan, Reason, kinds, rpc, time::Timestamp};
use sampan_tls::lifetimes::BACKDATED;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// Certificates of a cluster that is made for one test.
pub struct Authority {
    pub ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test");
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            ca_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate and its key.
    pub fn issue(&self, name: &str, group: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = Authority::params(name, group);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A certificate for a key of somebody else's, that lives so long.
    pub fn sign(&self, name: &str, group: &str, csr_pem: &str, life: Duration) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        request.params = Authority::params(name, group);
        let (now, epoch) = (
            SystemTime::UNIX_EPOCH.elapsed().unwrap(),
            rcgen::date_time_ymd(1970, 1, 1),
        );
        request.params.not_before = epoch + (now - BACKDATED);
        request.params.not_after = epoch + (now + life);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    fn params(name: &str, group: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["localhost".into(), "servers.sampan".into()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params
    }
}

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<Key, Object>,
    history: Vec<(u64, rpc::EventType, Key, Object)>,
    /// When a pod was first seen in a phase.
    phases: BTreeMap<(String, String), Instant>,
}

/// The control plane.
pub struct Plane {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    pub authority: Arc<Authority>,
    pub address: SocketAddr,
    /// A runtime of its own, so that its connections end with it.
    server: Option<Runtime>,
    identity: (String, String),
}

impl Plane {
    pub async fn start() -> Self {
        let authority = Arc::new(Authority::new());
        let identity = authority.issue("server", "system:masters");
        let address = "127.0.0.1:0".parse().unwrap();
        let (changed, _) = watch::channel(0);
        let mut plane = Plane {
            state: Arc::default(),
            changed,
            authority,
            address,
            server: None,
            identity,
        };
        plane.resume().await;
        plane
    }

    /// Serves (again).
    pub async fn resume(&mut self) {
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.identity.0, &self.identity.1))
            .client_ca_root(Certificate::from_pem(&self.authority.ca_pem));
        let service = Service {
            state: self.state.clone(),
            changed: self.changed.clone(),
        };
        let router = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(rpc::objects_server::ObjectsServer::new(service.clone()))
            .add_service(rpc::certificates_server::CertificatesServer::new(Issuing(
                self.authority.clone(),
            )))
            .add_service(rpc::nodes_server::NodesServer::new(service));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (address, (told, bound)) = (self.address, tokio::sync::oneshot::channel());
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            router
                .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .unwrap();
        });
        self.address = bound.await.unwrap();
        self.server = Some(runtime);
    }

    /// Goes away, connections and all, until it is resumed.
    pub fn pause(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    pub fn create(&self, json: &Value) -> Object {
        let mut object = Object::from_value(json).unwrap();
        if object.metadata.namespace.is_empty() {
            object.metadata.namespace = "default".into();
        }
        let mut state = self.state.lock().unwrap();
        let key = object.key().unwrap();
        state.create(key.clone(), object).unwrap();
        let object = state.objects[&key].clone();
        drop(state);
        self.tell();
        object
    }

    /// As a user does: a pod gets its grace.
    pub fn delete(&self, resource: &str, name: &str, grace: i64) {
        let key = Key::new(resource, "default", name);
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[&key].clone();
        if resource == "pods" && grace > 0 {
            object.metadata.deletion_timestamp = Some(Timestamp::from_millis(now() + 1000 * grace as u64));
            object.metadata.deletion_grace_period_seconds = Some(grace);
            state.put(key, object, rpc::EventType::Modified);
        } else {
            state.remove(&key);
        }
        drop(state);
        self.tell();
    }

    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let namespace = if resource == "nodes" { "" } else { "default" };
        let key = Key::new(resource, namespace, name);
        self.state.lock().unwrap().objects.get(&key).map(Object::to_value)
    }

    /// `Reason: message` of each event about a pod.
    pub fn events(&self, pod: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let events = state.objects.iter().filter(|(key, _)| &*key.resource == "events");
        let all = events
            .map(|(_, object)| object.to_value())
            .filter(|event| event["involvedObject"]["name"] == pod);
        all.map(|event| {
            format!(
                "{}: {}",
                event["reason"].as_str().unwrap(),
                event["message"].as_str().unwrap()
            )
        })
        .collect()
    }

    /// Waits until an object (null: none) is as wanted.
    pub async fn until(&self, resource: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let object = self.get(resource, name).unwrap_or(Value::Null);
            if wanted(&object) {
                return object;
            }
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                panic!(
                    "{resource} {name} is not as it should be: {object:#}\nevents: {:#?}",
                    self.events(name)
                );
            }
        }
    }

    pub async fn until_phase(&self, pod: &str, phase: &str) -> Value {
        self.until("pods", pod, |object| object["status"]["phase"] == phase)
            .await
    }

    pub async fn until_gone(&self, pod: &str) {
        self.until("pods", pod, Value::is_null).await;
    }

    /// When a pod was first seen in a phase.
    pub fn phase_time(&self, pod: &str, phase: &str) -> Option<Instant> {
        self.state
            .lock()
            .unwrap()
            .phases
            .get(&(pod.to_owned(), phase.to_owned()))
            .copied()
    }

    fn tell(&self) {
        let revision = self.state.lock().unwrap().revision;
        self.changed.send_replace(revision);
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.pause();
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

impl State {
    fn create(&mut self, key: Key, mut object: Object) -> Result<(), ApiError> {
        if self.objects.contains_key(&key) {
            return Err(ApiError::already_exists(&key));
        }
        object.metadata.uid = format!("00000000-0000-4000-8000-{:012x}", self.revision + 1);
        object.metadata.creation_timestamp = Some(Timestamp::from_millis(now()));
        object.metadata.generation = 1;
        self.put(key, object, rpc::EventType::Added);
        Ok(())
    }

    fn put(&mut self, key: Key, mut object: Object, event: rpc::EventType) {
        if self.objects.get(&key).is_some_and(|old| *old == object) {
            return;
        }
        self.revision += 1;
        object.metadata.resource_version = self.revision;
        if let Some(phase) = object.field_value("status")["phase"].as_str() {
            let seen = (key.name.to_string(), phase.to_owned());
            self.phases.entry(seen).or_insert_with(Instant::now);
        }
        self.objects.insert(key.clone(), object.clone());
        self.history.push((self.revision, event, key, object));
    }

    fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.revision += 1;
            self.history
                .push((self.revision, rpc::EventType::Deleted, key.clone(), object));
        }
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), ApiError> {
        for write in &plan.writes {
            let key = &write.key;
            if let Operation::Create(object) = &write.operation {
                self.create(key.clone(), object.clone())?;
                continue;
            }
            let mut object = self.objects.get(key).cloned().ok_or_else(|| ApiError::not_found(key))?;
            match &write.operation {
                Operation::ReplaceStatus(new) => {
                    if !new.metadata.uid.is_empty() && new.metadata.uid != object.metadata.uid {
                        return Err(ApiError::new(Reason::Conflict, "another uid"));
                    }
                    object.set_field("status", &new.field_value("status"));
                }
                Operation::Merge(patch) => {
                    let mut value = object.to_value();
                    merge(&mut value, patch);
                    object = Object::from_value(&value)?;
                }
                Operation::MergeStatus(patch) => {
                    let mut status = object.field_value("status");
                    merge(&mut status, patch);
                    object.set_field("status", &status);
                }
                Operation::Delete(deletion) => {
                    assert!(deletion.final_ && deletion.uid == object.metadata.uid);
                    self.remove(key);
                    continue;
                }
                other => return Err(ApiError::bad_request(format!("not of this test: {other:?}"))),
            }
            self.put(key.clone(), object, rpc::EventType::Modified);
        }
        Ok(())
    }
}

fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => {
            for (name, patch) in patch {
                match patch {
                    Value::Null => drop(value.remove(name)),
                    patch => merge(value.entry(name.clone()).or_insert(Value::Null), patch),
                }
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn selected(selection: &rpc::Selection, key: &Key, object: &Object) -> bool {
    let field = match selection.field_selector.split_once('=') {
        None => true,
        Some(("metadata.name", name)) => &*key.name == name,
        Some(("spec.nodeName", node)) => object.field_value("spec")["nodeName"] == node,
        Some(other) => panic!("{other:?} is not of this test"),
    };
    *key.resource == *selection.resource && field
}

#[tonic::async_trait]
impl rpc::objects_server::Objects for Service {
    type WatchStream = Answers<rpc::WatchEvent>;

    async fn get(&self, request: Request<rpc::GetRequest>) -> Result<Response<rpc::Object>, Status> {
        let key = Key::from(&request.into_inner().key.unwrap());
        let state = self.state.lock().unwrap();
        let object = state.objects.get(&key).ok_or_else(|| ApiError::not_found(&key))?;
        Ok(Response::new(rpc::Object::new(&key, object)))
    }

    async fn watch(&self, request: Request<rpc::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let (selection, mut after) = (request.selection.unwrap(), request.revision);
        let (events, stream) = tokio::sync::mpsc::channel(64);
        let (state, mut changed) = (self.state.clone(), self.changed.subscribe());
        let event = |kind: rpc::EventType, key: &Key, object: &Object, revision| rpc::WatchEvent {
            r#type: kind.into(),
            object: Some(rpc::Object::new(key, object)),
            revision,
        };
        tokio::spawn(async move {
            if after == 0 {
                let mut initial = Vec::new();
                {
                    let state = state.lock().unwrap();
                    after = state.revision;
                    let all = state
                        .objects
                        .iter()
                        .filter(|(key, object)| selected(&selection, key, object));
                    initial.extend(all.map(|(key, object)| event(rpc::EventType::Added, key, object, after)));
                    let bookmark = rpc::EventType::Bookmark.into();
                    initial.push(rpc::WatchEvent {
                        r#type: bookmark,
                        object: None,
                        revision: after,
                    });
                }
                for event in initial {
                    let _ = events.send(Ok(event)).await;
                }
            }
            loop {
                let new: Vec<_> = {
                    let state = state.lock().unwrap();
                    let new = state.history.iter().filter(|(revision, ..)| *revision > after);
                    let of_us = new.filter(|(_, _, key, object)| selected(&selection, key, object));
                    let new = of_us
                        .map(|(revision, kind, key, object)| event(*kind, key, object, *revision))
                        .collect();
                    after = state.revision;
                    new
                };
                for event in new {
                    if events.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    result = changed.changed() => if result.is_err() { return },
                    () = events.closed() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn commit(&self, request: Request<rpc::CommitRequest>) -> Result<Response<rpc::CommitResponse>, Status> {
        let mut results = Vec::new();
        {
            let mut state = self.state.lock().unwrap();
            for plan in request.into_inner().plans {
                let result = match Plan::try_from(&plan).and_then(|plan| state.commit(&plan)) {
                    Ok(()) => rpc::plan_result::Result::Committed(rpc::Committed::default()),
                    Err(error) => rpc::plan_result::Result::Failure(rpc::Failure::from(&error)),
                };
                results.push(rpc::PlanResult { result: Some(result) });
            }
            self.changed.send_replace(state.revision);
        }
        Ok(Response::new(rpc::CommitResponse { results }))
    }

    async fn list(&self, _: Request<rpc::ListRequest>) -> Result<Response<rpc::ListResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn create(&self, _: Request<rpc::CreateRequest>) -> Result<Response<rpc::WriteResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn replace(&self, _: Request<rpc::ReplaceRequest>) -> Result<Response<rpc::WriteResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn apply(&self, _: Request<rpc::ApplyRequest>) -> Result<Response<rpc::WriteResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn patch(&self, _: Request<rpc::PatchRequest>) -> Result<Response<rpc::WriteResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn delete(&self, _: Request<rpc::DeleteRequest>) -> Result<Response<rpc::WriteResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }
}

#[tonic::async_trait]
impl rpc::nodes_server::Nodes for Service {
    type HeartbeatStream = Answers<rpc::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<rpc::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let beats = request.into_inner();
        let answers = beats.map(|beat| {
            beat.map(|_| rpc::HeartbeatResponse {
                interval_ms: 200,
                servers: Vec::new(),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The kind's first line of a manifest.
pub fn manifest(kind: &str, name: &str, fields: Value) -> Value {
    let info = kinds::all().iter().find(|info| info.kind == kind).unwrap();
    let mut object = fields;
    object["apiVersion"] = info.api_version.into();
    object["kind"] = kind.into();
    object["metadata"] = serde_json::json!({"name": name});
    object
}
