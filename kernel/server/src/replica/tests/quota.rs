//! A state that is as large as it may be: what is refused, what goes on, and the way out.
use super::{close, config, create, has, key, open, put, relabel};
use crate::replica::{ReplicaConfig, ReplicaHandle};
use sampan_api::{Operation, Plan, Reason, Write, plan::Deletion};

const MIB: usize = 1 << 20;

fn delete(name: &str) -> Plan {
    let deletion = Deletion {
        final_: true,
        ..Deletion::default()
    };
    Write::new(key(name), Operation::Delete(deletion)).into()
}

fn refused(replica: &ReplicaHandle, plan: Plan) {
    let error = replica.commit_blocking(vec![plan]).unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden, "{error}");
    assert!(error.message.contains("4 MiB that it may have") && error.message.contains("--quota"));
}

#[test]
fn at_the_quota_nothing_is_added_until_something_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let small = ReplicaConfig {
        quota_bytes: 4 * MIB as u64,
        ..config(dir.path())
    };
    let replica = ReplicaHandle::open(&small).unwrap();
    for name in ["a", "b", "c", "d"] {
        put(&replica, create(name, MIB));
    }
    refused(&replica, create("e", 10));
    // What is there may still say what becomes of it, but not grow for ever.
    put(&replica, relabel("a", 1));
    let grow = |bytes: usize| Operation::Merge(serde_json::json!({"spec": "x".repeat(bytes)}));
    refused(&replica, Write::new(key("a"), grow(MIB + MIB / 2 - 4096)).into());
    let blob = vec![0; MIB].into();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let kept = runtime.block_on(replica.put_blob(blob));
    assert_eq!(kept.unwrap_err().reason, Reason::Forbidden);
    // The quota counts what is there, also after a restart.
    let bytes = replica.status().state_bytes;
    assert!(bytes > 4 * MIB as u64 && bytes < 5 * MIB as u64, "{bytes}");
    close(&replica);
    let replica = ReplicaHandle::open(&small).unwrap();
    assert_eq!(replica.snapshot().bytes(), bytes);
    refused(&replica, create("e", 10));
    // Either way out works: room is made, or given.
    put(&replica, delete("b"));
    put(&replica, create("e", 10));
    put(&replica, create("f", MIB));
    refused(&replica, create("g", 10));
    close(&replica);
    let larger = open(dir.path());
    put(&larger, create("g", 10));
    assert!(!has(&larger, "b") && has(&larger, "f"));
    close(&larger);
}
