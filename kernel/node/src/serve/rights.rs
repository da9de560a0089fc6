//! Who may ask the node: members of `system:masters`, as their certificate says.
use sampan_tls::Certificate;
use tonic::{Request, Status};

const GROUP: &str = "system:masters";

/// Whether whoever sent the request may.
///
/// # Errors
/// `PermissionDenied`, saying who it was.
pub fn check<T>(request: &Request<T>) -> Result<(), Status> {
    let certificates = request.peer_certs();
    let first = certificates.as_ref().and_then(|certificates| certificates.first());
    let first = first.ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
    let who =
        Certificate::of_der(first).map_err(|_| Status::unauthenticated("the client certificate makes no sense"))?;
    if who.groups.iter().any(|group| group == GROUP) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "user \"{}\" may not ask a node: only members of {GROUP} may",
        who.user
    )))
}
