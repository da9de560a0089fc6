//! The clock of deadlines: one thread that moves an engine's epoch while there are calls to time, and sleeps otherwise.
use parking_lot::{Condvar, Mutex};
use std::{sync::Arc, time::Duration};
use wasmtime::Engine;

#[derive(Default)]
struct Shared {
    calls: Mutex<Option<usize>>,
    wake: Condvar,
}

/// Moves an engine's epoch; ends with it.
pub struct Ticker {
    shared: Arc<Shared>,
}

/// A call that is timed, until it is dropped.
pub struct Timed<'a> {
    ticker: &'a Ticker,
}

impl Ticker {
    /// How exact deadlines are.
    pub const TICK: Duration = Duration::from_millis(5);

    /// Starts the thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            calls: Mutex::new(Some(0)),
            wake: Condvar::new(),
        });
        let (for_thread, engine) = (shared.clone(), engine.weak());
        std::thread::Builder::new().name("epochs".to_owned()).spawn(move || {
            loop {
                let mut calls = for_thread.calls.lock();
                match *calls {
                    None => return,
                    Some(0) => {
                        for_thread.wake.wait(&mut calls);
                        continue;
                    }
                    Some(_) => drop(calls),
                }
                std::thread::sleep(Ticker::TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Ticker { shared })
    }

    /// Ticks until what is returned is dropped.
    pub fn time(&self) -> Timed<'_> {
        if let Some(calls) = self.shared.calls.lock().as_mut() {
            *calls += 1;
        }
        self.shared.wake.notify_one();
        Timed { ticker: self }
    }

    /// A time in ticks, rounded up, and one more since the next tick may come at once.
    pub fn ticks(time: Duration) -> u64 {
        u64::try_from(time.as_micros().div_ceil(Self::TICK.as_micros())).unwrap_or(u64::MAX / 2) + 1
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.calls.lock() = None;
        self.shared.wake.notify_one();
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if let Some(calls) = self.ticker.shared.calls.lock().as_mut() {
            *calls -= 1;
        }
    }
}
