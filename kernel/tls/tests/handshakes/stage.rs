//! An authority that issues for any time, a listener that echoes, and clients of it.
use hyper_util::rt::TokioIo;
use jiff::{Span, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer};
use sampan_tls::{Certificate, Clients, Credentials, DialError, Handshakes, KeyPair, Tcp};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::client::TlsStream;
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tower::Service;

pub const HOST: &str = "servers.sampan";

pub struct Authority {
    pub ca_pem: String,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Authority {
            ca_pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate that is good from and until so long from now.
    pub fn issue(&self, user: &str, from: Span, until: Span) -> KeyPair {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        let at = |span: Span| {
            let since = (Timestamp::now() + span).as_duration().unsigned_abs();
            rcgen::date_time_ymd(1970, 1, 1) + since
        };
        (params.not_before, params.not_after) = (at(from), at(until));
        KeyPair {
            cert_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// One that is good now.
    pub fn good(&self, user: &str) -> KeyPair {
        self.issue(user, Span::new().hours(-2), Span::new().hours(24))
    }

    pub fn credentials(&self, own: &KeyPair) -> Arc<Credentials> {
        Credentials::new(&self.ca_pem, own).unwrap()
    }
}

/// Echoes what each client says, after the name in the client's certificate and a line's end.
pub async fn echo(credentials: &Arc<Credentials>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let mut handshakes = Handshakes::new(incoming, credentials, Clients::Known).unwrap();
    tokio::spawn(async move {
        while let Some(stream) = handshakes.next().await {
            let mut stream = stream.unwrap();
            tokio::spawn(async move {
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                let user = Certificate::of_der(&shown).unwrap().user;
                stream.write_all(format!("{user}\n").as_bytes()).await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

/// A connection, and what both sides have shown.
pub struct Client {
    pub stream: TlsStream<TcpStream>,
    /// The listener's certificate.
    pub listener: Certificate,
    /// The user that the listener saw.
    pub user: String,
}

impl Client {
    pub async fn dial(credentials: &Arc<Credentials>, address: SocketAddr, host: &str) -> Result<Self, DialError> {
        let mut dialer = credentials.dialer(Tcp(address.to_string()), host).unwrap();
        let stream = dialer
            .call("http://any".parse().unwrap())
            .await
            .map(TokioIo::into_inner)?;
        let listener = Certificate::of_der(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap();
        let user = String::new();
        let mut client = Client { stream, listener, user };
        while !client.user.ends_with('\n') {
            let byte = client.stream.read_u8().await.map_err(DialError::Io)?;
            client.user.push(byte.into());
        }
        client.user.pop();
        Ok(client)
    }

    pub async fn echoes(&mut self) -> bool {
        self.stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        self.stream.read_exact(&mut back).await.is_ok() && back == *b"hello"
    }
}
