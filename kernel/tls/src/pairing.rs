//! A certificate and a key that somebody else brings, as for an Ingress: read of PEM, and held one against the other.
use crate::{KeyPair, credentials::provider};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};

/// Links of one chain at the most.
const MOST_LINKS: usize = 16;

/// Why a certificate cannot be shown with a key. Which file or field is meant is for the caller to say.
#[derive(Debug, thiserror::Error)]
pub enum Unpaired {
    #[error("the certificate is no PEM: {0}")]
    Chain(pem::Error),
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("more than {MOST_LINKS} certificates are in it: it should hold the certificate, and those that signed it")]
    LongChain,
    #[error("there is no private key in it: {0}")]
    NoKey(pem::Error),
    #[error("the key is not the certificate's: {0}")]
    Another(rustls::Error),
}

impl Unpaired {
    /// Whether it is the key's text that is wrong, and not the certificate's.
    pub fn is_of_key(&self) -> bool {
        matches!(self, Unpaired::NoKey(_) | Unpaired::Another(_))
    }
}

impl KeyPair {
    /// What a listener shows of them: the certificate first, those that signed it after it, and its own key.
    ///
    /// # Errors
    /// If one of them is none, or the key is another's.
    pub fn certified(&self) -> Result<CertifiedKey, Unpaired> {
        let chain = CertificateDer::pem_slice_iter(self.cert_pem.as_bytes()).take(MOST_LINKS + 1);
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(Unpaired::Chain)?;
        match chain.len() {
            0 => return Err(Unpaired::NoCertificate),
            1..=MOST_LINKS => {}
            _ => return Err(Unpaired::LongChain),
        }
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(Unpaired::NoKey)?;
        // It also says if the key is another's.
        CertifiedKey::from_der(chain, key, &provider()).map_err(Unpaired::Another)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> KeyPair {
        let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
        KeyPair {
            cert_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    #[test]
    fn a_certificate_goes_with_its_own_key() {
        let (own, other) = (made(), made());
        assert_eq!(own.certified().unwrap().cert.len(), 1);
        let wrong = |cert: &str, key: &str| {
            let pair = KeyPair {
                cert_pem: cert.to_owned(),
                key_pem: key.to_owned(),
            };
            pair.certified().unwrap_err()
        };
        let long = own.cert_pem.repeat(MOST_LINKS + 1);
        for (cert, key, of_key, said) in [
            (
                &*own.cert_pem,
                &*other.key_pem,
                true,
                "the key is not the certificate's",
            ),
            (&*own.cert_pem, "", true, "no private key"),
            (&*own.cert_pem, &*own.cert_pem, true, "no private key"),
            (&*own.key_pem, &*own.key_pem, false, "there is no certificate in it"),
            ("", &*own.key_pem, false, "there is no certificate in it"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "",
                false,
                "is no PEM",
            ),
            (&*long, &*own.key_pem, false, "more than 16 certificates"),
        ] {
            let error = wrong(cert, key);
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.is_of_key(), of_key, "{error}");
        }
        let chain = own.cert_pem.clone() + &other.cert_pem;
        let pair = KeyPair {
            cert_pem: chain,
            key_pem: own.key_pem,
        };
        assert_eq!(pair.certified().unwrap().cert.len(), 2);
    }
}
