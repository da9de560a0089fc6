//! The child's side: bounds itself, reads Wasm from the file on its stdin, and writes the code there.
use super::{Bounds, DONE, Purpose, REFUSED};
use crate::{
    cache::Code,
    engine,
    error::bounded,
    workload::{self, Pool},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, nice, set_parent_process_death_signal, setrlimit};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::fd::AsFd,
};
use wasmtime::{Engine, Module, component::Component};

/// How far it steps back.
const NICE: i32 = 10;

/// What the child ends with whose own failure it is.
const BROKEN: u8 = 1;

/// Why it ends without code.
enum Failure {
    Refused(wasmtime::Error),
    Broken(String),
}

/// Compiles what is on stdin for the process that started this one, and says what this one is to end with. `args` are the
/// two that the parent added.
pub fn run(args: &[String]) -> u8 {
    let outcome = match args {
        [purpose, parent] => compile_for(purpose, parent),
        _ => Err(Failure::Broken(
            "it is started by servers and nodes, which say for which engine".to_owned(),
        )),
    };
    match outcome {
        Ok(()) => DONE,
        Err(Failure::Refused(error)) => {
            eprintln!("{}", bounded(format!("{error:#}")));
            REFUSED
        }
        Err(Failure::Broken(why)) => {
            eprintln!("{why}");
            BROKEN
        }
    }
}

fn compile_for(purpose: &str, parent: &str) -> Result<(), Failure> {
    let broken = |what: &str, error: &dyn std::fmt::Display| Failure::Broken(format!("{what}: {error}"));
    end_with(parent)?;
    let purpose = Purpose::ALL.into_iter().find(|known| known.name() == purpose);
    let purpose = purpose.ok_or_else(|| Failure::Broken("no such engine is known".to_owned()))?;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut exchange = File::from(stdin.map_err(|error| broken("stdin", &error))?);
    let size = exchange.metadata().map_err(|error| broken("stdin", &error))?.len();
    bound(&Bounds::of(size)).map_err(|error| broken("it cannot be bounded", &error))?;
    let mut wasm = Vec::new();
    exchange
        .read_to_end(&mut wasm)
        .map_err(|error| broken("the Wasm cannot be read", &error))?;
    let code = compile(purpose, &wasm)?;
    let written = exchange
        .rewind()
        .and_then(|()| exchange.set_len(0))
        .and_then(|()| exchange.write_all(&code));
    written.map_err(|error| broken("the code cannot be written", &error))
}

/// Sees to it that it does not outlive its parent.
fn end_with(parent: &str) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::Broken(format!("it cannot be tied to its parent: {error}")))?;
    // It may have ended before that.
    let is_there = parent
        .parse()
        .is_ok_and(|parent| getppid().map(Pid::as_raw_pid) == Some(parent));
    match is_there {
        true => Ok(()),
        false => Err(Failure::Broken("who started it is gone".to_owned())),
    }
}

fn bound(bounds: &Bounds) -> io::Result<()> {
    nice(NICE)?;
    // Where memory is short, this is what to do without. That it can be said so is not necessary.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let limit = |resource, most: u64| {
        let most = Some(most);
        setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        )
    };
    limit(Resource::Data, bounds.memory)?;
    limit(Resource::Fsize, bounds.code)?;
    limit(Resource::Cpu, bounds.cpu.as_secs())?;
    limit(Resource::Core, 0)?;
    Ok(())
}

fn compile(purpose: Purpose, wasm: &[u8]) -> Result<Vec<u8>, Failure> {
    let config = match purpose {
        Purpose::Plugin => engine::config(),
        Purpose::Workload => workload::config(Pool::of(1)),
    };
    let engine = Engine::new(&config).map_err(|error| Failure::Broken(format!("{error:#}")))?;
    let is_module = wasm.get(4..8) == Some(&[1, 0, 0, 0]);
    let code = match is_module {
        true => <Module as Code>::compile(&engine, wasm),
        false => <Component as Code>::compile(&engine, wasm),
    };
    code.map_err(Failure::Refused)
}
