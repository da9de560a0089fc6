//! A certificate that is replaced is shown from the next handshake on, by listener and client alike; connections that stand
//! go on.
use crate::stage::{Authority, Client, HOST, echo};
use jiff::Span;
use sampan_tls::{Certificate, KeyPair, keep_fresh, lifetimes::BACKDATED, renewer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn fingerprint(pair: &KeyPair) -> String {
    Certificate::of_pem(&pair.cert_pem).unwrap().fingerprint
}

#[tokio::test]
async fn new_connections_see_the_new_one_and_old_ones_go_on() {
    let authority = Authority::new("a");
    let (first, second) = (authority.good("s1"), authority.good("s1"));
    let server = authority.credentials(&first);
    let client = authority.credentials(&authority.good("anna"));
    let address = echo(&server).await;
    let mut old = Client::dial(&client, address, HOST).await.unwrap();
    assert_eq!(
        (old.listener.fingerprint.clone(), old.user.as_str()),
        (fingerprint(&first), "anna")
    );

    server.replace(&second).unwrap();
    client.replace(&authority.good("berta")).unwrap();
    assert_eq!((server.turn(), client.turn()), (1, 1));
    let mut new = Client::dial(&client, address, HOST).await.unwrap();
    assert_eq!(
        (new.listener.fingerprint.clone(), new.user.as_str()),
        (fingerprint(&second), "berta")
    );
    assert!(old.echoes().await && new.echoes().await);
}

#[tokio::test]
async fn a_key_that_is_anothers_replaces_nothing() {
    let authority = Authority::new("a");
    let (own, other) = (authority.good("s1"), authority.good("s1"));
    let credentials = authority.credentials(&own);
    let mixed = KeyPair {
        cert_pem: other.cert_pem,
        key_pem: own.key_pem.clone(),
    };
    credentials.replace(&mixed).unwrap_err();
    assert_eq!(credentials.certificate().fingerprint, fingerprint(&own));
    assert_eq!(credentials.turn(), 0);
}

#[tokio::test]
async fn what_lives_for_seconds_is_renewed_again_and_again() {
    let authority = Arc::new(Authority::new("a"));
    let backdated = Span::new().seconds(-i64::try_from(BACKDATED.as_secs()).unwrap());
    let issue = move |authority: &Authority| authority.issue("s1", backdated, Span::new().seconds(4));
    let server = authority.credentials(&issue(&authority));
    let client = authority.credentials(&authority.good("anna"));
    let address = echo(&server).await;
    let mut old = Client::dial(&client, address, HOST).await.unwrap();
    let (renewer, asks) = renewer();
    let issued = Arc::new(AtomicU32::new(0));
    let keeping = {
        let (server, issued) = (server.clone(), issued.clone());
        tokio::spawn(keep_fresh(server, asks, move || {
            let (authority, issued) = (authority.clone(), issued.clone());
            async move {
                // The second fails, and is tried again.
                match issued.fetch_add(1, Ordering::Relaxed) {
                    1 => Err("not now"),
                    _ => Ok(issue(&authority)),
                }
            }
        }))
    };
    let started = Instant::now();
    while server.turn() < 3 {
        assert!(started.elapsed() < PATIENCE, "it is renewed by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = server.turn();
    renewer.now().await.unwrap();
    assert!(server.turn() > before, "and when somebody asks");
    let new = Client::dial(&client, address, HOST).await.unwrap();
    assert_ne!(new.listener.fingerprint, old.listener.fingerprint);
    assert!(old.echoes().await, "the first connection still stands");
    keeping.abort();
}

#[tokio::test]
async fn who_asks_hears_why_it_was_not_renewed() {
    let authority = Authority::new("a");
    let credentials = authority.credentials(&authority.good("s1"));
    let (renewer, asks) = renewer();
    let keeping = tokio::spawn(keep_fresh(credentials.clone(), asks, || async {
        Err::<KeyPair, _>("no paper")
    }));
    assert_eq!(renewer.now().await.unwrap_err(), "no paper");
    assert_eq!(credentials.turn(), 0);
    keeping.abort();
    let _ = keeping.await;
    assert!(renewer.now().await.unwrap_err().contains("ending"));
}
