//! What a request is for. Whatever could be understood in two ways, by the proxy in one and by a backend in another, is
//! refused.
use http::{HeaderMap, Method, Request, Uri, header, uri::Authority};
use std::str::FromStr;

/// The host and the path of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it is looked for: in lower case, without port and without a dot at its end; empty for none.
    pub host: String,
    /// As it was written; none if it was not.
    pub authority: Option<Authority>,
}

/// Reads what a request is for. `https` says how it came.
///
/// # Errors
/// Why it is refused.
pub fn read<B>(request: &Request<B>, https: bool) -> Result<Asked, &'static str> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err("CONNECT is not served");
    }
    if !uri.path().starts_with('/') {
        return Err("the target of the request is no path");
    }
    if has_dot_segments(uri.path()) {
        return Err("the path has segments of dots");
    }
    let authority = authority(uri, request.headers(), https)?;
    let host = match &authority {
        Some(authority) => name(authority)?,
        None if request.version() == http::Version::HTTP_10 => String::new(),
        None if request.headers().contains_key(header::HOST) => String::new(),
        None => return Err("the request names no host"),
    };
    Ok(Asked { host, authority })
}

/// Whom a request is for, by its target and its header `Host`, which must not differ (RFC 9112, 3.2).
fn authority(uri: &Uri, headers: &HeaderMap, https: bool) -> Result<Option<Authority>, &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("the request names its host twice");
    }
    let host = match host.map(|value| value.to_str()) {
        None => None,
        Some(Ok("")) => None,
        Some(Ok(text)) => Some(Authority::from_str(text).map_err(|_| "the header Host names no host")?),
        Some(Err(_)) => return Err("the header Host names no host"),
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    match (uri.authority(), host) {
        (Some(target), Some(host)) => {
            if !target.host().eq_ignore_ascii_case(host.host()) || port(target) != port(&host) {
                return Err("the target of the request and its header Host name two hosts");
            }
            Ok(Some(target.clone()))
        }
        // Written, and empty: a target says more than that.
        (Some(_), None) if headers.contains_key(header::HOST) => {
            Err("the target of the request and its header Host name two hosts")
        }
        (Some(target), None) => Ok(Some(target.clone())),
        (None, host) => Ok(host),
    }
}

/// The name that is looked for.
fn name(authority: &Authority) -> Result<String, &'static str> {
    let host = authority.host();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_literal = host.starts_with('[') && host.ends_with(']');
    if authority.as_str().contains('@') || host.is_empty() || !(is_literal || host.bytes().all(is_plain)) {
        return Err("the host of the request is none");
    }
    let lower = host.to_ascii_lowercase();
    Ok(lower.strip_suffix('.').unwrap_or(&lower).to_owned())
}

/// Whether a path has segments `.` or `..`, however they are written: a backend that resolves them would serve another path
/// than the one that was matched.
fn has_dot_segments(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    if !lower.contains('.') && !lower.contains("%2e") {
        return false;
    }
    let plain = lower
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/")
        .replace('\\', "/");
    plain.split('/').any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, hosts: &[&str]) -> Request<()> {
        let mut builder = Request::get(target);
        for host in hosts {
            builder = builder.header(header::HOST, *host);
        }
        builder.body(()).unwrap()
    }

    fn host(target: &str, hosts: &[&str]) -> Result<String, &'static str> {
        read(&request(target, hosts), false).map(|asked| asked.host)
    }

    #[test]
    fn a_host_is_found_in_one_way() {
        for (target, hosts, expected) in [
            ("/", &["Shop.Example"][..], "shop.example"),
            ("/", &["shop.example:8080"], "shop.example"),
            ("/", &["shop.example."], "shop.example"),
            ("/", &["[fd00::1]:80"], "[fd00::1]"),
            ("http://shop.example/x", &[], "shop.example"),
            ("http://shop.example/x", &["SHOP.example:80"], "shop.example"),
            ("/", &[""], ""),
        ] {
            assert_eq!(host(target, hosts), Ok(expected.to_owned()), "{target} {hosts:?}");
        }
    }

    #[test]
    fn what_names_two_hosts_or_none_is_refused() {
        for (target, hosts) in [
            ("/", &[][..]),
            ("/", &["a", "b"]),
            ("/", &["a", "a"]),
            ("/", &["a b"]),
            ("/", &["a,b"]),
            ("/", &["user@a"]),
            ("/", &["a/b"]),
            ("http://a/", &["b"]),
            ("http://a/", &["a:81"]),
            ("http://a/", &[""]),
            ("http://user@a/", &[]),
        ] {
            assert!(host(target, hosts).is_err(), "{target} {hosts:?}");
        }
    }

    #[test]
    fn paths_are_what_they_seem() {
        for bad in [
            "/a/../b",
            "/..",
            "/./a",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..%2fb",
            "/a/%2e%2e%5cb",
            "/a/..\\b",
        ] {
            assert!(host(bad, &["a"]).is_err(), "{bad}");
        }
        for good in ["/", "/a.b/..c", "/...", "/a//b", "/%2ea", "/a?b=/../c"] {
            assert!(host(good, &["a"]).is_ok(), "{good}");
        }
        assert!(read(&Request::options("*").header("host", "a").body(()).unwrap(), false).is_err());
        assert!(read(&Request::connect("a:80").body(()).unwrap(), false).is_err());
    }
}
