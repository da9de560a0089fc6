//! Image names, read as Docker reads them: the default registry, `library/` and `:latest` are filled in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use oci_spec::distribution::{ParseError, Reference as Parsed};

use crate::digest::Digest;
use crate::error::{ImageError, Result};

/// A name longer than this is refused unread.
const MAX_NAME: usize = 1024;

/// The name of an image: registry, repository, and a tag, a digest, or both.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference(Parsed);

impl Reference {
    /// Host and port as the user writes them.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// Host and port that answer for this registry; they differ for the default one.
    pub(crate) fn host(&self) -> &str {
        self.0.resolve_registry()
    }

    /// The path below the registry, `library/nginx`.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// Registry and repository without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry(), self.repository())
    }

    /// The tag; none if only a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest().and_then(|text| text.parse().ok())
    }

    /// As a user would write it: without the default registry and its `library/`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        match default_registry().and_then(|registry| whole.strip_prefix(&format!("{registry}/")).map(str::to_owned)) {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(&rest).to_owned(),
            None => whole,
        }
    }

    /// The registry is on this host, where plain HTTP gives nothing away.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// What a bare name is completed with; the parser knows.
fn default_registry() -> Option<String> {
    "x".parse::<Parsed>().ok().map(|parsed| parsed.registry().to_owned())
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(name: &str) -> Result<Self> {
        let invalid = |reason: &str| ImageError::InvalidReference {
            name: name.chars().take(MAX_NAME).collect(),
            reason: reason.to_owned(),
        };
        if name.len() > MAX_NAME {
            return Err(invalid("it is longer than 1024 characters"));
        }
        if name.trim() != name {
            return Err(invalid("it begins or ends with white space"));
        }
        if name.contains("://") {
            return Err(invalid("write it without a scheme, as registry/repository:tag"));
        }
        let parsed = Parsed::try_from(name).map_err(|error| invalid(&reason(name, &error)))?;
        if parsed.digest().is_some_and(|digest| digest.parse::<Digest>().is_err()) {
            return Err(invalid(
                "its digest must be sha256: and 64 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(parsed))
    }
}

/// The parser says only "invalid format" for most mistakes; this finds the likely one.
fn reason(name: &str, error: &ParseError) -> String {
    let (rest, digest) = name
        .split_once('@')
        .map_or((name, None), |(rest, digest)| (rest, Some(digest)));
    if digest.is_some_and(|digest| digest.parse::<Digest>().is_err()) {
        return "its digest must be sha256: and 64 lower-case hexadecimal digits".to_owned();
    }
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let repository = last.split_once(':').map_or(last, |(repository, _)| repository);
    match error {
        ParseError::NameEmpty => "it is empty".to_owned(),
        _ if rest.is_empty() || repository.is_empty() => "the repository is empty".to_owned(),
        _ if rest.chars().any(char::is_whitespace) => "it contains white space".to_owned(),
        _ if repository.chars().any(|c| c.is_ascii_uppercase()) => "repository names are lower case".to_owned(),
        _ if last.ends_with(':') => "the tag after ':' is empty".to_owned(),
        _ if last.contains(':') => {
            "a tag is up to 128 letters, digits, '_', '.' and '-', and begins with a letter, digit or '_'".to_owned()
        }
        ParseError::ReferenceInvalidFormat => "expected [registry[:port]/]repository[:tag][@sha256:digest]".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Reference {
        name.parse().unwrap()
    }

    #[test]
    fn completes_as_docker_does() {
        let nginx = parse("nginx");
        assert_eq!(
            (nginx.repository(), nginx.tag(), nginx.digest()),
            ("library/nginx", Some("latest"), None)
        );
        assert_eq!(nginx.registry(), default_registry().unwrap());
        assert_eq!(nginx.familiar(), "nginx:latest");
        assert_eq!(parse("grafana/loki:3").familiar(), "grafana/loki:3");
        assert_eq!(parse("registry.example/app").to_string(), "registry.example/app:latest");
        assert_eq!(parse("localhost/app").registry(), "localhost");
    }

    #[test]
    fn port_tag_and_digest() {
        let digest = Digest::of(b"x");
        let full = parse(&format!("localhost:5000/a/b:tag@{digest}"));
        assert_eq!(full.registry(), "localhost:5000");
        assert_eq!(
            (full.repository(), full.tag(), full.digest()),
            ("a/b", Some("tag"), Some(digest))
        );
        assert!(full.is_loopback() && parse("127.0.0.1:5000/a").is_loopback());
        assert!(!parse("nginx").is_loopback() && !parse("127.example/a").is_loopback());
        let bare = parse(&format!("nginx@{digest}"));
        assert_eq!((bare.tag(), bare.digest()), (None, Some(digest)));
    }

    #[test]
    fn says_what_is_wrong() {
        for (name, expected) in [
            ("", "empty"),
            ("Nginx", "lower case"),
            ("nginx:", "tag after ':' is empty"),
            ("nginx:a b", "white space"),
            ("nginx:-x", "a tag is"),
            ("https://registry.example/nginx", "without a scheme"),
            ("nginx@sha256:12", "its digest must"),
            (":latest", "repository is empty"),
            (" nginx", "white space"),
            ("a//b", "expected [registry"),
        ] {
            let error = name.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(expected), "{name:?}: {error}");
        }
    }
}
