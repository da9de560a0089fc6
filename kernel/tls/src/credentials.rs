//! What a process shows of itself, and whom it trusts: one for its listener and for all its connections.
use crate::{
    certificate::{Certificate, Unreadable},
    dial::Dialer,
    refused::Judge,
};
use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, ring::cipher_suite},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{fmt, sync::Arc};

/// The default's first has fourteen rounds for each block, this one ten, and nothing is known that would break either.
const QUIC_CIPHERS: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct KeyPair {
    pub cert_pem: String,
    pub key_pem: String,
}

/// Keys are not for logs.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair")
    }
}

/// Why a certificate cannot be shown, or an authority not be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("the authority's certificate cannot be used: {0}")]
    Authority(String),
    #[error(transparent)]
    Certificate(#[from] Unreadable),
    #[error("the key of the certificate cannot be used: {0}")]
    Key(String),
    #[error("the certificate was to be of \"{0}\" and is of \"{1}\"")]
    AnotherUser(String, String),
    #[error("\"{0}\" is no name of a host")]
    Host(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What is shown now.
struct Shown {
    certificate: Arc<Certificate>,
    /// To servers: the certificate alone.
    as_client: Arc<CertifiedKey>,
    /// To clients: with the authority after it. Who joins knows the authority by its digest.
    as_server: Arc<CertifiedKey>,
    /// How many were shown before.
    turn: u64,
}

/// What a process shows of itself, and whom it trusts.
pub struct Credentials {
    authority: Arc<Certificate>,
    roots: Arc<RootCertStore>,
    shown: RwLock<Arc<Shown>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.certificate().user)
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authority, read, and as the only one that is trusted.
pub(crate) fn trust(ca_pem: &str) -> Result<(Arc<Certificate>, Arc<RootCertStore>), CredentialsError> {
    let authority = Certificate::of_pem(ca_pem).map_err(|error| CredentialsError::Authority(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let added = roots.add(CertificateDer::from(authority.der().to_owned()));
    added.map_err(|error| CredentialsError::Authority(error.to_string()))?;
    Ok((Arc::new(authority), Arc::new(roots)))
}

impl Credentials {
    /// Of the authority's certificate, and the first certificate to show.
    ///
    /// # Errors
    /// If one of them cannot be used, or the key is not the certificate's.
    pub fn new(ca_pem: &str, own: &KeyPair) -> Result<Arc<Self>, CredentialsError> {
        let (authority, roots) = trust(ca_pem)?;
        let shown = RwLock::new(Arc::new(Shown::new(own, &authority, 0)?));
        Ok(Arc::new(Credentials {
            authority,
            roots,
            shown,
        }))
    }

    /// Shows another certificate from the next handshake on.
    ///
    /// # Errors
    /// If it cannot be used, or the key is not its own; the one before goes on being shown then.
    pub fn replace(&self, own: &KeyPair) -> Result<(), CredentialsError> {
        let mut shown = self.shown.write();
        *shown = Arc::new(Shown::new(own, &self.authority, shown.turn + 1)?);
        Ok(())
    }

    /// Whether this could be shown next: it can be used, and is of the same user.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, own: &KeyPair) -> Result<(), CredentialsError> {
        let next = Shown::new(own, &self.authority, 0)?.certificate;
        let user = self.certificate().user.clone();
        match next.user == user {
            true => Ok(()),
            false => Err(CredentialsError::AnotherUser(user, next.user.clone())),
        }
    }

    /// What is shown now.
    pub fn certificate(&self) -> Arc<Certificate> {
        self.shown.read().certificate.clone()
    }

    pub fn authority(&self) -> &Certificate {
        &self.authority
    }

    /// Rises with each certificate that is shown: a connection that was made in an earlier turn shows an earlier one.
    pub fn turn(&self) -> u64 {
        self.shown.read().turn
    }

    /// Dials over the connections of `inner`, to who has a certificate for `host`.
    ///
    /// # Errors
    /// If that is no name of a host.
    pub fn dialer<C>(self: &Arc<Self>, inner: C, host: &str) -> Result<Dialer<C>, CredentialsError> {
        let resolver = Arc::new(Resolver(self.clone()));
        let config = client_config(&self.authority, &self.roots, resolver)?;
        Ok(Dialer::new(inner, config, host_name(host)?))
    }

    /// For QUIC, where each end may be asked and may ask: how it asks, and how it answers. Both must show a certificate of
    /// the authority, and speak `protocol`. The ciphers are ordered by what they cost for each packet.
    ///
    /// # Errors
    /// If the authority cannot be trusted.
    pub fn quic(self: &Arc<Self>, protocol: &[u8]) -> Result<(ClientConfig, ServerConfig), CredentialsError> {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = QUIC_CIPHERS.to_vec();
        let provider = Arc::new(provider);
        let only = &[&rustls::version::TLS13];
        let mut asks = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(only)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Judge::new(self.authority.clone(), self.roots.clone())?))
            .with_client_cert_resolver(Arc::new(Resolver(self.clone())));
        asks.alpn_protocols = vec![protocol.to_vec()];
        asks.resumption = Resumption::disabled();
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error| CredentialsError::Authority(error.to_string()))?;
        let mut answers = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(only)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        answers.alpn_protocols = vec![protocol.to_vec()];
        answers.session_storage = Arc::new(NoServerSessionStorage {});
        answers.send_tls13_tickets = 0;
        Ok((asks, answers))
    }

    /// How a listener greets. With `optional`, also who shows no certificate.
    pub(crate) fn server_config(self: &Arc<Self>, optional: bool) -> Result<Arc<ServerConfig>, CredentialsError> {
        let provider = provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone());
        let verifier = match optional {
            true => verifier.allow_unauthenticated().build(),
            false => verifier.build(),
        };
        let verifier = verifier.map_err(|error| CredentialsError::Authority(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

pub(crate) fn client_config(
    authority: &Arc<Certificate>,
    roots: &Arc<RootCertStore>,
    resolver: Arc<dyn ResolvesClientCert>,
) -> Result<Arc<ClientConfig>, CredentialsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge::new(authority.clone(), roots.clone())?))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(crate) fn host_name(host: &str) -> Result<ServerName<'static>, CredentialsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| CredentialsError::Host(host.to_owned()))
}

impl Shown {
    fn new(own: &KeyPair, authority: &Certificate, turn: u64) -> Result<Self, CredentialsError> {
        let certificate = Certificate::of_pem(&own.cert_pem)?;
        let key = |chain: &[&Certificate]| {
            let failed = |error: &dyn fmt::Display| CredentialsError::Key(error.to_string());
            let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).map_err(|error| failed(&error))?;
            let chain = chain.iter().map(|link| CertificateDer::from(link.der().to_owned()));
            // It also says if the key is another's.
            let key = CertifiedKey::from_der(chain.collect(), key, &provider());
            key.map(Arc::new).map_err(|error| failed(&error))
        };
        Ok(Shown {
            as_client: key(&[&certificate])?,
            as_server: key(&[&certificate, authority])?,
            certificate: Arc::new(certificate),
            turn,
        })
    }
}

/// Gives each handshake what is shown now.
#[derive(Debug)]
struct Resolver(Arc<Credentials>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.shown.read().as_server.clone())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.shown.read().as_client.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Shows nothing: of who joins nobody knows anything yet.
#[derive(Debug)]
pub(crate) struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
