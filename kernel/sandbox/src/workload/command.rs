//! Commands: `wasi:cli/run` or a core module's `_start`, once.
use super::{
    error::WorkloadError,
    host::{Host, Settings, patience},
    program::{Pre, Program, START},
};
use std::{
    fmt,
    time::{Duration, Instant},
};
use wasmtime::{InstancePre, Store, Trap};
use wasmtime_wasi::I32Exit;

/// How a workload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(u8),
    /// With what the engine says about it.
    Trapped(String),
    /// Bytes of memory that it may have.
    OutOfMemory(usize),
    /// Bytes of memory that it shares with others.
    Crowded(usize),
    Late(Duration),
}

impl Ended {
    /// As a container's: 134 as if it had aborted, 137 as if the kernel had killed it, 124 as `timeout` has it.
    pub fn code(&self) -> u8 {
        match self {
            Ended::Exited(code) => *code,
            Ended::Trapped(_) => 134,
            Ended::OutOfMemory(_) | Ended::Crowded(_) => 137,
            Ended::Late(_) => 124,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exited(code) => write!(f, "it ended with exit code {code}"),
            Ended::Trapped(words) => write!(f, "it trapped: {words}"),
            Ended::OutOfMemory(limit) => write!(f, "it needed more than the {} MiB of memory it may have", limit >> 20),
            Ended::Crowded(all) => write!(
                f,
                "it and others needed more than the {} MiB of memory that they share",
                all >> 20
            ),
            Ended::Late(deadline) => write!(f, "it did not end within {} ms", deadline.as_millis()),
        }
    }
}

impl Ended {
    /// What an error of the engine means.
    pub(crate) fn of(error: &wasmtime::Error, host: &Host, settings: &Settings) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return Ended::Exited(u8::try_from(code & 0xff).unwrap_or(1));
        }
        let late = matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt));
        match settings.deadline {
            Some(deadline) if late => Ended::Late(deadline),
            _ if host.limiter.refused() => match host.limiter.crowded() {
                Some(all) => Ended::Crowded(all),
                None => Ended::OutOfMemory(settings.memory),
            },
            _ => Ended::Trapped(crate::error::bounded(format!("{error:#}"))),
        }
    }
}

/// Runs a command on this thread, to its end.
///
/// # Errors
/// If it cannot even be started.
pub(crate) fn run(program: &Program, settings: &Settings) -> Result<Ended, WorkloadError> {
    // One thread: a command is one thread itself, and what it waits for is driven while it waits.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WorkloadError::System)?;
    let ended = runtime.block_on(once(program, settings));
    // A read of stdin may never come back.
    runtime.shutdown_background();
    ended
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot even be started.
pub(crate) async fn once(program: &Program, settings: &Settings) -> Result<Ended, WorkloadError> {
    if let Pre::Server(_) = &program.pre {
        return Err(WorkloadError::Kind {
            exports: "wasi:http/incoming-handler: it is a server".to_owned(),
        });
    }
    let until = settings
        .deadline
        .and_then(|deadline| Instant::now().checked_add(deadline));
    let mut store = settings.store(&program.engine, until)?;
    let _timed = settings.deadline.map(|_| program.engine.ticker().time());
    let running = call(&program.pre, &mut store);
    let outcome = match settings.deadline {
        None => running.await,
        Some(deadline) => match tokio::time::timeout(patience(deadline), running).await {
            Ok(outcome) => outcome,
            Err(_) => return Ok(Ended::Late(deadline)),
        },
    };
    Ok(match outcome {
        Ok(Ok(())) => Ended::Exited(0),
        Ok(Err(())) => Ended::Exited(1),
        Err(error) => Ended::of(&error, store.data(), settings),
    })
}

async fn call(pre: &Pre, store: &mut Store<Host>) -> wasmtime::Result<Result<(), ()>> {
    match pre {
        Pre::Command(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(store).await
        }
        Pre::Module(pre) => start(pre, store).await.map(Ok),
        Pre::Server(_) => Ok(Err(())),
    }
}

async fn start(pre: &InstancePre<Host>, store: &mut Store<Host>) -> wasmtime::Result<()> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, START)?;
    start.call_async(store, ()).await
}
