//! The cluster's own names.
use crate::support::*;
use hickory_proto::{
    op::ResponseCode,
    rr::RecordType::{A, AAAA, SRV},
};
use sampan_api::Key;
use sampan_node::dns::{Dns, DnsConfig, DnsError};
use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

const WEB: &str = "web.prod.svc.cluster.local.";

#[tokio::test]
async fn answered_without_any_other_server() {
    let dns = dns(&[]);
    let server = dns.addresses()[0];
    let web = by_udp(server, WEB, A).await;
    assert_eq!(data(&web), ["10.96.0.10"]);
    assert!(by_udp(server, WEB, AAAA).await.answers.is_empty());
    assert_eq!(
        data(&by_udp(server, "db-7.db.prod.svc.cluster.local.", A).await),
        ["10.42.0.7"]
    );
    let none = by_udp(server, "none.prod.svc.cluster.local.", A).await;
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    let other = by_udp(server, "example.org.", A).await;
    assert_eq!(other.metadata.response_code, ResponseCode::ServFail);

    dns.gone(&Key::new("services", "prod", "web"));
    assert_eq!(
        by_udp(server, WEB, A).await.metadata.response_code,
        ResponseCode::NXDomain
    );
    dns.synced("services", &HashSet::new());
    let db = by_udp(server, "db.prod.svc.cluster.local.", A).await;
    assert_eq!(db.metadata.response_code, ResponseCode::NXDomain);
    let counted = |kind: &str| figure(&dns, &format!("sampan_dns_answers_total{{kind=\"{kind}\"}}"));
    assert_eq!((counted("found"), counted("nodata"), counted("nxdomain")), (2, 1, 3));
}

#[tokio::test]
async fn what_does_not_fit_goes_by_tcp() {
    let dns = dns(&[]);
    let server = dns.addresses()[0];
    let of = "db.prod.svc.cluster.local.";
    assert!(by_udp(server, of, A).await.metadata.truncation);
    let mut stream = TcpStream::connect(server).await.unwrap();
    let whole = by_tcp(&mut stream, of, A).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));
    // One connection, several requests.
    let ports = by_tcp(&mut stream, "_http._tcp.db.prod.svc.cluster.local.", SRV).await;
    assert_eq!((ports.answers.len(), ports.additionals.len()), (200, 200));
    assert_eq!(figure(&dns, "sampan_dns_truncated_total"), 1);
}

#[tokio::test]
async fn rubbish_is_survived() {
    let dns = dns(&[]);
    let server = dns.addresses()[0];
    let socket = UdpSocket::bind(anywhere()).await.unwrap();
    for rubbish in [&b""[..], b"x", &[0; 12], &[0xff; 3000], &[0; 6000]] {
        socket.send_to(rubbish, server).await.unwrap();
    }
    assert_eq!(data(&by_udp(server, WEB, A).await), ["10.96.0.10"]);
    // More than is read at once: the connection ends.
    let mut stream = TcpStream::connect(server).await.unwrap();
    tokio::io::AsyncWriteExt::write_u16(&mut stream, 60_000).await.unwrap();
    let end = timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn nobody_has_all_connections() {
    let dns = dns(&[]);
    let server = dns.addresses()[0];
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(server).await.unwrap();
        by_tcp(&mut stream, WEB, A).await;
        held.push(stream);
    }
    let mut more = TcpStream::connect(server).await.unwrap();
    let end = timeout(PATIENCE, more.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(figure(&dns, "sampan_dns_overload_total"), 1);
    held.clear();
    // The place of one that ended is free again.
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(server).await.unwrap();
        write(&mut stream, &query(WEB, A)).await;
        if timeout(PATIENCE, read(&mut stream)).await.unwrap().is_some() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "connections count after their end");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn names_outlive_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dns.json");
    let config = || DnsConfig {
        keep: Some(file.clone()),
        ..config(&[])
    };
    let first = Dns::start(config()).unwrap();
    feed(&first);
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < PATIENCE, "nothing is written");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(first);
    let next = Dns::start(config()).unwrap();
    assert_eq!(data(&by_udp(next.addresses()[0], WEB, A).await), ["10.96.0.10"]);
    drop(next);

    // What is no such file, or of another cluster, is as none.
    let mut other = config();
    other.domain = "other.example".to_owned();
    let other = Dns::start(other).unwrap();
    let answer = by_udp(other.addresses()[0], "web.prod.svc.other.example.", A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    std::fs::write(&file, "{\"version\": 1, ").unwrap();
    let none = Dns::start(config()).unwrap();
    let answer = by_udp(none.addresses()[0], WEB, A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn what_was_told_can_be_handed_on() {
    let (first, second) = (dns(&[]), Dns::start(config(&[])).unwrap());
    second.restore(first.snapshot());
    assert_eq!(data(&by_udp(second.addresses()[0], WEB, A).await), ["10.96.0.10"]);
}

#[tokio::test]
async fn an_address_that_is_not_there_yet() {
    let later = DnsConfig::new(vec!["198.51.100.53:0".parse().unwrap()]);
    let dns = Dns::start(later).unwrap();
    let taken = dns.addresses()[0];
    let again = Dns::start(DnsConfig::new(vec![taken]));
    let Err(error @ DnsError::Listen { .. }) = again else {
        panic!("two have {taken}")
    };
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let wrong = DnsConfig {
        domain: "a..b".into(),
        ..config(&[])
    };
    assert!(matches!(Dns::start(wrong), Err(DnsError::Domain(_))));
}
