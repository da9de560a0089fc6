//! The service of objects: the generic verbs, whatever the kind.
mod admit;
mod apply;
mod commit;
mod evict;
mod families;
mod fixed;
pub mod nodes;
mod policies;
mod ranges;
mod read;
mod scheduling;
mod services;
mod watch;
mod write;

pub use admit::namespace;

use super::{Front, Pieces, caller};
use sampan_api::{ApiError, Key, kinds, rpc};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Objects(pub Arc<Front>);

/// How often a change that was decided on a state that has moved on is decided again.
const ATTEMPTS: usize = 8;

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, ApiError>) -> Answer<T> {
    Ok(Response::new(result?))
}

/// The key that a message means: its resource may be any name of the kind, and an absent namespace is the default one.
fn key_of(key: Option<&rpc::Key>) -> Result<Key, ApiError> {
    let key = key.ok_or_else(|| ApiError::bad_request("the request names no object"))?;
    let kind = kinds::of_name(&key.resource)?;
    if key.name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the request names no object of {}",
            kind.plural
        )));
    }
    let namespace = match (kind.namespaced, key.namespace.as_str()) {
        (false, _) => "",
        (true, "") => sampan_api::DEFAULT_NAMESPACE,
        (true, namespace) => namespace,
    };
    Ok(Key::new(kind.resource, namespace, &key.name))
}

#[tonic::async_trait]
impl rpc::objects_server::Objects for Objects {
    async fn get(&self, request: Request<rpc::GetRequest>) -> Answer<rpc::Object> {
        let who = caller(&request)?;
        answer(self.0.get(&who, &request.into_inner()).await)
    }

    async fn list(&self, request: Request<rpc::ListRequest>) -> Answer<rpc::ListResponse> {
        let who = caller(&request)?;
        answer(self.0.list(&who, &request.into_inner()).await)
    }

    type WatchStream = Pieces<rpc::WatchEvent>;

    async fn watch(&self, request: Request<rpc::WatchRequest>) -> Answer<Self::WatchStream> {
        let who = caller(&request)?;
        answer(self.0.watch(&who, &request.into_inner()).await)
    }

    async fn create(&self, request: Request<rpc::CreateRequest>) -> Answer<rpc::WriteResponse> {
        let who = caller(&request)?;
        answer(self.0.create(&who, &request.into_inner()).await)
    }

    async fn replace(&self, request: Request<rpc::ReplaceRequest>) -> Answer<rpc::WriteResponse> {
        let who = caller(&request)?;
        answer(self.0.replace(&who, &request.into_inner()).await)
    }

    async fn apply(&self, request: Request<rpc::ApplyRequest>) -> Answer<rpc::WriteResponse> {
        let who = caller(&request)?;
        answer(self.0.apply(&who, &request.into_inner()).await)
    }

    async fn patch(&self, request: Request<rpc::PatchRequest>) -> Answer<rpc::WriteResponse> {
        let who = caller(&request)?;
        answer(self.0.patch(&who, &request.into_inner()).await)
    }

    async fn delete(&self, request: Request<rpc::DeleteRequest>) -> Answer<rpc::WriteResponse> {
        let who = caller(&request)?;
        answer(self.0.delete(&who, &request.into_inner()).await)
    }

    async fn commit(&self, request: Request<rpc::CommitRequest>) -> Answer<rpc::CommitResponse> {
        let who = caller(&request)?;
        answer(self.0.commit(&who, &request.into_inner()).await)
    }
}
