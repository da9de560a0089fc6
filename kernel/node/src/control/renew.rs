//! The node's certificate: renewed in time, at whichever server there is, and kept with its key as one file.
use super::ControlPlane;
use crate::config::AgentConfig;
use jiff::Timestamp;
use sampan_api::{ApiError, rpc};
use sampan_tls::{Asks, Credentials, CredentialsError, KeyPair, Request, Validity, files::write_pair, keep_fresh};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A server that does not answer in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Refused(#[from] ApiError),
    #[error("no server answers within {PATIENCE:?}")]
    Silence,
    #[error(transparent)]
    Unusable(#[from] CredentialsError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// What a node whose certificate has run out is told, and why it could not be renewed.
struct Over<'a> {
    node: &'a str,
    until: Timestamp,
    why: RenewError,
}

impl fmt::Display for Over<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Over { node, until, why } = self;
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        write!(
            f,
            "the certificate of node \"{node}\" ran out at {until} (this machine's clock says {now}), and no server takes \
             this node's word any more ({why}). Its pods go on. If the clock is right, let the node join again: \
             `sampan delete node {node}` and `sampan token create` where the cluster can be reached, then `sampan join \
             SERVER --token TOKEN` here"
        )
    }
}

/// Keeps what the node shows fresh, for as long as the future is polled.
pub async fn keep_certificate(plane: ControlPlane, credentials: Arc<Credentials>, config: AgentConfig, asks: Asks) {
    let renew = || async {
        let renewed = renew(&plane, &credentials, config.identity_file.as_deref()).await;
        let shown = credentials.certificate();
        renewed.map_err(|why| match shown.validity(Timestamp::now()) {
            Validity::Over => {
                let until = shown.not_after;
                Over {
                    node: &config.name,
                    until,
                    why,
                }
                .to_string()
            }
            _ => why.to_string(),
        })
    };
    keep_fresh(credentials.clone(), asks, renew).await;
}

async fn renew(plane: &ControlPlane, credentials: &Credentials, file: Option<&Path>) -> Result<KeyPair, RenewError> {
    let asking = Request::new()?;
    let addresses = credentials
        .certificate()
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let request = rpc::RenewRequest {
        csr_pem: asking.csr_pem.clone(),
        addresses,
    };
    let mut client = plane.certificates();
    let answer = tokio::time::timeout(PATIENCE, client.renew(request)).await;
    let answer = answer.map_err(|_| RenewError::Silence)?.map_err(reason)?.into_inner();
    let own = asking.answered(answer.cert_pem);
    // What could not be shown must not take the place of what can.
    credentials.check(&own)?;
    if let Some(path) = file {
        let (path, own) = (path.to_owned(), own.clone());
        let io_error = |path: &Path, source| RenewError::Io {
            path: path.to_owned(),
            source,
        };
        let place = path.clone();
        let kept = tokio::task::spawn_blocking(move || write_pair(&place, &own)).await;
        kept.map_err(|error| io_error(&path, error.into()))?
            .map_err(|source| io_error(&path, source))?;
    }
    Ok(own)
}

/// The server's word, or why none could be asked.
fn reason(status: tonic::Status) -> ApiError {
    match std::error::Error::source(&status) {
        Some(source) if status.details().is_empty() => ApiError::unavailable(sampan_tls::origin(source)),
        _ => status.into(),
    }
}
