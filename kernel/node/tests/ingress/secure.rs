//! HTTP over TLS: which certificate is shown, and which protocol spoken.
use crate::stage::{Backend, Client, Making, config, figure, full, secret, start};
use http::Request;
use http_body_util::BodyExt;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use sampan_node::ingress::Ingress;
use sampan_sandbox::ingress::Secret;
use sampan_tls::KeyPair;
use std::{collections::BTreeMap, io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

fn issue(names: &[&str]) -> KeyPair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    KeyPair {
        cert_pem: made.cert.pem(),
        key_pem: made.signing_key.serialize_pem(),
    }
}

/// A connection of somebody who asks for a name, and trusts one certificate alone.
async fn connect(ingress: &Ingress, name: &str, trusted: &KeyPair, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.cert_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(ingress.https_addresses()[0]).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn get(ingress: &Ingress, name: &str, trusted: &KeyPair) -> Result<(u16, String), String> {
    let stream = connect(ingress, name, trusted, &[])
        .await
        .map_err(|error| error.to_string())?;
    let mut client = Client::over(stream, false).await;
    client.get(name, "/").await.map_err(|error| error.to_string())
}

fn shown(pairs: &[(&str, &KeyPair)]) -> BTreeMap<Secret, KeyPair> {
    pairs
        .iter()
        .map(|(name, pair)| (secret(name), (*pair).clone()))
        .collect()
}

async fn stage() -> (Backend, Ingress) {
    let backend = Backend::named("web").await;
    let table = Making::default()
        .pool("web", &[(backend.address, 1)])
        .host("", &[("/", "web")])
        .certificate("shop.example", "shop")
        .certificate("one.shop.example", "shop")
        .certificate("*.shop.example", "wild")
        .done();
    let mut named: Vec<String> = table.secrets().map(|secret| secret.name.clone()).collect();
    named.sort();
    named.dedup();
    assert_eq!(named, ["shop", "wild"]);
    let ingress = start(config(), table);
    (backend, ingress)
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name() {
    let (_backend, ingress) = stage().await;
    let (shop, wild) = (issue(&["shop.example"]), issue(&["*.shop.example"]));
    assert!(get(&ingress, "shop.example", &shop).await.is_err(), "none is there yet");
    assert!(
        ingress
            .set_certificates(&shown(&[("shop", &shop), ("wild", &wild)]))
            .is_empty()
    );
    let (status, told) = get(&ingress, "shop.example", &shop).await.unwrap();
    assert_eq!(status, 200);
    assert!(told.contains("x-forwarded-proto: https"), "{told}");
    assert_eq!(get(&ingress, "two.shop.example", &wild).await.unwrap().0, 200);
    assert!(
        get(&ingress, "one.shop.example", &wild).await.is_err(),
        "the exact one comes first"
    );
    // A name that nothing is shown for: the handshake fails, with no certificate of somebody else.
    for name in ["shop.other", "a.b.shop.example", "example"] {
        let error = get(&ingress, name, &shop).await.unwrap_err();
        assert!(error.contains("alert"), "{name}: {error}");
    }
    assert!(figure(&ingress, "sampan_ingress_handshake_failures_total") >= 4);
    // For all others there may be one.
    let table = Making::default().certificate("", "shop").done();
    ingress.set_table(Arc::new(table));
    let error = get(&ingress, "shop.other", &shop).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(get(&ingress, "shop.example", &shop).await.unwrap().0, 404);
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_certificate_is_swapped_under_way() {
    let (_backend, ingress) = stage().await;
    let (old, new) = (issue(&["shop.example"]), issue(&["shop.example"]));
    ingress.set_certificates(&shown(&[("shop", &old)]));
    let stream = connect(&ingress, "shop.example", &old, &[]).await.unwrap();
    let mut before = Client::over(stream, false).await;
    assert_eq!(before.get("shop.example", "/").await.unwrap().0, 200);
    ingress.set_certificates(&shown(&[("shop", &new)]));
    assert_eq!(get(&ingress, "shop.example", &new).await.unwrap().0, 200);
    assert!(get(&ingress, "shop.example", &old).await.is_err());
    // What stands goes on.
    assert_eq!(before.get("shop.example", "/").await.unwrap().0, 200);
    // What cannot be shown replaces nothing, and is told of.
    for bad in [
        KeyPair {
            cert_pem: "rubbish".to_owned(),
            ..old.clone()
        },
        KeyPair {
            key_pem: String::new(),
            ..old.clone()
        },
        KeyPair {
            key_pem: old.key_pem.clone(),
            ..new.clone()
        },
    ] {
        let errors = ingress.set_certificates(&shown(&[("shop", &bad)]));
        assert_eq!(errors.len(), 1);
        let words = errors[0].to_string();
        assert!(
            words.starts_with("the certificate in the Secret default/shop cannot be shown: "),
            "{words}"
        );
        assert_eq!(get(&ingress, "shop.example", &new).await.unwrap().0, 200);
    }
    // What is gone is shown no more.
    ingress.set_certificates(&BTreeMap::new());
    assert!(get(&ingress, "shop.example", &new).await.is_err());
    assert_eq!(before.get("shop.example", "/").await.unwrap().0, 200);
    ingress.shutdown().await;
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_can() {
    let (backend, ingress) = stage().await;
    let shop = issue(&["shop.example"]);
    ingress.set_certificates(&shown(&[("shop", &shop)]));
    let alpn = |stream: &TlsStream<TcpStream>| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let old = connect(&ingress, "shop.example", &shop, &[b"http/1.1"]).await.unwrap();
    assert_eq!(alpn(&old).as_deref(), Some(&b"http/1.1"[..]));
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let stream = connect(&ingress, "shop.example", &shop, both).await.unwrap();
    assert_eq!(alpn(&stream).as_deref(), Some(&b"h2"[..]));
    let mut client = Client::over(stream, true).await;
    let (status, told) = client.get("shop.example", "/x?y=1").await.unwrap();
    assert_eq!(status, 200);
    assert!(
        told.starts_with("web GET /x?y=1") && told.contains("host: shop.example"),
        "{told}"
    );
    // Cookies come in pieces, and go on as one.
    let request = Request::get("https://shop.example/")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let response = client.send(request.body(full("")).unwrap()).await.unwrap();
    let told = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&told).contains("cookie: a=1; b=2"), "{told:?}");
    // Whom it is for is said once.
    let request = Request::get("https://shop.example/").header("host", "other.example");
    assert_eq!(
        client.send(request.body(full("")).unwrap()).await.unwrap().status(),
        400
    );
    // Much at a time, over one connection.
    let Client::Http2(sender) = &client else { unreachable!() };
    let many = (0..200).map(|_| {
        let mut client = Client::Http2(sender.clone());
        tokio::spawn(async move { client.get("shop.example", "/").await.unwrap().0 })
    });
    for task in many.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), 200);
    }
    // A head beyond all bounds ends the request, not the connection.
    let request = Request::get("https://shop.example/").header("x", "x".repeat(17 << 10));
    let answer = client.send(request.body(full("")).unwrap()).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(client.get("shop.example", "/").await.unwrap().0, 200);
    assert_eq!(backend.requests(), 203);
    ingress.shutdown().await;
}
