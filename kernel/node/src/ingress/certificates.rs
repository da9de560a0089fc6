//! The certificates that are shown, by the Secrets that they are in: each handshake takes the one that is there then.
use super::proxy::Proxy;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
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

/// Links of one chain at the most.
const MOST_LINKS: usize = 16;

/// Why a Secret's certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the certificate in the Secret {}/{} cannot be shown: {why}", .secret.namespace, .secret.name)]
pub struct CertificateError {
    pub secret: Secret,
    pub why: String,
}

/// What can be shown.
pub type Keys = HashMap<Secret, Arc<CertifiedKey>>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads what Secrets hold. One that cannot be shown is as it was before.
pub fn read(pairs: &BTreeMap<Secret, KeyPair>, before: &Keys) -> (Keys, Vec<CertificateError>) {
    let (mut keys, mut errors) = (Keys::new(), Vec::new());
    let provider = provider();
    for (secret, pair) in pairs {
        match certified(pair, &provider) {
            Ok(key) => drop(keys.insert(secret.clone(), Arc::new(key))),
            Err(why) => {
                if let Some(key) = before.get(secret) {
                    keys.insert(secret.clone(), key.clone());
                }
                let secret = secret.clone();
                errors.push(CertificateError { secret, why });
            }
        }
    }
    (keys, errors)
}

fn certified(pair: &KeyPair, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes())
        .take(MOST_LINKS)
        .collect();
    let chain = chain.map_err(|error| format!("tls.crt is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in tls.crt".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes());
    let key = key.map_err(|error| format!("there is no key in tls.key: {error}"))?;
    // It also says if the key is another's.
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
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
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::downgrade(proxy))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
