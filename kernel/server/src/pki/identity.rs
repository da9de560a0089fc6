//! The identity that a certificate shows: the subject's common name is the user, its organisations are the groups.
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of agents.
pub const NODES: &str = "system:nodes";
/// What the users of agents begin with; the node's name follows.
pub const NODE_PREFIX: &str = "system:node:";

/// What the users of servers begin with; the member's name follows.
pub const SERVER_PREFIX: &str = "system:server:";

/// A certificate larger than this is nobody's here.
const MAX_CERTIFICATE: usize = 16 << 10;
const MAX_NAME: usize = 320;
const MAX_GROUPS: usize = 32;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the client certificate has {0} bytes, and {MAX_CERTIFICATE} are the limit")]
    TooLarge(usize),
    #[error("the client certificate cannot be read")]
    Unreadable,
    #[error("the client certificate's subject must have one common name, the user, of 1 to {MAX_NAME} bytes")]
    NoUser,
    #[error("the client certificate's subject has a group (organisation) that is none, or more than {MAX_GROUPS}")]
    Groups,
}

impl Identity {
    /// Reads the certificate a peer has shown; that it is of this cluster's authority was checked by TLS.
    ///
    /// # Errors
    /// If it names nobody.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        if certificate.len() > MAX_CERTIFICATE {
            return Err(IdentityError::TooLarge(certificate.len()));
        }
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
        let subject = certificate.subject();
        let text = |text: &str| (1..=MAX_NAME).contains(&text.len()).then(|| text.to_owned());
        let mut names = subject.iter_common_name();
        let user = match (names.next(), names.next()) {
            (Some(name), None) => name.as_str().ok().and_then(text).ok_or(IdentityError::NoUser)?,
            _ => return Err(IdentityError::NoUser),
        };
        let groups = subject.iter_organization().take(MAX_GROUPS + 1);
        let groups: Option<Vec<String>> = groups.map(|group| group.as_str().ok().and_then(text)).collect();
        match groups {
            Some(groups) if groups.len() <= MAX_GROUPS => Ok(Identity { user, groups }),
            _ => Err(IdentityError::Groups),
        }
    }

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|known| known == group)
    }

    /// The node whose agent this is.
    pub fn node(&self) -> Option<&str> {
        let name = self.user.strip_prefix(NODE_PREFIX)?;
        (self.is_in(NODES) && !name.is_empty()).then_some(name)
    }

    /// The server that this is.
    pub fn server(&self) -> Option<&str> {
        let name = self.user.strip_prefix(SERVER_PREFIX)?;
        (self.is_in(MASTERS) && !name.is_empty()).then_some(name)
    }
}

/// The host name in a member's certificate by which other members know it, wherever it is.
pub fn member_host(name: &str) -> String {
    format!("{name}.member.sampan")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_makes_a_node() {
        let who = |groups: &[&str]| Identity {
            user: "system:node:n1".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        assert_eq!(who(&[NODES]).node(), Some("n1"));
        assert_eq!(who(&[]).node(), None);
        assert!(!who(&[NODES]).is_in(MASTERS));
    }

    #[test]
    fn rubbish_is_nobody() {
        let read = |bytes: &[u8]| Identity::of_certificate(&CertificateDer::from(bytes.to_vec()));
        assert_eq!(read(b""), Err(IdentityError::Unreadable));
        assert_eq!(read(b"rubbish"), Err(IdentityError::Unreadable));
        assert_eq!(read(&[0x30; 20_000]), Err(IdentityError::TooLarge(20_000)));
    }
}
