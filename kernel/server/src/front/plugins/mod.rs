//! The service of plugins: what a component is, and which one decides.
mod diff;
mod fetch;
mod load;
mod modes;
mod on_nodes;
mod recording;

use super::{Front, Pieces, access, caller};
use sampan_api::{
    ApiError, Key, Object, Plan, Selection, plugin,
    rpc::{self, plugins_client::PluginsClient},
};
use sampan_state::Snapshot;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub struct Plugins {
    front: Arc<Front>,
    /// Compiling takes whole cores: one component at a time.
    compiling: Arc<Semaphore>,
    /// So does placing all pods anew.
    placing: Arc<Semaphore>,
}

/// What another server answers that is passed on. Bytes.
const MOST_PASSED_ON: usize = 64 << 20;

type Answer<T> = Result<Response<T>, Status>;

/// Lines of a plugin's story that are told.
const HISTORY: usize = 20;

impl Plugins {
    pub fn new(front: Arc<Front>) -> Self {
        Plugins {
            front,
            compiling: Arc::new(Semaphore::new(1)),
            placing: Arc::new(Semaphore::new(1)),
        }
    }

    fn describe(&self, name: &str) -> Result<rpc::PluginFigures, ApiError> {
        let state = self.front.replica.snapshot();
        let (key, object) = found(&state, name)?;
        let mut figures = self.front.policies.figures(name).unwrap_or_default();
        figures.object = Some(rpc::Object::new(&key, &object));
        if figures.synced_revision == 0 && figures.calls > 0 {
            figures.synced_revision = state.revision();
        }
        figures.history = history(&state, &object);
        Ok(figures)
    }

    async fn explain(&self, request: &rpc::ExplainSchedulingRequest) -> Result<rpc::SchedulingExplanation, ApiError> {
        let key = Key::new("pods", &request.namespace, &request.name);
        let pod = self.front.replica.snapshot().get(&key);
        let spec = pod.ok_or_else(|| ApiError::not_found(&key))?.field_value("spec");
        let scheduler = spec["schedulerName"].as_str().unwrap_or_default();
        self.front.policies.explain(scheduler, key, request.most).await
    }

    async fn commit(&self, plan: Plan) -> Result<Vec<Option<Arc<Object>>>, ApiError> {
        Ok(self.front.replica.commit_one(plan).await?.objects)
    }
}

/// A plugin by name, with its key.
fn found(state: &Snapshot, name: &str) -> Result<(Key, Arc<Object>), ApiError> {
    let key = Key::new(plugin::RESOURCE, "", name);
    match state.get(&key) {
        Some(object) => Ok((key, object)),
        None => {
            let known: Vec<String> = state
                .list(&Selection::of(plugin::RESOURCE))
                .map(|(key, _)| key.name.to_string())
                .collect();
            let mut error = ApiError::not_found(&key);
            if let Some(near) = sampan_api::kinds::nearest(name, known.iter().map(String::as_str)) {
                error.message.push_str(&format!(": did you mean \"{near}\"?"));
            }
            Err(error)
        }
    }
}

/// What the events say of a plugin, the newest last.
fn history(state: &Snapshot, object: &Object) -> Vec<String> {
    let selection = Selection {
        namespace: sampan_api::DEFAULT_NAMESPACE.to_owned(),
        ..Selection::of("events")
    };
    let text = |event: &Object, field: &str| event.field_value(field).as_str().unwrap_or_default().to_owned();
    let about = |event: &Object| event.field_value("involvedObject")["uid"] == *object.metadata.uid;
    let events = state.list(&selection).filter(|(_, event)| about(event));
    let mut lines: Vec<(String, String)> = events
        .map(|(_, event)| {
            (
                text(&event, "lastTimestamp"),
                format!("{}: {}", text(&event, "reason"), text(&event, "message")),
            )
        })
        .collect();
    lines.sort();
    let skipped = lines.len().saturating_sub(HISTORY);
    lines
        .into_iter()
        .skip(skipped)
        .map(|(at, line)| format!("{at} {line}"))
        .collect()
}

#[tonic::async_trait]
impl rpc::plugins_server::Plugins for Plugins {
    async fn inspect(&self, request: Request<Streaming<rpc::PluginChunk>>) -> Answer<rpc::InspectResponse> {
        access::check_master(&caller(&request)?, "inspect plugins")?;
        Ok(Response::new(self.inspect_stream(request.into_inner()).await?))
    }

    async fn load(&self, request: Request<Streaming<rpc::PluginChunk>>) -> Answer<rpc::Object> {
        access::check_master(&caller(&request)?, "load plugins")?;
        Ok(Response::new(self.load_stream(request.into_inner()).await?))
    }

    async fn activate(&self, request: Request<rpc::PluginRequest>) -> Answer<rpc::Object> {
        access::check_master(&caller(&request)?, "activate plugins")?;
        Ok(Response::new(self.activate_named(&request.into_inner().name).await?))
    }

    async fn shadow(&self, request: Request<rpc::PluginRequest>) -> Answer<rpc::Object> {
        access::check_master(&caller(&request)?, "make plugins shadows")?;
        Ok(Response::new(self.shadow_named(&request.into_inner().name).await?))
    }

    async fn rollback(&self, request: Request<rpc::PluginRequest>) -> Answer<rpc::Object> {
        access::check_master(&caller(&request)?, "roll plugins back")?;
        Ok(Response::new(self.rollback_named(&request.into_inner().name).await?))
    }

    async fn remove(&self, request: Request<rpc::RemovePluginRequest>) -> Answer<rpc::Object> {
        access::check_master(&caller(&request)?, "remove plugins")?;
        let rpc::RemovePluginRequest { name, force } = request.into_inner();
        Ok(Response::new(self.remove_named(&name, force).await?))
    }

    async fn describe(&self, request: Request<rpc::PluginRequest>) -> Answer<rpc::PluginFigures> {
        access::check_master(&caller(&request)?, "ask for the figures of plugins")?;
        Ok(Response::new(Plugins::describe(self, &request.into_inner().name)?))
    }

    async fn explain_scheduling(
        &self,
        request: Request<rpc::ExplainSchedulingRequest>,
    ) -> Answer<rpc::SchedulingExplanation> {
        access::check_master(&caller(&request)?, "ask policies to explain themselves")?;
        Ok(Response::new(self.explain(&request.into_inner()).await?))
    }

    async fn diff(&self, request: Request<rpc::PluginDiffRequest>) -> Answer<rpc::PluginDiff> {
        access::check_master(&caller(&request)?, "compare plugins")?;
        if let Some(leader) = self.front.leader().await? {
            let mut leader = PluginsClient::new(leader).max_decoding_message_size(MOST_PASSED_ON);
            return leader.diff(request.into_inner()).await;
        }
        Ok(Response::new(self.diff_of(&request.into_inner()).await?))
    }

    type RecordStream = Pieces<rpc::RecordingPiece>;

    async fn record(&self, request: Request<rpc::RecordRequest>) -> Answer<Self::RecordStream> {
        access::check_master(&caller(&request)?, "record what policies are told")?;
        if let Some(leader) = self.front.leader().await? {
            let stream = PluginsClient::new(leader).record(request.into_inner()).await?;
            return Ok(Response::new(self.until_closing(stream.into_inner())));
        }
        Ok(Response::new(self.record_slot(&request.into_inner()).await?))
    }

    type FetchStream = Pieces<rpc::FetchPluginPiece>;

    async fn fetch(&self, request: Request<rpc::FetchPluginRequest>) -> Answer<Self::FetchStream> {
        let who = caller(&request)?;
        Ok(Response::new(self.fetch_for(&who, &request.into_inner().digest)?))
    }
}
