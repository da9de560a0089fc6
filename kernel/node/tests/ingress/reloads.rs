//! Other tables, and the end: what is under way goes on.
use crate::stage::{Backend, Client, LONG, Making, all_to, config, full, start};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// A body of pieces, and where they are put in.
fn pieces() -> (
    mpsc::Sender<&'static str>,
    http_body_util::combinators::BoxBody<bytes::Bytes, hyper::Error>,
) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = ReceiverStream::new(receiver).map(|piece: &str| Ok(Frame::data(piece.into())));
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

/// Asks over one connection until it is done, and is answered each time.
async fn ask(address: SocketAddr, done: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    let mut client = Client::connect(address).await;
    while !done.load(Ordering::Relaxed) {
        let (status, told) = client.get("a.example", "/x").await.unwrap();
        assert_eq!(status, 200, "{told}");
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tables_under_load_fail_no_request() {
    let (one, two, three) = (
        Backend::named("one").await,
        Backend::named("two").await,
        Backend::named("three").await,
    );
    let echo = Backend::answering(false, |request| async { Response::new(request.into_body().boxed()) }).await;
    let table = |which: usize| {
        // Two that stay, and one that comes and goes.
        let pools: &[_] = match which % 3 {
            0 => &[(one.address, 1), (two.address, 1)],
            1 => &[(two.address, 3), (three.address, 1), (one.address, 1)],
            _ => &[(one.address, 1), (two.address, 2)],
        };
        let making = Making::default().pool("web", pools).host("a.example", &[("/", "web")]);
        // The route of the long request goes with the first other table.
        match which {
            0 => making
                .pool("echo", &[(echo.address, 1)])
                .host("echo.example", &[("/", "echo")]),
            _ => making,
        }
        .done()
    };
    let ingress = start(config(), table(0));
    let address = ingress.http_addresses()[0];
    let mut long = Client::connect(address).await;
    let (words, body) = pieces();
    words.send("begin").await.unwrap();
    let request = Request::post("/").header("host", "echo.example").body(body).unwrap();
    let mut answer = long.send(request).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "begin");

    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|_| tokio::spawn(ask(address, done.clone(), asked.clone())))
        .collect();
    for which in 1..=100 {
        let before = asked.load(Ordering::Relaxed);
        ingress.set_table(Arc::new(table(which)));
        // Each table is used.
        while asked.load(Ordering::Relaxed) < before + 8 && load.iter().all(|task| !task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        timeout(LONG, task).await.unwrap().unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) >= 800);
    // The long one's route is gone since the first of them, and it goes on.
    words.send("end").await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "end");
    drop(words);
    assert!(answer.frame().await.is_none());
    assert_eq!(long.get("echo.example", "/").await.unwrap().0, 404);
    assert!(three.requests() > 0);
    // Backends that stay keep their connections.
    let kept = one.connections() + two.connections();
    assert!(
        kept <= 32,
        "{kept} connections for {} requests",
        asked.load(Ordering::Relaxed)
    );
    ingress.shutdown().await;
}

#[tokio::test]
async fn the_end_waits_for_what_is_under_way() {
    let echo = Backend::answering(false, |request| async { Response::new(request.into_body().boxed()) }).await;
    let ingress = start(config(), all_to(&[&echo]));
    let address = ingress.http_addresses()[0];
    let (mut busy, mut idle) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(idle.get("a", "/").await.unwrap().0, 200);
    let (words, body) = pieces();
    words.send("begin").await.unwrap();
    let request = Request::post("/").header("host", "a").body(body).unwrap();
    let mut answer = busy.send(request).await.unwrap().into_body();
    let ending = tokio::spawn(ingress.shutdown());
    // Nothing new is taken: neither a connection nor a request.
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    assert!(idle.get("a", "/").await.is_err());
    assert!(!ending.is_finished());
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "begin");
    words.send("end").await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "end");
    drop(words);
    assert!(answer.frame().await.is_none());
    timeout(LONG, ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let never = Backend::answering(false, |_| async {
        std::future::pending::<()>().await;
        Response::new(full(""))
    })
    .await;
    let mut own = config();
    own.times.drain = Duration::from_millis(300);
    let ingress = start(own, all_to(&[&never]));
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    let waiting = tokio::spawn(async move { client.get("a", "/").await });
    while never.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    timeout(LONG, ingress.shutdown()).await.unwrap();
    assert!(timeout(LONG, waiting).await.unwrap().unwrap().is_err());
}
