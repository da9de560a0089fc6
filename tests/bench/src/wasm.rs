//! Wasm commands: a fresh instance for each task.
use crate::figure::Figure;
use anyhow::Result;
use sampan_sandbox::workload::{Pool, WorkloadEngine, time_commands};

const TASKS: usize = 5000;

pub fn run() -> Result<Vec<Figure>> {
    let engine = WorkloadEngine::new(None, Pool::of(8))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let timing = time_commands(&engine, sampan_builtin::PRIMES, &["100".to_owned()], TASKS, threads)?;
    let mut instantiate = Figure::new(
        "wasm",
        "instantiate and drop",
        timing.instantiate.as_secs_f64() * 1e6,
        "µs",
    );
    instantiate.target = Some(20.0);
    let case = format!("tasks on {threads} threads");
    let mut tasks = Figure::new("wasm", &case, timing.tasks_per_second(), "tasks/s");
    tasks.lower_is_better = false;
    tasks.target = Some(3000.0);
    Ok(vec![instantiate, tasks])
}
