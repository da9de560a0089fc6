//! Plugins that trap, loop, hoard and lie: each ends in a clear error, and the next instance is as good as new.
use crate::{ENGINE, SCHEDULER, pods, scheduler};
use sampan_api::plugin::World;
use sampan_sandbox::{CallError, Limits, scheduler::Changes};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What a behaviour ends in; the instance must be of no more use, and the kernel unharmed.
fn place(behaviour: &str) -> CallError {
    let loaded = scheduler(behaviour);
    let mut plugin = loaded.scheduler().unwrap();
    let error = plugin.place(&pods(1..11), &[]).unwrap_err();
    assert!(matches!(plugin.place(&pods(1..2), &[]), Err(CallError::Poisoned)));
    assert!(matches!(
        plugin.sync(0, 1, &Changes::default()),
        Err(CallError::Poisoned)
    ));
    assert_eq!(plugin.figures().traps, 1);
    // Another instance of the same plugin starts, and another plugin works.
    loaded.scheduler().unwrap().sync(0, 1, &Changes::default()).unwrap();
    assert_eq!(
        scheduler("")
            .scheduler()
            .unwrap()
            .place(&pods(1..11), &[])
            .unwrap()
            .nodes
            .len(),
        10
    );
    error
}

#[test]
fn a_trap_says_where() {
    let error = place("trap");
    let CallError::Trap(words) = &error else {
        panic!("{error}")
    };
    assert!(
        words.contains("unreachable") && words.contains("wasm backtrace"),
        "{words}"
    );
}

#[test]
fn a_loop_ends_at_the_deadline() {
    let started = Instant::now();
    let error = place("loop");
    assert!(
        matches!(error, CallError::Deadline(deadline) if deadline == Duration::from_millis(200)),
        "{error}"
    );
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(error.to_string(), "it did not end within 200 ms");
}

#[test]
fn endless_recursion_ends() {
    let error = place("recurse");
    // Of the two stacks it has, its own in linear memory may be the first to end.
    let ends = ["call stack exhausted", "out of bounds memory access"];
    assert!(
        matches!(&error, CallError::Trap(words) if ends.iter().any(|end| words.contains(end))),
        "{error}"
    );
}

#[test]
fn hoarding_ends_at_the_limit() {
    let error = place("memory");
    assert!(
        matches!(error, CallError::Memory(limit) if limit == 64 << 20),
        "{error}"
    );
}

#[test]
fn ten_million_assignments_are_not_taken() {
    // With memory enough to make them: what crosses is bounded by itself.
    let limits = Limits {
        memory: 2 << 30,
        deadline: Duration::from_secs(20),
        ..Limits::default()
    };
    let loaded = ENGINE
        .load(World::Scheduler, &SCHEDULER, &Value::String("flood".to_owned()), limits)
        .unwrap();
    let before = resident();
    let error = loaded.scheduler().unwrap().place(&pods(1..11), &[]).unwrap_err();
    assert!(
        matches!(&error, CallError::Rubbish(words) if words.contains("fuel")),
        "{error}"
    );
    // What the guest itself took is given back with it.
    assert!(resident().saturating_sub(before) < 300 << 20, "{before} {}", resident());
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn answers_that_do_not_fit_the_question_are_rubbish() {
    let error = place("short");
    assert!(
        matches!(&error, CallError::Rubbish(words) if words == "9 nodes for 10 pods"),
        "{error}"
    );
    let error = place("silent");
    assert!(
        matches!(&error, CallError::Rubbish(words) if words == "0 reasons for 10 pods without a node"),
        "{error}"
    );
}
