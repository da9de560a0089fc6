//! Wasm commands: a fresh instance for each task.
use crate::figure::Figure;
use anyhow::Result;
use sampan_sandbox::workload::{Pool, WorkloadEngine, time_commands};

const TASKS: usize = 5000;

pub fn run() -> Result<Vec<Figure>> {
    let engine = WorkloadEngine::new(None, Pool::of(8))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let timing = time_commands(&engine, sampan_builtin::PRIMES, &["100".to_owned()], TASKS, threads)?;
    let figure = |case: &str, value, unit, lower_is_better, target| Figure {
        bench: "wasm",
        case: case.to_owned(),
        value,
        unit,
        lower_is_better,
        peer: None,
        target: Some(target),
    };
    let instantiate = timing.instantiate.as_secs_f64() * 1e6;
    Ok(vec![
        figure("instantiate and drop", instantiate, "µs", true, 20.0),
        figure(
            &format!("tasks on {threads} threads"),
            timing.tasks_per_second(),
            "tasks/s",
            false,
            3000.0,
        ),
    ])
}
