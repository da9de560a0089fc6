//! Asking for a certificate: the key is made here and never leaves.
use crate::{CredentialsError, KeyPair};

/// A new key, and what asks for a certificate for it.
pub struct Request {
    /// PKCS #10, in PEM.
    pub csr_pem: String,
    key_pem: String,
}

impl Request {
    /// # Errors
    /// If this machine gives no randomness.
    pub fn new() -> Result<Self, CredentialsError> {
        let made = || {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
            let request = rcgen::CertificateParams::default().serialize_request(&key)?;
            Ok(Request {
                csr_pem: request.pem()?,
                key_pem: key.serialize_pem(),
            })
        };
        made().map_err(|error: rcgen::Error| CredentialsError::Key(error.to_string()))
    }

    /// The key with the certificate that was given for it.
    #[must_use]
    pub fn answered(self, cert_pem: String) -> KeyPair {
        KeyPair {
            cert_pem,
            key_pem: self.key_pem,
        }
    }
}
