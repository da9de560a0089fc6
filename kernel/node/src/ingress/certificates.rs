//! The certificates that are shown, by the Secrets that they are in: each handshake takes the one that is there then.
use super::proxy::Proxy;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sampan_sandbox::ingress::Secret;
use sampan_tls::KeyPair;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Weak},
};

/// Why a Secret's certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the certificate in the Secret {}/{} cannot be shown: {why}", .secret.namespace, .secret.name)]
pub struct CertificateError {
    pub secret: Secret,
    pub why: String,
}

/// What can be shown.
pub type Keys = HashMap<Secret, Arc<CertifiedKey>>;

/// Reads what Secrets hold. One that cannot be shown is as it was before.
pub fn read(pairs: &BTreeMap<Secret, KeyPair>, before: &Keys) -> (Keys, Vec<CertificateError>) {
    let (mut keys, mut errors) = (Keys::new(), Vec::new());
    for (secret, pair) in pairs {
        match pair.certified() {
            Ok(key) => drop(keys.insert(secret.clone(), Arc::new(key))),
            Err(error) => {
                if let Some(key) = before.get(secret) {
                    keys.insert(secret.clone(), key.clone());
                }
                let field = if error.is_of_key() { "tls.key" } else { "tls.crt" };
                let (secret, why) = (secret.clone(), format!("{field}: {error}"));
                errors.push(CertificateError { secret, why });
            }
        }
    }
    (keys, errors)
}

/// Gives each handshake what is shown then to who asks for that host. Who asks for one that nothing is shown for is refused.
struct Resolver(Weak<Proxy>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        self.0.upgrade()?.certificate(name.trim_end_matches('.'))
    }
}

/// How the listeners greet.
///
/// # Errors
/// If TLS cannot be set up.
pub fn server_config(proxy: &Arc<Proxy>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::downgrade(proxy))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
