//! The replica at work, through its handle: what is acknowledged is there, whatever happens to process and disk.
mod committing;
mod disk;
mod following;
mod killing;
mod quota;

use super::{ReplicaConfig, ReplicaHandle};
use sampan_api::{Key, Object, Operation, Plan, Write, kinds};
use std::path::Path;

fn config(dir: &Path) -> ReplicaConfig {
    ReplicaConfig {
        dir: dir.to_owned(),
        cluster: "test".to_owned(),
        member: 1,
        joins: false,
        alone: false,
        quota_bytes: crate::QUOTA,
    }
}

fn open(dir: &Path) -> ReplicaHandle {
    ReplicaHandle::open(&config(dir)).unwrap()
}

/// Closes it and waits until the directory is free.
fn close(replica: &ReplicaHandle) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(replica.shutdown());
}

fn key(name: &str) -> Key {
    Key::new("namespaces", "", name)
}

fn namespace(name: &str) -> Object {
    Object::new(kinds::of_manifest("v1", "Namespace").unwrap(), "", name)
}

/// Creates an object that is in no namespace and weighs so many bytes more.
fn create(name: &str, bytes: usize) -> Plan {
    let object = namespace(name).with_field("spec", &"x".repeat(bytes));
    Write::new(key(name), Operation::Create(object)).into()
}

fn relabel(name: &str, value: usize) -> Plan {
    let patch = serde_json::json!({"metadata": {"labels": {"n": value.to_string()}}});
    Write::new(key(name), Operation::Merge(patch)).into()
}

fn has(replica: &ReplicaHandle, name: &str) -> bool {
    replica.snapshot().get(&key(name)).is_some()
}

/// Commits one plan that must be accepted.
fn put(replica: &ReplicaHandle, plan: Plan) {
    replica.commit_blocking(vec![plan]).unwrap().remove(0).unwrap();
}
