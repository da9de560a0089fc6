//! What a registry asks for when it refuses (`WWW-Authenticate`), and what it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

/// A way to authenticate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The best of those offered.
    pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best = None;
        for header in headers {
            match Self::parse(header) {
                Some(bearer @ Self::Bearer { .. }) => return Some(bearer),
                found => best = best.or(found),
            }
        }
        best
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        Some(Self::Bearer {
            realm: find("realm")?,
            service: find("service"),
        })
    }
}

/// `a="b,c",d=e`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key.trim().to_owned(), value.to_owned()));
        rest = after.trim_start_matches([' ', ',']);
    }
    found
}

/// None if it cannot stand in a header.
pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// None if it cannot stand in a header.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The token in a token service's answer.
pub(super) fn token_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    answer.token.or(answer.access_token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_registries_send() {
        let header =
            r#"Bearer realm="https://auth.example/token?x=1",service="registry.example",scope="a:b:pull,push""#;
        let Some(Challenge::Bearer { realm, service }) = Challenge::choose(["Basic realm=\"x\"", header].into_iter())
        else {
            panic!("no bearer challenge");
        };
        assert_eq!(
            (realm.as_str(), service.as_deref()),
            ("https://auth.example/token?x=1", Some("registry.example"))
        );
        assert_eq!(
            Challenge::choose(["Basic realm=\"x\""].into_iter()),
            Some(Challenge::Basic)
        );
        for nonsense in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm",
            "Bearer =\"",
            "Bearer service=x",
        ] {
            assert_eq!(Challenge::choose([nonsense].into_iter()), None, "{nonsense}");
        }
    }

    #[test]
    fn hostile_tokens_are_no_headers() {
        assert!(bearer("a\r\nX: y").is_none());
        assert_eq!(token_of(br#"{"access_token":"t"}"#).as_deref(), Some("t"));
        assert_eq!(token_of(b"{}"), None);
    }
}
