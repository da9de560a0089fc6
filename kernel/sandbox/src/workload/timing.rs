//! How fast commands start, for whoever measures.
use super::{
    command::{Ended, once},
    engine::WorkloadEngine,
    error::WorkloadError,
    host::{Settings, Stdio},
    program::{Pre, Program},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// To make and drop an instance, nothing run in it: the mean.
    pub instantiate: Duration,
    pub tasks: usize,
    /// For all tasks, each from nothing to its exit code.
    pub total: Duration,
}

impl Timing {
    pub fn tasks_per_second(&self) -> f64 {
        self.tasks as f64 / self.total.as_secs_f64()
    }
}

/// Runs a command many times, each in a fresh instance, on so many threads; what it says goes nowhere.
///
/// # Errors
/// If it is no command, cannot be started, or does not end with 0.
pub fn time_commands(
    engine: &Arc<WorkloadEngine>,
    component: &[u8],
    args: &[String],
    tasks: usize,
    threads: usize,
) -> Result<Timing, WorkloadError> {
    let program = engine.load_bytes(component)?;
    let args = std::iter::once("task".to_owned()).chain(args.iter().cloned()).collect();
    let settings = Settings {
        args,
        memory: usize::MAX,
        stdio: Stdio::Nowhere,
        ..Settings::default()
    };
    let instantiate = instantiations(&program, &settings, tasks.min(2000))?;
    let left = AtomicUsize::new(tasks);
    let started = Instant::now();
    let workers: Vec<Result<(), WorkloadError>> = std::thread::scope(|scope| {
        let worker = || scope.spawn(|| work(&program, &settings, &left));
        let handles: Vec<_> = (0..threads.max(1)).map(|_| worker()).collect();
        let gone = || Err(WorkloadError::Engine("a thread panicked".to_owned()));
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| gone()))
            .collect()
    });
    workers.into_iter().collect::<Result<(), _>>()?;
    Ok(Timing {
        instantiate,
        tasks,
        total: started.elapsed(),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, WorkloadError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WorkloadError::System)
}

fn work(program: &Program, settings: &Settings, left: &AtomicUsize) -> Result<(), WorkloadError> {
    let runtime = runtime()?;
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
    {
        match runtime.block_on(once(program, settings))? {
            Ended::Exited(0) => (),
            ended => return Err(WorkloadError::Engine(ended.to_string())),
        }
    }
    Ok(())
}

fn instantiations(program: &Program, settings: &Settings, count: usize) -> Result<Duration, WorkloadError> {
    let Pre::Command(pre) = &program.pre else {
        return Err(WorkloadError::Kind {
            exports: "wasi:http/incoming-handler: it is a server".to_owned(),
        });
    };
    let failed = |error: wasmtime::Error| WorkloadError::Engine(format!("{error:#}"));
    let runtime = runtime()?;
    let mut total = Duration::ZERO;
    for _ in 0..count {
        let mut store = settings.store(&program.engine, None)?;
        let started = Instant::now();
        runtime.block_on(pre.instantiate_async(&mut store)).map_err(failed)?;
        drop(store);
        total += started.elapsed();
    }
    Ok(total / u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}
