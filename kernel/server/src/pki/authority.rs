//! The cluster's authority: a key made at the first start, and the certificates issued with it.
//!
//! Only the authority's own key is on disk. The server issues itself a fresh certificate at each start, which spares a
//! second key to guard and makes new names of the host take effect; clients trust the authority, so they do not notice.
use super::identity::{Identity, MASTERS, NODE_PREFIX, NODES, SERVER_PREFIX, member_host};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use sampan_tls::{
    Certificate, KeyPair, Lifetimes,
    files::{private_dir, read_small, write_private},
    lifetimes,
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::{pem::parse_x509_pem, prelude::FromDer};

/// No key or certificate of ours is larger.
const MAX_FILE: u64 = 64 << 10;

/// What ends so is a server's name in TLS, and no node's.
const RESERVED: &str = ".sampan";

/// Why there is no authority, or it cannot issue.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is there, but {} is not: restore it, or move the first away as well to make a new authority (all \
             contexts and nodes must then be made anew)", present.display(), missing.display())]
    Half { present: PathBuf, missing: PathBuf },
    #[error("{} cannot be used ({reason}): restore it, or move it and its pair away to make a new authority (all contexts \
             and nodes must then be made anew)", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("a certificate for {subject} cannot be issued: {reason}")]
    Issue { subject: String, reason: String },
}

/// The authority of one cluster.
pub struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    ca_pem: String,
    certificate: Certificate,
    lifetimes: Lifetimes,
}

/// What a certificate is to say.
struct Leaf {
    user: String,
    /// Empty: none.
    group: String,
    names: BTreeSet<String>,
    usages: &'static [ExtendedKeyUsagePurpose],
    life: Duration,
}

const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
const BOTH: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];

impl Authority {
    /// The same, whose certificates live as long as this says.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Lifetimes) -> Self {
        Authority { lifetimes, ..self }
    }

    /// The authority's own certificate, read.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority kept in a directory; made if there is none.
    ///
    /// # Errors
    /// I/O, or files that are damaged or do not belong together.
    pub fn open(dir: &Path, cluster: &str) -> Result<Self, PkiError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| PkiError::Io { path, source }
        };
        private_dir(dir).map_err(io(dir))?;
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let cert = read_small(&cert_path, MAX_FILE).map_err(io(&cert_path))?;
        let key = read_small(&key_path, MAX_FILE).map_err(io(&key_path))?;
        match (cert, key) {
            (Some(cert), Some(key)) => Self::load(cert, &key, &cert_path, &key_path),
            (Some(_), None) => Err(PkiError::Half {
                present: cert_path,
                missing: key_path,
            }),
            // The key is written first: alone it has certified nothing yet.
            (None, _) => {
                let authority = Self::make(cluster)?;
                write_private(&key_path, authority.issuer.key().serialize_pem().as_bytes()).map_err(io(&key_path))?;
                write_private(&cert_path, authority.ca_pem.as_bytes()).map_err(io(&cert_path))?;
                Ok(authority)
            }
        }
    }

    /// A new authority, kept nowhere.
    ///
    /// # Errors
    /// If this machine gives no randomness.
    pub fn make(cluster: &str) -> Result<Self, PkiError> {
        let subject = format!("sampan cluster {cluster}");
        let failed = |error: rcgen::Error| PkiError::Issue {
            subject: subject.clone(),
            reason: error.to_string(),
        };
        let key = new_key().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, subject.clone());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        set_validity(&mut params, lifetimes::AUTHORITY, None);
        let ca_pem = params.self_signed(&key).map_err(failed)?.pem();
        let certificate = Certificate::of_pem(&ca_pem).map_err(|error| PkiError::Issue {
            subject: subject.clone(),
            reason: error.to_string(),
        })?;
        Ok(Authority {
            issuer: Issuer::new(params, key),
            ca_pem,
            certificate,
            lifetimes: Lifetimes::default(),
        })
    }

    fn load(ca_pem: String, key: &str, cert_path: &Path, key_path: &Path) -> Result<Self, PkiError> {
        let damaged = |path: &Path, reason: &dyn std::fmt::Display| PkiError::Damaged {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let key = rcgen::KeyPair::from_pem(key).map_err(|error| damaged(key_path, &error))?;
        let (_, pem) = parse_x509_pem(ca_pem.as_bytes()).map_err(|error| damaged(cert_path, &error))?;
        let certificate = pem.parse_x509().map_err(|error| damaged(cert_path, &error))?;
        let (_, own) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&key.subject_public_key_info())
            .map_err(|error| damaged(key_path, &error))
            .map(|(rest, info)| (rest.len(), info.subject_public_key.data.to_vec()))?;
        if certificate.public_key().subject_public_key.data[..] != own[..] {
            return Err(damaged(
                key_path,
                &format_args!("it is not the key of {}", cert_path.display()),
            ));
        }
        if !certificate.validity().is_valid() {
            let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
            return Err(damaged(
                cert_path,
                &format_args!("it is valid from {from} to {until}, and not now"),
            ));
        }
        let certificate = Certificate::of_pem(&ca_pem).map_err(|error| damaged(cert_path, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(|error| damaged(cert_path, &error))?;
        Ok(Authority {
            issuer,
            ca_pem,
            certificate,
            lifetimes: Lifetimes::default(),
        })
    }

    /// The certificate that everybody trusts.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client's certificate: `common_name` is the user, `organisation` the group.
    ///
    /// # Errors
    /// If the names cannot be in a certificate.
    pub fn issue_client(&self, common_name: &str, organisation: &str) -> Result<KeyPair, PkiError> {
        self.issue(&self.client(common_name, organisation))
    }

    /// The certificate of the person who runs the cluster.
    ///
    /// # Errors
    /// As [`Authority::issue_client`].
    pub fn issue_admin(&self) -> Result<KeyPair, PkiError> {
        self.issue_client("admin", MASTERS)
    }

    /// An agent's certificate, as a client of the control plane and as the server of its node. It is good for the node's
    /// name, by which the control plane asks for it, and for the addresses.
    ///
    /// # Errors
    /// As [`Authority::issue_client`].
    pub fn issue_node(&self, name: &str, addresses: &[String]) -> Result<KeyPair, PkiError> {
        self.issue(&self.node(name, addresses)?)
    }

    /// A server's certificate: as a server good for all the names it is called by, and as a client of other servers and of
    /// nodes.
    ///
    /// # Errors
    /// As [`Authority::issue_client`].
    pub fn issue_server(&self, name: &str, names: &BTreeSet<String>) -> Result<KeyPair, PkiError> {
        let names = names
            .iter()
            .cloned()
            .chain([member_host(name), sampan_api::SERVERS_HOST.to_owned()])
            .collect();
        self.issue(&Leaf {
            user: format!("{SERVER_PREFIX}{name}"),
            group: MASTERS.to_owned(),
            names,
            usages: BOTH,
            life: self.lifetimes.server,
        })
    }

    /// A node's certificate for a key that this authority never sees: of a PKCS #10 request only the public key counts, and
    /// that whoever asks has the other half.
    ///
    /// # Errors
    /// If the request cannot be read, or its signature is wrong.
    pub fn sign_node(&self, name: &str, addresses: &[String], csr_pem: &str) -> Result<String, PkiError> {
        self.sign(&self.node(name, addresses)?, csr_pem)
    }

    /// As [`Authority::sign_node`], for a client.
    ///
    /// # Errors
    /// As [`Authority::sign_node`].
    pub fn sign_client(&self, who: &Identity, csr_pem: &str) -> Result<String, PkiError> {
        let group = match &who.groups[..] {
            [] => "",
            [group] => group,
            several => {
                return Err(PkiError::Issue {
                    subject: who.user.clone(),
                    reason: format!(
                        "it is in {} groups, and certificates issued here name one",
                        several.len()
                    ),
                });
            }
        };
        self.sign(&self.client(&who.user, group), csr_pem)
    }

    /// The key itself, for another server of the cluster and nobody else.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The digest by which a token names this authority.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.ca_pem)
    }

    /// Takes over the authority of a cluster that is joined: the files that [`Authority::open`] reads.
    ///
    /// # Errors
    /// I/O, or files that do not belong together.
    pub fn adopt(dir: &Path, ca_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let authority = Self::load(ca_pem.to_owned(), key_pem, &cert_path, &key_path)?;
        private_dir(dir).map_err(|source| PkiError::Io {
            path: dir.to_owned(),
            source,
        })?;
        for (path, text) in [(&key_path, key_pem), (&cert_path, ca_pem)] {
            write_private(path, text.as_bytes()).map_err(|source| PkiError::Io {
                path: path.clone(),
                source,
            })?;
        }
        Ok(authority)
    }

    fn client(&self, user: &str, group: &str) -> Leaf {
        Leaf {
            user: user.to_owned(),
            group: group.to_owned(),
            names: BTreeSet::new(),
            usages: CLIENT,
            life: self.lifetimes.client,
        }
    }

    fn node(&self, name: &str, addresses: &[String]) -> Result<Leaf, PkiError> {
        if name.ends_with(RESERVED) {
            return Err(PkiError::Issue {
                subject: format!("node \"{name}\""),
                reason: format!("names that end in \"{RESERVED}\" are those of servers: choose another --name"),
            });
        }
        Ok(Leaf {
            user: format!("{NODE_PREFIX}{name}"),
            group: NODES.to_owned(),
            names: addresses.iter().cloned().chain([name.to_owned()]).collect(),
            usages: BOTH,
            life: self.lifetimes.node,
        })
    }

    fn issue(&self, leaf: &Leaf) -> Result<KeyPair, PkiError> {
        let issue = || {
            let key = new_key()?;
            let certificate = self.params(leaf)?.signed_by(&key, &self.issuer)?;
            Ok(KeyPair {
                cert_pem: certificate.pem(),
                key_pem: key.serialize_pem(),
            })
        };
        issue().map_err(|error: rcgen::Error| leaf.failed(&error))
    }

    fn sign(&self, leaf: &Leaf, csr_pem: &str) -> Result<String, PkiError> {
        let sign = || {
            let mut request = CertificateSigningRequestParams::from_pem(csr_pem)?;
            request.params = self.params(leaf)?;
            Ok(request.signed_by(&self.issuer)?.pem())
        };
        sign().map_err(|error: rcgen::Error| leaf.failed(&error))
    }

    /// What all certificates but the authority's have in common.
    fn params(&self, leaf: &Leaf) -> Result<CertificateParams, rcgen::Error> {
        let names: Vec<String> = leaf.names.iter().cloned().collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        if !leaf.group.is_empty() {
            params
                .distinguished_name
                .push(DnType::OrganizationName, leaf.group.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, leaf.user.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = leaf.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, leaf.life, Some(&self.certificate));
        Ok(params)
    }
}

impl Leaf {
    fn failed(&self, error: &rcgen::Error) -> PkiError {
        PkiError::Issue {
            subject: self.user.clone(),
            reason: error.to_string(),
        }
    }
}

/// The SHA-256 of a certificate, in hexadecimal digits; empty if it is none.
pub fn fingerprint(cert_pem: &str) -> String {
    let Ok((_, pem)) = parse_x509_pem(cert_pem.as_bytes()) else {
        return String::new();
    };
    let digest = sampan_state::digest_of(&pem.contents);
    digest.trim_start_matches("sha256:").to_owned()
}

/// A certificate in PEM.
pub fn pem_of(der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn new_key() -> Result<rcgen::KeyPair, rcgen::Error> {
    rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// From a little before now; no longer than its issuer's own.
fn set_validity(params: &mut CertificateParams, life: Duration, issuer: Option<&Certificate>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let end = issuer.map_or(Duration::MAX, |issuer| issuer.not_after.as_duration().unsigned_abs());
    params.not_before = epoch + now.saturating_sub(lifetimes::BACKDATED);
    params.not_after = epoch + (now + life).min(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Identity;
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    fn identity(pair: &KeyPair) -> Identity {
        Identity::of_certificate(&CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn is_made_once_and_issues_identities() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path(), "one").unwrap();
        let again = Authority::open(dir.path(), "one").unwrap();
        assert_eq!(first.ca_pem(), again.ca_pem());
        let node = identity(&again.issue_node("n1", &["10.0.0.1".to_owned()]).unwrap());
        assert_eq!(node.node(), Some("n1"));
        let admin = identity(&again.issue_admin().unwrap());
        assert_eq!((admin.user.as_str(), admin.is_in(MASTERS)), ("admin", true));
    }

    #[test]
    fn certificates_live_as_long_as_they_are_to() {
        let authority = Authority::make("one").unwrap();
        let life = |pair: &KeyPair| {
            let certificate = Certificate::of_pem(&pair.cert_pem).unwrap();
            certificate.issued().duration_until(certificate.not_after).as_hours()
        };
        let names = BTreeSet::new();
        assert_eq!(life(&authority.issue_server("s1", &names).unwrap()), 90 * 24);
        assert_eq!(life(&authority.issue_node("n1", &[]).unwrap()), 90 * 24);
        assert_eq!(life(&authority.issue_admin().unwrap()), 365 * 24);
        let hours = Lifetimes {
            client: Duration::from_secs(2 * 60 * 60),
            node: lifetimes::AUTHORITY * 2,
            ..Lifetimes::default()
        };
        let authority = authority.with_lifetimes(hours);
        assert_eq!(life(&authority.issue_admin().unwrap()), 2);
        let node = Certificate::of_pem(&authority.issue_node("n1", &[]).unwrap().cert_pem).unwrap();
        assert_eq!(
            node.not_after,
            authority.certificate().not_after,
            "no longer than the authority"
        );
    }

    #[test]
    fn a_signed_certificate_is_for_the_key_and_the_identity_alone() {
        let authority = Authority::make("one").unwrap();
        let request = sampan_tls::Request::new().unwrap();
        let who = Identity {
            user: "anna".to_owned(),
            groups: vec!["devs".to_owned()],
        };
        let cert_pem = authority.sign_client(&who, &request.csr_pem).unwrap();
        let pair = request.answered(cert_pem);
        assert_eq!(identity(&pair), who);
        sampan_tls::Credentials::new(authority.ca_pem(), &pair).unwrap();
        assert!(authority.sign_client(&who, "rubbish").is_err());
        let more = Identity {
            groups: vec!["devs".to_owned(), "ops".to_owned()],
            ..who
        };
        let request = sampan_tls::Request::new().unwrap().csr_pem;
        let error = authority.sign_client(&more, &request).err().unwrap().to_string();
        assert!(error.contains("2 groups"), "no group is lost in silence: {error}");
    }

    #[test]
    fn no_node_has_a_servers_name() {
        let authority = Authority::make("one").unwrap();
        for name in [sampan_api::SERVERS_HOST, "s1.member.sampan"] {
            let error = authority.issue_node(name, &[]).err().unwrap().to_string();
            assert!(error.contains("are those of servers"), "{error}");
        }
    }

    #[test]
    fn half_or_mixed_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("ca.key");
        Authority::open(dir.path(), "one").unwrap();
        let other = tempfile::tempdir().unwrap();
        Authority::open(other.path(), "two").unwrap();
        std::fs::copy(other.path().join("ca.key"), &key).unwrap();
        let error = Authority::open(dir.path(), "one").err().unwrap();
        assert!(
            matches!(&error, PkiError::Damaged { path, .. } if *path == key),
            "{error}"
        );
        std::fs::write(&key, "rubbish").unwrap();
        assert!(matches!(
            Authority::open(dir.path(), "one"),
            Err(PkiError::Damaged { .. })
        ));
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(Authority::open(dir.path(), "one"), Err(PkiError::Half { .. })));
    }
}
