//! What a failed request means: whose fault it is, and whether another try may help.

use std::error::Error;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use crate::auth::Credentials;
use crate::error::{ImageError, Result};
use crate::reference::Reference;

/// Tries in all, of one document or blob without progress.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// However long the registry asks to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An error, and what to do about it.
pub(crate) struct Failure {
    pub(crate) error: ImageError,
    transient: bool,
    after: Option<Duration>,
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self {
            error,
            transient: false,
            after: None,
        }
    }
}

impl ImageError {
    /// Another try may help.
    pub(crate) fn transient(self) -> Failure {
        Failure {
            error: self,
            transient: true,
            after: None,
        }
    }
}

/// Paces the tries.
pub(crate) struct Backoff {
    failed: u32,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { failed: 0 }
    }

    /// There was progress: begin to count again.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next try, or gives the error if there is none.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<()> {
        self.failed += 1;
        if !failure.transient || self.failed >= TRIES {
            return Err(failure.error);
        }
        let pause = FIRST_PAUSE * 2u32.pow(self.failed - 1);
        tracing::debug!(error = %failure.error, tries = self.failed, "trying again");
        tokio::time::sleep(failure.after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        Ok(())
    }
}

/// The cause at the end of the chain: those before it repeat themselves.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// There was no answer, or it broke off.
pub(super) fn of_transport(registry: &str, error: &reqwest::Error) -> Failure {
    let mut reason = innermost(error);
    let lower = reason.to_lowercase();
    let untrusted =
        lower.contains("certificate") || lower.contains("unknownissuer") || lower.contains("unknown issuer");
    if untrusted {
        reason = format!("its certificate is not trusted ({reason}); name the authority's certificate as an extra one");
    } else if error.is_timeout() {
        reason = "it does not answer in time".to_owned();
    }
    let error_is_final = untrusted || error.is_redirect() || error.is_builder();
    let unreachable = ImageError::Unreachable {
        registry: registry.to_owned(),
        reason,
    };
    if error_is_final {
        unreachable.into()
    } else {
        unreachable.transient()
    }
}

/// The answer was an error.
pub(super) fn of_status(
    image: &Reference,
    credentials: &Credentials,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Failure {
    let registry = image.registry().to_owned();
    let said = said(body);
    match status {
        StatusCode::NOT_FOUND => {
            let place = format!("in registry {registry}");
            ImageError::NotFound {
                image: image.familiar(),
                place,
            }
            .into()
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            let detail = format!("{}{said}; or there is no such repository", credentials.origin);
            ImageError::Unauthorized {
                registry,
                image: image.familiar(),
                detail,
            }
            .into()
        }
        status => {
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            let error = ImageError::Unreachable {
                registry,
                reason: format!("it answered {status}{said}"),
            };
            let busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
            let after = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            Failure {
                error,
                transient: busy || status.is_server_error(),
                after: after.map(Duration::from_secs),
            }
        }
    }
}

/// The registry's own words, if it has any that can be shown.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let message = &answer.errors.first()?.message;
    let shown: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    (!shown.is_empty()).then_some(shown)
}
