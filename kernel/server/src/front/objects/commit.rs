//! Commit: plans, each whole or not at all.
use super::{
    super::access::{self, Verb},
    Front, admit,
};
use crate::pki::Identity;
use sampan_api::{ApiError, Plan, Reason, rpc};
use sampan_state::{Committed, Snapshot};

const MAX_PLANS: usize = 20_000;
const MAX_KEY: usize = 128;

impl Front {
    pub(super) async fn commit(
        &self,
        who: &Identity,
        request: &rpc::CommitRequest,
    ) -> Result<rpc::CommitResponse, ApiError> {
        if request.plans.len() > MAX_PLANS {
            let message = format!(
                "the request has {} plans, and {MAX_PLANS} are the limit",
                request.plans.len()
            );
            return Err(ApiError::new(Reason::TooLarge, message));
        }
        if request.plans.is_empty() {
            return Err(ApiError::bad_request("the request has no plans"));
        }
        let key = &request.idempotency_key;
        if key.len() > MAX_KEY {
            return Err(ApiError::bad_request(format!(
                "the idempotency key is longer than {MAX_KEY} bytes"
            )));
        }
        let state = self.replica.snapshot();
        let mut plans = Vec::with_capacity(request.plans.len());
        let mut admit = |plan| admit_plan(who, plan, &state).map(|plan| plans.push(plan));
        let admitted: Vec<Result<(), ApiError>> = request.plans.iter().map(&mut admit).collect();
        let results = if key.is_empty() {
            self.replica.commit(plans).await?
        } else {
            // What is remembered under a key is an answer to all of a request, and to one user.
            if let Some(Err(error)) = admitted.iter().find(|plan| plan.is_err()) {
                return Err(error.clone());
            }
            self.replica.commit_keyed(plans, format!("{}\n{key}", who.user)).await?
        };
        let mut results = results.into_iter();
        let result = |admitted: Result<(), ApiError>| match admitted {
            Ok(()) => results
                .next()
                .unwrap_or_else(|| Err(ApiError::internal("nothing is known of what became of this plan"))),
            Err(error) => Err(error),
        };
        Ok(rpc::CommitResponse {
            results: admitted.into_iter().map(result).map(message).collect(),
        })
    }
}

fn admit_plan(who: &Identity, plan: &rpc::Plan, state: &Snapshot) -> Result<Plan, ApiError> {
    let mut admitted = Plan::try_from(plan)?;
    for (write, message) in admitted.writes.iter_mut().zip(&plan.writes) {
        access::check(who, Verb::of_write(write), &write.key, state)?;
        admit::write(write, json_of(message), state)?;
    }
    Ok(admitted)
}

/// The JSON of a write's object.
fn json_of(write: &rpc::Write) -> &[u8] {
    use rpc::write::Operation::{Create, Replace};
    match &write.operation {
        Some(Create(json) | Replace(json)) => json,
        _ => &[],
    }
}

fn message(result: Result<Committed, ApiError>) -> rpc::PlanResult {
    use rpc::plan_result::Result as Message;
    let result = match result {
        Ok(committed) => Message::Committed(rpc::Committed {
            revision: committed.revision,
            keys: committed.keys.iter().map(rpc::Key::from).collect(),
        }),
        Err(error) => Message::Failure(rpc::Failure::from(&error)),
    };
    rpc::PlanResult { result: Some(result) }
}
