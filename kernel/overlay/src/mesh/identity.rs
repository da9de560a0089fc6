//! Who a connection is with, by the certificate that was shown. That it is of the cluster's authority, TLS has checked.
use quinn_proto::Connection;
use rustls_pki_types::CertificateDer;
use sampan_tls::Certificate;

/// The group of nodes, and what their users begin with; the node's name follows.
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// The name of the node at the other end; None if it is none.
pub(super) fn node(connection: &Connection) -> Option<String> {
    let identity = connection.crypto_session().peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    named(&Certificate::of_der(chain.first()?).ok()?)
}

fn named(certificate: &Certificate) -> Option<String> {
    let name = certificate.user.strip_prefix(NODE_PREFIX)?;
    let is_node = certificate.groups.iter().any(|group| group == NODES);
    (is_node && !name.is_empty()).then(|| name.to_owned())
}
