//! Why a peer's certificate is not accepted: which it is, what is wrong with it, and what the clock has to do with it.
use crate::{
    certificate::Certificate,
    credentials::{CredentialsError, provider},
    dial::DialError,
};
use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{error::Error, fmt, io, sync::Arc};

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Expired,
    NotYetValid,
    /// It is of an authority that is not trusted.
    Foreign,
    /// It is not for the host that was meant.
    WrongName(String),
    Other(String),
}

/// A certificate that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub certificate: Certificate,
    pub why: Why,
    /// The authority that is trusted.
    pub trusted: String,
    /// The wall clock's time when it was looked at.
    pub now: Timestamp,
}

impl Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate {
            user,
            issuer,
            not_before,
            not_after,
            ..
        } = &self.certificate;
        let now = seconds(self.now);
        match &self.why {
            Why::Expired => write!(
                f,
                "the certificate of \"{user}\" was good from {not_before} to {not_after}, and this machine's clock says \
                 {now}: it has expired, or the clock is ahead"
            ),
            Why::NotYetValid => write!(
                f,
                "the certificate of \"{user}\" is good only from {not_before} to {not_after}, and this machine's clock \
                 says {now}: that clock is probably behind, or the one of who issued the certificate was ahead"
            ),
            Why::Foreign => write!(
                f,
                "the certificate of \"{user}\" (good from {not_before} to {not_after}) is of another authority than the \
                 one that is trusted here: \"{issuer}\" issued it, and \"{}\" is trusted; of the same name, they are of \
                 two clusters",
                self.trusted
            ),
            Why::WrongName(host) => write!(f, "the certificate of \"{user}\" is not one for \"{host}\""),
            Why::Other(why) => write!(f, "the certificate of \"{user}\" is not accepted: {why}"),
        }
    }
}

/// A moment without fractions.
fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// An error, and what led to it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Of the error itself, not of the reference to it: that lives longer.
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source())
}

/// What led to an error, at its beginning.
pub fn origin(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The certificate that was not accepted, anywhere in what led to an error.
pub fn refused<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refused> {
    chain(error).find_map(|error| match error.downcast_ref() {
        Some(DialError::Refused(refused)) => Some(&**refused),
        _ => None,
    })
}

/// The TLS alert that a peer sent, anywhere in what led to an error.
pub fn alert(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    chain(error).find_map(|error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.or_else(|| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => alert_in(&error.to_string()),
        }
    })
}

/// The alerts with which certificates are refused.
const REFUSALS: [AlertDescription; 8] = [
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::CertificateRequired,
];

/// HTTP/2 keeps of an error of TLS only what it says.
fn alert_in(text: &str) -> Option<AlertDescription> {
    let is = |alert: &AlertDescription| text.ends_with(&rustls::Error::AlertReceived(*alert).to_string());
    REFUSALS.into_iter().find(is)
}

/// Checks servers' certificates as rustls does, and says more of those that it does not accept.
#[derive(Debug)]
pub(crate) struct Judge {
    inner: Arc<WebPkiServerVerifier>,
    authority: Arc<Certificate>,
}

impl Judge {
    pub fn new(authority: Arc<Certificate>, roots: Arc<RootCertStore>) -> Result<Self, CredentialsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        let inner = inner.map_err(|error| CredentialsError::Authority(error.to_string()))?;
        Ok(Judge { inner, authority })
    }

    fn refused(
        &self,
        leaf: &CertificateDer<'_>,
        host: &ServerName<'_>,
        now: UnixTime,
        error: rustls::Error,
    ) -> rustls::Error {
        let rustls::Error::InvalidCertificate(wrong) = &error else {
            return error;
        };
        let Ok(certificate) = Certificate::of_der(leaf) else {
            return error;
        };
        let why = match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Why::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Why::NotYetValid,
            // Authorities of two clusters may have one name: then it is the signature that is wrong.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Why::Foreign,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Why::WrongName(host.to_str().into_owned())
            }
            other => Why::Other(format!("{other:?}")),
        };
        let refused = Refused {
            certificate,
            why,
            trusted: self.authority.user.clone(),
            now: i64::try_from(now.as_secs())
                .ok()
                .and_then(|now| Timestamp::from_second(now).ok())
                .unwrap_or_default(),
        };
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(leaf, rest, host, ocsp, now);
        verified.map_err(|error| self.refused(leaf, host, now, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_however_deep_it_is() {
        let received = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let text = io::Error::other(received.to_string());
        assert_eq!(alert(&text), Some(AlertDescription::UnknownCA));
        let kept = io::Error::new(io::ErrorKind::InvalidData, received);
        assert_eq!(alert(&kept), Some(AlertDescription::UnknownCA));
        assert_eq!(alert(&io::Error::other("received fatal alert: Nonsense")), None);
    }
}
