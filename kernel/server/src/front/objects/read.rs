//! Get and list.
use super::{super::access, super::access::Verb, super::pages, Front, key_of};
use crate::pki::Identity;
use sampan_api::{ApiError, Key, Selection, kinds, rpc};

/// Objects in one answer at the most where a client asks for pages.
const MAX_PAGE: usize = 5_000;

/// A list without pages stops here: beyond it no client could read the answer.
const MAX_LIST_BYTES: usize = 256 << 20;

/// What a message selects; its resource may be any name of the kind, or `*`.
pub fn selection_of(message: Option<&rpc::Selection>) -> Result<Selection, ApiError> {
    let message = message.ok_or_else(|| ApiError::bad_request("the request selects nothing"))?;
    let mut selection = Selection::try_from(message)?;
    if selection.resource != "*" {
        let kind = kinds::of_name(&selection.resource)?;
        kind.resource.clone_into(&mut selection.resource);
        if !kind.namespaced {
            selection.namespace.clear();
        }
    }
    Ok(selection)
}

/// The key that stands for all of a selection when access to it is checked.
pub fn whole(selection: &Selection) -> Key {
    Key::new(&selection.resource, &selection.namespace, "")
}

impl Front {
    pub(super) async fn get(&self, who: &Identity, request: &rpc::GetRequest) -> Result<rpc::Object, ApiError> {
        let key = key_of(request.key.as_ref())?;
        if !request.stale {
            self.replica.barrier().await?;
        }
        let state = self.replica.snapshot();
        access::check(who, Verb::Get, &key, &state)?;
        let object = state.get(&key).ok_or_else(|| ApiError::not_found(&key))?;
        Ok(rpc::Object::new(&key, &object))
    }

    pub(super) async fn list(&self, who: &Identity, request: &rpc::ListRequest) -> Result<rpc::ListResponse, ApiError> {
        let selection = selection_of(request.selection.as_ref())?;
        // What a further page shows was settled by the first.
        if !request.stale && request.continue_token.is_empty() {
            self.replica.barrier().await?;
        }
        let now = self.replica.snapshot();
        access::check(who, Verb::List, &whole(&selection), &now)?;
        let (state, after) = match request.continue_token.as_str() {
            "" => (now, None),
            token => {
                let (revision, last) = pages::read_token(token)?;
                if !selection.matches_key(&last) {
                    return Err(ApiError::bad_request("the continue token is of another list"));
                }
                (self.pages.of(revision)?, Some(last))
            }
        };
        let limit = match request.limit as usize {
            0 => usize::MAX,
            limit => limit.min(MAX_PAGE),
        };
        let mut response = rpc::ListResponse {
            revision: state.revision(),
            ..rpc::ListResponse::default()
        };
        let mut bytes = 0;
        let mut last = None;
        for (key, object) in state.list_after(&selection, after.as_ref()) {
            if response.objects.len() == limit {
                response.continue_token = last
                    .map(|last| pages::token(state.revision(), &last))
                    .unwrap_or_default();
                self.pages.hold(&state);
                break;
            }
            let message = rpc::Object::new(&key, &object);
            bytes += message.json.len();
            if bytes > MAX_LIST_BYTES {
                let message =
                    format!("the list would take more than {MAX_LIST_BYTES} bytes: ask for pages, with a limit");
                return Err(ApiError::new(sampan_api::Reason::TooLarge, message));
            }
            response.objects.push(message);
            last = Some(key);
        }
        Ok(response)
    }
}
