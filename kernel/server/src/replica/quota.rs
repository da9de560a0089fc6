//! The quota: how large the state may become. It lives in memory and about three times on disk, so a state without a limit
//! would end in a machine without room. At the quota reads, deletions and the work of nodes go on; what makes the state larger
//! is refused until something was deleted or the quota raised.
use bytes::Bytes;
use sampan_api::{ApiError, Operation, Plan, Reason};
use sampan_state::{Snapshot, Store};

/// What changes of objects that are there may add beyond the quota, as a part of it: a pod that ends says so.
const BEYOND: u64 = 10;

/// Whether plans may be written: below the quota all may, beyond it those that make the state no larger, and some changes of
/// what is there.
pub fn check_plans(quota: u64, store: &Store, plans: &[Plan]) -> Result<(), ApiError> {
    if store.bytes() < quota {
        return Ok(());
    }
    let state = store.snapshot();
    plans.iter().try_for_each(|plan| check(quota, &state, plan))
}

/// Whether blobs may be kept.
pub fn check_blobs(quota: u64, store: &Store, blobs: &[Bytes]) -> Result<(), ApiError> {
    let more: u64 = blobs.iter().map(|blob| blob.len() as u64).sum();
    match more == 0 || store.bytes() + more <= quota {
        true => Ok(()),
        false => Err(reached(quota, store.bytes())),
    }
}

fn check(quota: u64, state: &Snapshot, plan: &Plan) -> Result<(), ApiError> {
    let deletes = |operation: &Operation| matches!(operation, Operation::Delete(_));
    if plan.writes.iter().all(|write| deletes(&write.operation)) {
        return Ok(());
    }
    // The time matters to nothing that is counted. What is refused for another reason is told that when it is applied.
    let Ok(after) = state.after(plan, 0) else { return Ok(()) };
    let creates = plan
        .writes
        .iter()
        .any(|write| matches!(write.operation, Operation::Create(_)));
    let most = match creates {
        true => state.bytes(),
        false => state.bytes().max(quota + quota / BEYOND),
    };
    match after.bytes() <= most {
        true => Ok(()),
        false => Err(reached(quota, state.bytes())),
    }
}

fn reached(quota: u64, bytes: u64) -> ApiError {
    const MIB: u64 = 1 << 20;
    let message = format!(
        "the cluster's state has {} MiB of the {} MiB that it may have: nothing can be added now. Delete what is not needed, or \
         restart the servers with a larger --quota",
        bytes / MIB,
        quota / MIB
    );
    ApiError::new(Reason::Forbidden, message)
}
