//! What a certificate says: of whom it is, for what it is good, and when it ends and is renewed.
use crate::lifetimes::{BACKDATED, renewed_after};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, time::Duration};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Name},
};

/// A certificate larger than this is nobody's here.
const MAX_CERTIFICATE: usize = 16 << 10;
const MAX_NAMES: usize = 256;

/// A certificate that is none, or that nobody here would issue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read: {0}")]
pub struct Unreadable(pub String);

/// Whether a certificate is good at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    NotYet,
    Good,
    Over,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The common names of its subject: one, the user, in certificates of ours.
    pub user: String,
    /// The organisations of its subject: the user's groups.
    pub groups: Vec<String>,
    /// The hosts and addresses that it is good for, as a server's.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// The common name of who issued it.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
    /// `ECDSA P-256`
    pub key: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    der: Vec<u8>,
}

impl Certificate {
    /// Reads one in DER. Whose signature it bears is not looked at.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_der(der: &[u8]) -> Result<Self, Unreadable> {
        if der.len() > MAX_CERTIFICATE {
            let bytes = der.len();
            return Err(Unreadable(format!(
                "it has {bytes} bytes, and {MAX_CERTIFICATE} are the limit"
            )));
        }
        let unreadable = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| unreadable(&error))
        };
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        for name in alternatives
            .iter()
            .flat_map(|found| &found.value.general_names)
            .take(MAX_NAMES)
        {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let serial: Vec<String> = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Certificate {
            user: common_names(parsed.subject()),
            groups: texts(parsed.subject().iter_organization()),
            names,
            addresses,
            issuer: common_names(parsed.issuer()),
            serial: serial.join(""),
            fingerprint: format!("{:x}", Sha256::digest(der)),
            key: key_kind(parsed.public_key()),
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
            der: der.to_owned(),
        })
    }

    /// Reads the first one of a PEM text.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_pem(pem: &str) -> Result<Self, Unreadable> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| Unreadable(error.to_string()))?;
        Certificate::of_der(&der)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it was issued: certificates are good from a little before.
    pub fn issued(&self) -> Timestamp {
        let issued = self.not_before.saturating_add(BACKDATED).unwrap_or(self.not_before);
        issued.min(self.not_after)
    }

    /// When it is to be renewed. The certificate alone decides, so that everybody who sees it knows.
    pub fn renews(&self) -> Timestamp {
        let life = Duration::try_from(self.issued().duration_until(self.not_after)).unwrap_or_default();
        // The fingerprint is as good as chance, and the same after a restart.
        let chance = u16::from_str_radix(self.fingerprint.get(..4).unwrap_or_default(), 16).unwrap_or_default();
        let after = renewed_after(life, f64::from(chance) / f64::from(u16::MAX));
        self.issued().saturating_add(after).unwrap_or(self.not_after)
    }

    pub fn validity(&self, now: Timestamp) -> Validity {
        match now {
            now if now < self.not_before => Validity::NotYet,
            now if now > self.not_after => Validity::Over,
            _ => Validity::Good,
        }
    }

    /// Whether it is time to renew it. One that is not good yet was issued by a clock that was wrong.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renews() || self.validity(now) == Validity::NotYet
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Vec<String> {
    let texts = attributes.filter_map(|attribute| attribute.as_str().ok());
    texts.map(str::to_owned).collect()
}

fn common_names(name: &X509Name<'_>) -> String {
    texts(name.iter_common_name()).join(", ")
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    match key.parsed() {
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        _ => match key.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn made(from: Timestamp, until: Timestamp) -> Certificate {
        let certificate = Certificate {
            user: "admin".into(),
            groups: Vec::new(),
            names: Vec::new(),
            addresses: Vec::new(),
            issuer: String::new(),
            serial: String::new(),
            fingerprint: "8000".into(),
            key: String::new(),
            not_before: from,
            not_after: until,
            der: Vec::new(),
        };
        assert!(certificate.renews() <= until);
        certificate
    }

    #[test]
    fn it_is_due_after_two_thirds_of_its_life_by_the_wall_clock() {
        let issued: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let hours = |hours: i64| issued + hours.hours();
        let certificate = made(issued - BACKDATED, hours(90));
        assert_eq!(certificate.issued(), issued);
        assert_eq!(
            certificate.renews().as_second(),
            (hours(60) + 270.minutes()).as_second()
        );
        assert!(!certificate.is_due(hours(60)) && certificate.is_due(hours(65)));
        // A machine that slept past the end, and a clock that was set back before the beginning.
        assert!(certificate.is_due(hours(2000)));
        assert_eq!(certificate.validity(hours(2000)), Validity::Over);
        assert_eq!(
            certificate.validity(hours(-2)),
            Validity::Good,
            "clocks may be an hour off, either way"
        );
        assert_eq!(certificate.validity(hours(-25)), Validity::NotYet);
        assert!(certificate.is_due(hours(-25)));
    }

    #[test]
    fn one_that_is_shorter_than_it_is_backdated_is_due_at_its_end() {
        let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(made(from, from + 1.minute()).renews(), from + 1.minute());
    }

    #[test]
    fn what_it_says_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["n1".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:node:n1");
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "system:nodes");
        let pem = params.self_signed(&key).unwrap().pem();
        let read = Certificate::of_pem(&pem).unwrap();
        assert_eq!(
            (read.user.as_str(), read.issuer.as_str()),
            ("system:node:n1", "system:node:n1")
        );
        assert_eq!(
            (read.groups, read.names),
            (vec!["system:nodes".to_owned()], vec!["n1".to_owned()])
        );
        assert_eq!(read.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!((read.key.as_str(), read.fingerprint.len()), ("ECDSA P-256", 64));
        assert!(Certificate::of_pem("rubbish").is_err());
        assert!(Certificate::of_der(&[0x30; 20_000]).is_err());
    }
}
