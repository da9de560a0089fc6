//! This server's own certificate: issued at its start by the authority that it has itself, and again in time.
use crate::{StartError, pki::Authority};
use sampan_tls::{Asks, Credentials, Renewer, keep_fresh, renewer};
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The certificate, and what it takes to issue the next.
pub struct OwnCertificate {
    credentials: Arc<Credentials>,
    renewer: Renewer,
    asks: Asks,
    authority: Arc<Authority>,
    name: String,
    names: BTreeSet<String>,
}

impl OwnCertificate {
    /// Issues the first, for a server and all the names it is called by.
    ///
    /// # Errors
    /// If the names cannot be in a certificate.
    pub fn issue(authority: &Arc<Authority>, name: &str, names: BTreeSet<String>) -> Result<Self, StartError> {
        let first = authority.issue_server(name, &names)?;
        let (renewer, asks) = renewer();
        Ok(OwnCertificate {
            credentials: Credentials::new(authority.ca_pem(), &first)?,
            renewer,
            asks,
            authority: authority.clone(),
            name: name.to_owned(),
            names,
        })
    }

    /// What the listener and all connections show.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    pub fn renewer(&self) -> &Renewer {
        &self.renewer
    }

    /// Issues the next when it is time, until the server closes.
    pub async fn keep(self, closing: CancellationToken) {
        let issue = || async { self.authority.issue_server(&self.name, &self.names) };
        closing
            .run_until_cancelled(keep_fresh(self.credentials.clone(), self.asks, issue))
            .await;
    }
}
