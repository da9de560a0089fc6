//! What heads lose and gain on their way: what is said from hop to hop ends here, and who asked is said by us alone.
use super::asked::Asked;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use std::net::IpAddr;

/// What is meant for the next hop alone (RFC 9110, 7.6.1). `te` and `trailer` are seen to apart.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Of requests also these: our own listener has seen to them, or they would be taken for another's.
const OF_REQUESTS: [HeaderName; 4] = [
    header::PROXY_AUTHORIZATION,
    header::EXPECT,
    header::TE,
    HeaderName::from_static("http2-settings"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a request asks to be upgraded to. HTTP/2 is not among it: what is asked on such a connection is matched by nobody.
pub fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let wanted = headers.get(header::UPGRADE)?;
    let is_h2c = |token: &str| token.trim().to_ascii_lowercase().starts_with("h2c");
    let is_plain = wanted.to_str().is_ok_and(|text| !text.split(',').any(is_h2c));
    let is_one = headers.get_all(header::UPGRADE).iter().count() == 1;
    (version == Version::HTTP_11 && is_plain && is_one && tokens(headers).any(|token| token == "upgrade"))
        .then(|| wanted.clone())
}

/// What `Connection` names, in lower case.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CONNECTION).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',').map(|token| token.trim().to_ascii_lowercase()))
}

fn end_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = tokens(headers).collect();
    for name in named {
        // A length is no matter of hops, whoever says so.
        if name != "content-length" && name != "host" {
            headers.remove(name);
        }
    }
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
}

fn set_upgrade(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.clone());
    }
}

/// Whether a header says who asked: such come from us, or not at all. To some servers `_` is as good as `-`.
fn says_who(name: &str) -> bool {
    let plain = name.replace('_', "-");
    plain.starts_with("x-forwarded-") || plain == "forwarded" || plain == "x-real-ip"
}

/// Makes the head of a request that of the one to a backend.
pub fn request(headers: &mut HeaderMap, asked: &Asked, from: IpAddr, https: bool, upgrade: Option<&HeaderValue>) {
    let takes_trailers = headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|text| {
            text.split(',')
                .any(|token| token.trim().eq_ignore_ascii_case("trailers"))
        });
    end_hop(headers);
    OF_REQUESTS.iter().for_each(|name| drop(headers.remove(name)));
    let theirs: Vec<HeaderName> = headers.keys().filter(|name| says_who(name.as_str())).cloned().collect();
    theirs.iter().for_each(|name| drop(headers.remove(name)));
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Ok(from) = HeaderValue::try_from(from.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, from);
    }
    let proto = if https { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = host_value(asked) {
        headers.insert(FORWARDED_HOST, host);
    }
    set_upgrade(headers, upgrade);
}

/// The host as it was written.
pub fn host_value(asked: &Asked) -> Option<HeaderValue> {
    HeaderValue::try_from(asked.authority.as_ref()?.as_str()).ok()
}

/// HTTP/2 may say a cookie in pieces, HTTP/1.1 must not (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes the head of a backend's answer that of ours.
pub fn response(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    end_hop(headers);
    set_upgrade(headers, upgrade);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn sent(pairs: &[(&'static str, &'static str)]) -> Vec<String> {
        sent_by("192.0.2.7", pairs)
    }

    fn sent_by(from: &str, pairs: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = headers(pairs);
        let asked = Asked {
            host: "a.example".to_owned(),
            authority: Some("A.example:8080".parse().unwrap()),
        };
        let upgrade = upgrade(&headers, Version::HTTP_11);
        request(&mut headers, &asked, from.parse().unwrap(), true, upgrade.as_ref());
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    /// What every request has.
    const OURS: [&str; 3] = [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: A.example:8080",
        "x-forwarded-proto: https",
    ];

    #[test]
    fn who_asked_is_said_by_us_alone() {
        let said = sent(&[
            ("forwarded", "for=10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_proto", "http"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "10.0.0.1"),
        ]);
        assert_eq!(said, OURS);
        // Nor can it be taken away again.
        assert_eq!(sent(&[("connection", "x-forwarded-for, close")]), OURS);
    }

    /// Without brackets, and without what only the socket knows.
    #[test]
    fn addresses_are_said_as_they_are_written_alone() {
        for (from, said) in [
            ("2001:db8:0:0::7", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("fe80::1", "fe80::1"),
        ] {
            assert_eq!(sent_by(from, &[])[0], format!("x-forwarded-for: {said}"));
        }
    }

    #[test]
    fn hops_end_here() {
        let said = sent(&[
            ("connection", "keep-alive, X-Own, content-length"),
            ("x-own", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "secret"),
            ("te", "gzip, Trailers"),
            ("accept", "text/html"),
            ("expect", "100-continue"),
        ]);
        let others = ["accept: text/html", "content-length: 3", "te: trailers"];
        assert_eq!(said, [&others[..], &OURS[..]].concat());
    }

    #[test]
    fn upgrades_go_on_but_not_to_http2() {
        let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let said = sent(&upgrade);
        assert_eq!(said[..2], ["connection: upgrade", "upgrade: websocket"]);
        let settings = ("http2-settings", "AAMAAABkAAQAAP__");
        assert_eq!(
            sent(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), settings]),
            OURS
        );
        assert_eq!(sent(&[("connection", "Upgrade"), ("upgrade", "websocket, H2C")]), OURS);
        assert_eq!(sent(&[("upgrade", "websocket")]), OURS, "nobody is asked");
    }

    #[test]
    fn cookies_are_one() {
        let mut pieces = HeaderMap::new();
        pieces.append(header::COOKIE, HeaderValue::from_static("a=1"));
        pieces.append(header::COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut pieces);
        assert_eq!(pieces, headers(&[("cookie", "a=1; b=2")]));
    }
}
