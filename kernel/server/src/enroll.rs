//! How a machine joins a cluster: it trusts the authority that its token names and no other, asks to be let in, and keeps
//! what it is given. What is kept is complete or not there, so a join that was cut short is simply made again.
use crate::{
    features::Build,
    peers::Peer,
    pki::{self, KeyPair, fingerprint, private_dir, read_small, write_private},
    token::{Role, Token},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sampan_api::{
    ApiError, SERVERS_HOST,
    dual::ClusterRanges,
    rpc::{JoinRequest, JoinResponse, membership_client::MembershipClient},
};
use sampan_tls::{
    Certificate, CredentialsError, Dialer, Refused, Request, Tcp, Validity,
    files::{read_pair, write_pair},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

/// A server that does not answer in this time is not there.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);

const FILE: &str = "enrolled.json";
/// A node's key and certificate, in one file.
const NODE_FILE: &str = "node.pem";
const AUTHORITY_FILE: &str = "ca.crt";
const MAX_FILE: u64 = 1 << 20;

/// What a machine is in its cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    pub role: String,
    pub name: String,
    pub cluster: String,
    pub cluster_name: String,
    /// A server's id in the group.
    pub member: u64,
    pub peers: Vec<Peer>,
    /// Where the control plane can be reached, `HOST:PORT`.
    pub servers: Vec<String>,
    /// The range of the pods' addresses there; empty where none was given.
    pub pod_cidr: String,
    /// The ranges of the cluster, of all pods and of Services; empty: the usual ones.
    #[serde(default)]
    pub cluster_cidr: String,
    #[serde(default)]
    pub service_cidr: String,
    /// Where a server listens, and where others reach this machine, as it was told at the join.
    #[serde(default)]
    pub listen: String,
    #[serde(default)]
    pub advertise: String,
}

impl Enrolled {
    /// The ranges of its cluster.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn ranges(&self) -> Result<ClusterRanges, String> {
        ClusterRanges::read(&self.cluster_cidr, &self.service_cidr)
    }
}

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{address} cannot be reached: {reason}. Is a server listening there, and on that address (--listen)?")]
    Away { address: String, reason: String },
    #[error(
        "the server at {address} is not of the cluster that the token is for: its authority is {found}, and the token \
         names {wanted}"
    )]
    Foreign {
        address: String,
        found: String,
        wanted: String,
    },
    #[error("the server at {address} cannot be trusted: {refused}")]
    Untrusted { address: String, refused: Box<Refused> },
    #[error(transparent)]
    Tls(#[from] CredentialsError),
    #[error("the cluster at {address} does not let this machine in: {error}")]
    Refused { address: String, error: ApiError },
    #[error("{} is damaged ({reason}): remove this machine from the cluster, empty the directory, and join again", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Pki(#[from] pki::PkiError),
    #[error(transparent)]
    Token(#[from] ApiError),
}

/// How a machine asks to be let in.
#[derive(Clone, Debug)]
pub struct Enroll {
    /// A server of the cluster, `HOST:PORT`.
    pub address: String,
    pub token: Token,
    pub role: Role,
    pub name: String,
    /// Where a server will listen; kept for its next start.
    pub listen: String,
    /// Where others will reach a server; the node's address, for a node.
    pub advertise: String,
    /// A server that stays a learner until it is promoted.
    pub standby: bool,
    /// What this program is.
    pub build: Build,
}

/// What this machine is, if it has joined a cluster.
///
/// # Errors
/// I/O, or a file that cannot be read.
pub fn enrolled(dir: &Path) -> Result<Option<Enrolled>, EnrollError> {
    let path = dir.join(FILE);
    let text = read_small(&path, MAX_FILE).map_err(|source| EnrollError::Io {
        path: path.clone(),
        source,
    })?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| EnrollError::Damaged {
            path,
            reason: error.to_string(),
        })
    })
    .transpose()
}

/// Where a node keeps its key and certificate, the first and those after it.
pub fn node_file(dir: &Path) -> PathBuf {
    dir.join(NODE_FILE)
}

/// The authority's certificate, and the certificate and key that a node was given when it joined, or last.
///
/// # Errors
/// I/O, or if it has none.
pub fn node_identity(dir: &Path) -> Result<(String, KeyPair), EnrollError> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let io_error = |path: PathBuf| move |source| EnrollError::Io { path, source };
    let (authority, own) = (dir.join(AUTHORITY_FILE), node_file(dir));
    let ca_pem = read_small(&authority, MAX_FILE).and_then(|text| text.ok_or_else(missing));
    let pair = read_pair(&own).and_then(|pair| pair.ok_or_else(missing));
    Ok((ca_pem.map_err(io_error(authority))?, pair.map_err(io_error(own))?))
}

/// Whether a node may join again: its certificate has run out, and the token is of the same cluster, since what it has of
/// pods is that cluster's.
///
/// # Errors
/// I/O, or a certificate that cannot be read.
pub fn may_join_again(dir: &Path, token: &Token) -> Result<bool, EnrollError> {
    let (ca_pem, pair) = node_identity(dir)?;
    let certificate = Certificate::of_pem(&pair.cert_pem).map_err(|error| EnrollError::Damaged {
        path: node_file(dir),
        reason: error.to_string(),
    })?;
    let over = certificate.validity(jiff::Timestamp::now()) == Validity::Over;
    Ok(over && fingerprint(&ca_pem) == token.fingerprint)
}

/// Joins: what is kept goes to `dir`; a server's authority and cluster to `server`.
///
/// # Errors
/// Why the machine is not let in, or cannot keep what it was given.
pub async fn enroll(ask: &Enroll, dir: &Path, server: &Path) -> Result<Enrolled, EnrollError> {
    private_dir(dir).map_err(|source| EnrollError::Io {
        path: dir.to_owned(),
        source,
    })?;
    let ca_pem = pinned_authority(ask).await?;
    let request = Request::new()?;
    let welcome = call(ask, &ca_pem, request.csr_pem.clone()).await?;
    let enrolled = Enrolled {
        role: ask.role.as_str().to_owned(),
        name: ask.name.clone(),
        cluster: welcome.cluster.clone(),
        cluster_name: welcome.cluster_name.clone(),
        member: welcome.member,
        peers: welcome
            .members
            .iter()
            .map(|member| Peer {
                id: member.id,
                name: member.name.clone(),
                address: member.address.clone(),
                standby: member.standby,
            })
            .collect(),
        servers: welcome.servers.clone(),
        pod_cidr: welcome.pod_cidr.clone(),
        cluster_cidr: welcome.cluster_cidr.clone(),
        service_cidr: welcome.service_cidr.clone(),
        listen: ask.listen.clone(),
        advertise: ask.advertise.clone(),
    };
    match ask.role {
        Role::Node => {
            let pair = request.answered(welcome.cert_pem);
            let (authority, own) = (dir.join(AUTHORITY_FILE), node_file(dir));
            write_private(&authority, ca_pem.as_bytes()).map_err(|source| EnrollError::Io {
                path: authority,
                source,
            })?;
            write_pair(&own, &pair).map_err(|source| EnrollError::Io { path: own, source })?;
        }
        Role::Server => {
            pki::Authority::adopt(server, &ca_pem, &welcome.ca_key_pem)?;
        }
    }
    let path = dir.join(FILE);
    let text = serde_json::to_vec_pretty(&enrolled).map_err(|error| EnrollError::Damaged {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    write_private(&path, &text).map_err(|source| EnrollError::Io { path, source })?;
    Ok(enrolled)
}

async fn call(ask: &Enroll, ca_pem: &str, csr_pem: String) -> Result<JoinResponse, EnrollError> {
    let address = || ask.address.clone();
    let away = |error: tonic::transport::Error| match sampan_tls::refused(&error) {
        Some(refused) => EnrollError::Untrusted {
            address: address(),
            refused: Box::new(refused.clone()),
        },
        None => EnrollError::Away {
            address: address(),
            reason: sampan_tls::origin(&error),
        },
    };
    let dialer = Dialer::of_nobody(ca_pem, Tcp(address()), SERVERS_HOST)?;
    let channel = Endpoint::from_shared(format!("http://{}", ask.address))
        .map_err(away)?
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .connect_with_connector(dialer)
        .await
        .map_err(away)?;
    let request = JoinRequest {
        token: ask.token.reveal(),
        role: ask.role.as_str().to_owned(),
        name: ask.name.clone(),
        csr_pem,
        address: ask.advertise.clone(),
        version: ask.build.version.clone(),
        level: ask.build.level,
        standby: ask.standby,
    };
    let answer = MembershipClient::new(channel).join(request).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| EnrollError::Refused {
            address: ask.address.clone(),
            error: status.into(),
        })
}

/// The authority's certificate as the server shows it, if it is the one that the token names. Nothing secret is said before.
async fn pinned_authority(ask: &Enroll) -> Result<String, EnrollError> {
    let away = |error: io::Error| EnrollError::Away {
        address: ask.address.clone(),
        reason: error.to_string(),
    };
    let shown = Arc::new(Shown::default());
    let mut config = ClientConfig::builder_with_provider(shown.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| away(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(shown.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let host = ServerName::try_from(SERVERS_HOST).map_err(|error| away(io::Error::other(error)))?;
    let handshake = async {
        let stream = TcpStream::connect(&ask.address).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(host, stream)
            .await
    };
    tokio::time::timeout(CONNECT, handshake)
        .await
        .map_err(|_| away(io::ErrorKind::TimedOut.into()))?
        .map_err(away)?;
    let chain = shown.chain.lock().map(|chain| chain.clone()).unwrap_or_default();
    let pems: Vec<String> = chain.iter().map(|der| pki::pem_of(der)).collect();
    let found = pems.iter().find(|pem| fingerprint(pem) == ask.token.fingerprint);
    found.cloned().ok_or_else(|| EnrollError::Foreign {
        address: ask.address.clone(),
        found: pems.last().map(|pem| fingerprint(pem)).unwrap_or_default(),
        wanted: ask.token.fingerprint.clone(),
    })
}

/// Takes note of the certificates that a server shows. It trusts any, since the connection is only looked at and then
/// dropped: the one that is used trusts the authority found here, once its digest is the token's.
#[derive(Debug)]
struct Shown {
    provider: Arc<rustls::crypto::CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Default for Shown {
    fn default() -> Self {
        Shown {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            chain: Mutex::default(),
        }
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            let shown = std::iter::once(leaf).chain(rest.iter().take(4));
            *chain = shown.map(|certificate| certificate.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
