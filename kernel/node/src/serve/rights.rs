//! Who may ask the node: members of `system:masters`, as their certificate says.
use tonic::{Request, Status};
use x509_parser::prelude::{FromDer, X509Certificate};

const GROUP: &str = "system:masters";

/// Whether whoever sent the request may.
///
/// # Errors
/// `PermissionDenied`, saying who it was.
pub fn check<T>(request: &Request<T>) -> Result<(), Status> {
    let certificates = request
        .peer_certs()
        .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
    let first = certificates
        .first()
        .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
    let (name, groups) =
        subject(first).ok_or_else(|| Status::unauthenticated("the client certificate makes no sense"))?;
    if groups.iter().any(|group| group == GROUP) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "user \"{name}\" may not ask a node: only members of {GROUP} may"
    )))
}

/// Common name and organisations of a certificate.
fn subject(der: &[u8]) -> Option<(String, Vec<String>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject
        .iter_common_name()
        .find_map(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    Some((name, groups))
}
