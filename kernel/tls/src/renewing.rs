//! Renewing in time: the wall clock decides, and whoever asks.
use crate::{
    credentials::{Credentials, KeyPair},
    lifetimes::{CHECK, FIRST_PAUSE},
};
use jiff::Timestamp;
use rand::Rng;
use std::{fmt::Display, future::Future, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Renewals that are asked for and have not begun.
const WAITING: usize = 8;

type Answer = oneshot::Sender<Result<(), String>>;

/// Asks for a renewal now.
#[derive(Clone, Debug)]
pub struct Renewer(mpsc::Sender<Answer>);

/// What is asked of [`keep_fresh`].
#[derive(Debug)]
pub struct Asks(mpsc::Receiver<Answer>);

/// One who asks, and what is asked, for [`keep_fresh`].
pub fn renewer() -> (Renewer, Asks) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Renewer(sender), Asks(receiver))
}

impl Renewer {
    /// Renews now, whether it is time or not; done when the new certificate is shown.
    ///
    /// # Errors
    /// Why it could not be, or that this process is ending.
    pub async fn now(&self) -> Result<(), String> {
        let ending = || "this process is ending".to_owned();
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| ending())?;
        answered.await.map_err(|_| ending())?
    }
}

/// Renews what is shown when it is time, for as long as the future is polled. `renew` gets a new certificate with a new key,
/// and keeps it where it is kept.
pub async fn keep_fresh<F, E>(credentials: Arc<Credentials>, mut asks: Asks, renew: impl Fn() -> F)
where
    F: Future<Output = Result<KeyPair, E>>,
    E: Display,
{
    let mut failures = 0;
    loop {
        let shown = credentials.certificate();
        let pause = match failures {
            0 => until(shown.renews(), Timestamp::now()),
            failures => after_failures(failures),
        };
        let asked = tokio::select! {
            Some(asked) = asks.0.recv() => Some(asked),
            () = tokio::time::sleep(pause) => None,
        };
        if asked.is_none() && !shown.is_due(Timestamp::now()) {
            failures = 0;
            continue;
        }
        let renewed = match renew().await {
            Ok(own) => credentials.replace(&own).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let now = Timestamp::now();
        let shown = credentials.certificate();
        match &renewed {
            Ok(()) if shown.is_due(now) => {
                failures += 1;
                let (from, until) = (shown.not_before, shown.not_after);
                tracing::warn!(%from, %until, %now, "a certificate that was just issued is due already: are the clocks right?");
            }
            Ok(()) => {
                failures = 0;
                let (user, until, renews) = (&shown.user, shown.not_after, shown.renews());
                tracing::info!(user, %until, %renews, "the certificate was renewed");
            }
            Err(why) => {
                failures += 1;
                match now > shown.not_after {
                    true => tracing::error!("{why}"),
                    false => tracing::warn!(until = %shown.not_after, "the certificate cannot be renewed: {why}"),
                }
            }
        }
        if let Some(answer) = asked {
            // Who asked may have gone.
            let _ = answer.send(renewed);
        }
    }
}

/// How long to sleep: until it is time, but no longer than the clock may be trusted to go on as it does.
fn until(due: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(now.duration_until(due)).unwrap_or_default();
    left.min(CHECK)
}

fn after_failures(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(CHECK);
    pause.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn the_wall_clock_is_asked_again_and_again() {
        let due: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(until(due, due - 1000.hours()), CHECK);
        assert_eq!(until(due, due - 7.seconds()), Duration::from_secs(7));
        assert_eq!(until(due, due + 1000.hours()), Duration::ZERO, "a machine that slept");
    }

    #[test]
    fn failures_make_it_patient() {
        let within = |failures, least: Duration, most: Duration| {
            let pause = after_failures(failures);
            assert!(
                pause >= least.mul_f64(0.7) && pause <= most.mul_f64(1.3),
                "{failures}: {pause:?}"
            );
        };
        within(1, FIRST_PAUSE, FIRST_PAUSE);
        within(4, FIRST_PAUSE * 8, FIRST_PAUSE * 8);
        within(u32::MAX, CHECK, CHECK);
    }
}
