//! Asking a container whether it lives, serves or has started.
use crate::reconcile::{Probe, port_number};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// What a server may answer before it is enough.
const MAX_BODY: usize = 10 << 10;

/// What a probe wants of the runtime; the other kinds are asked over the network from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Over the network; done by [`ask`].
    Network,
    /// Run this in the container.
    Exec(Vec<String>),
    /// Nothing that can be done here, and why.
    Unsupported(&'static str),
}

/// Which kind of probe it is.
pub fn kind(probe: &Probe) -> Ask {
    let spec = &probe.spec;
    if let Some(exec) = &spec.exec {
        return Ask::Exec(exec.command.clone().unwrap_or_default());
    }
    if spec.grpc.is_some() {
        return Ask::Unsupported("grpc probes are not supported: use tcpSocket, httpGet or exec");
    }
    match &spec.http_get {
        Some(get) if get.scheme.as_deref() == Some("HTTPS") => {
            Ask::Unsupported("httpGet probes with scheme HTTPS are not supported: use tcpSocket, HTTP or exec")
        }
        Some(_) => Ask::Network,
        None if spec.tcp_socket.is_some() => Ask::Network,
        None => Ask::Unsupported("the probe says nothing to ask"),
    }
}

/// Asks over the network, within the probe's timeout.
///
/// # Errors
/// Why it failed, in Kubernetes' words.
pub async fn ask(probe: &Probe, container: &Container, address: &str) -> Result<(), String> {
    let work = async {
        if let Some(get) = &probe.spec.http_get {
            return http_get(get, container, address).await;
        }
        let Some(tcp) = &probe.spec.tcp_socket else {
            return Err("the probe says nothing to ask".to_owned());
        };
        let port = port_number(&tcp.port, container).ok_or_else(|| no_port(&tcp.port))?;
        connect(host_of(tcp.host.as_deref(), address), port).await.map(drop)
    };
    let limit = Duration::from_millis(probe.timeout);
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}s", limit.as_secs())))
}

fn no_port(port: &impl std::fmt::Debug) -> String {
    format!("{port:?} is no port of the container: expected a number or the name of one of its ports")
}

/// Whom a probe asks: the host that it names, which may be an address of IPv6 with brackets or without, or the pod.
fn host_of<'a>(named: Option<&'a str>, address: &'a str) -> &'a str {
    let host = named.filter(|host| !host.is_empty()).unwrap_or(address);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// A host and a port as they are written in one.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {}: {error}", authority(host, port)))
}

async fn http_get(get: &HTTPGetAction, container: &Container, address: &str) -> Result<(), String> {
    let port = port_number(&get.port, container).ok_or_else(|| no_port(&get.port))?;
    let host = host_of(get.host.as_deref(), address);
    let authority = authority(host, port);
    let path = get.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let url = format!("http://{authority}{path}");
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
    let stream = connect(host, port).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let mut request = http::Request::get(&path);
    let named = |name: &str| {
        get.http_headers
            .iter()
            .flatten()
            .any(|header| header.name.eq_ignore_ascii_case(name))
    };
    if !named("host") {
        request = request.header("host", authority);
    }
    if !named("user-agent") {
        request = request.header("user-agent", "kube-probe/1.37");
    }
    for header in get.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| failed(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        // Read, so that a server that counts its answers sees one taken; what is too much is let be.
        let _ = Limited::new(response.into_body(), MAX_BODY).collect().await;
        if (200..400).contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
        }
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // The server closed: what it said before is there.
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Desired, ProbeKind};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn probe(spec: Value) -> (Probe, Container) {
        let container = json!({"name": "c", "readinessProbe": spec, "ports": [{"name": "web", "containerPort": 80}]});
        let pod = serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
        let desired = Desired::new(Arc::new(pod));
        (
            desired.containers[0].probe(ProbeKind::Readiness).unwrap().clone(),
            desired.container(0).unwrap().clone(),
        )
    }

    /// Answers one request with this; gives the port.
    async fn server(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..length]).starts_with("GET /healthz HTTP/1.1"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        port
    }

    async fn get(answer: &'static str) -> Result<(), String> {
        let port = server(answer).await;
        let (probe, container) = probe(json!({"httpGet": {"path": "healthz", "port": port}}));
        ask(&probe, &container, "127.0.0.1").await
    }

    #[tokio::test]
    async fn http_answers_are_judged() {
        assert_eq!(get("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await, Ok(()));
        assert_eq!(
            get("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await,
            Ok(())
        );
        let error = get("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
        assert_eq!(error, "HTTP probe failed with statuscode: 503");
        assert!(get("rubbish\r\n\r\n").await.is_err());
    }

    #[tokio::test]
    async fn silence_and_refusal_are_failures() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tcp, container) = probe(json!({"tcpSocket": {"port": port}}));
        assert_eq!(ask(&tcp, &container, "127.0.0.1").await, Ok(()));
        let (silent, container) = probe(json!({"httpGet": {"port": port}, "timeoutSeconds": 1}));
        assert_eq!(
            ask(&silent, &container, "127.0.0.1").await.unwrap_err(),
            "no answer within 1s"
        );
        drop(listener);
        let error = ask(&tcp, &container, "127.0.0.1").await.unwrap_err();
        assert!(error.starts_with(&format!("dial tcp 127.0.0.1:{port}: ")), "{error}");
    }

    /// With brackets as in an URL, or without as Kubernetes has it.
    #[tokio::test]
    async fn hosts_may_be_addresses_of_ipv6() {
        let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
            return eprintln!("SKIPPED: the loopback of this machine has no IPv6");
        };
        let port = listener.local_addr().unwrap().port();
        for (host, pod) in [("::1", "192.0.2.1"), ("[::1]", "192.0.2.1"), ("", "::1")] {
            let (tcp, container) = probe(json!({"tcpSocket": {"port": port, "host": host}}));
            assert_eq!(ask(&tcp, &container, pod).await, Ok(()), "{host}");
            drop(listener.accept().await.unwrap());
            let (get, container) = probe(json!({"httpGet": {"path": "healthz", "port": port, "host": host}}));
            let answer = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1024];
                let length = stream.read(&mut request).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            };
            let (asked, request) = tokio::join!(ask(&get, &container, pod), answer);
            assert_eq!(asked, Ok(()), "{host}");
            assert!(request.contains(&format!("\r\nhost: [::1]:{port}\r\n")), "{request}");
        }
        drop(listener);
        let (get, container) = probe(json!({"httpGet": {"port": port, "host": "[::1]"}}));
        let error = ask(&get, &container, "192.0.2.1").await.unwrap_err();
        let begins = format!("Get \"http://[::1]:{port}/\": dial tcp [::1]:{port}: ");
        assert!(error.starts_with(&begins), "{error}");
    }

    #[test]
    fn kinds_are_told_apart() {
        let of = |spec: Value| kind(&probe(spec).0);
        assert_eq!(
            of(json!({"exec": {"command": ["true"]}})),
            Ask::Exec(vec!["true".into()])
        );
        assert_eq!(of(json!({"httpGet": {"port": "web"}})), Ask::Network);
        assert!(matches!(
            of(json!({"httpGet": {"port": 1, "scheme": "HTTPS"}})),
            Ask::Unsupported(_)
        ));
        assert!(matches!(of(json!({"grpc": {"port": 1}})), Ask::Unsupported(_)));
        let (named, container) = probe(json!({"tcpSocket": {"port": "web"}}));
        assert_eq!(port_number(&named.spec.tcp_socket.unwrap().port, &container), Some(80));
    }
}
