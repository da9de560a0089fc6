//! Filters: what they let through and change, and that one that traps, loops or asks for more harms its own request alone.
use crate::support;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame};
use sampan_sandbox::{
    PluginEngine,
    workload::{Asked, BoxError, Failed, Filter, FilterBody, FilterLimits, Onward, Pool, WorkloadEngine},
};
use serde_json::{Value, json};
use std::{
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    time::timeout,
};

const LONG: Duration = Duration::from_secs(30);

/// Two: what filters run on, and what asks them.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

static FILTERS: LazyLock<Runtime> = LazyLock::new(runtime);
static ENGINE: LazyLock<Arc<WorkloadEngine>> = LazyLock::new(|| {
    // Compiled once for all tests.
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("filters");
    std::fs::create_dir_all(&cache).unwrap();
    WorkloadEngine::new(Some(cache), Pool::of(40)).unwrap()
});

/// Short, so that what is late is found out soon; no busy machine reaches it with what goes on.
const LIMITS: FilterLimits = FilterLimits {
    memory: 32 << 20,
    computing: Duration::from_secs(2),
    still: Duration::from_secs(4),
    turns: 4,
    onward: 8,
};

fn gate(config: &Value, limits: FilterLimits) -> Arc<Filter> {
    // Of several that compile the same at a time each would do it.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock();
    let filter = Filter::load(&ENGINE, &support::gate(), config, limits, FILTERS.handle().clone());
    Arc::new(filter.unwrap())
}

fn full(text: impl Into<Bytes>) -> FilterBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Answers with what it was asked, head and body, and counts how often.
#[derive(Default)]
struct Telling(AtomicUsize);

impl Onward for Telling {
    fn send(&self, request: Request<FilterBody>) -> Pin<Box<dyn Future<Output = Response<FilterBody>> + Send>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut told = format!("{} {}\n", parts.method, parts.uri);
            for (name, value) in &parts.headers {
                told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            let body = body.collect().await.unwrap().to_bytes();
            told.push_str(&format!("{} bytes", body.len()));
            Response::builder()
                .status(201)
                .header("x-own", "1")
                .body(full(told))
                .unwrap()
        })
    }
}

type Answer = Result<(u16, String, String), Failed>;

/// Status, the mark of the filter, and body.
async fn ask(filter: &Arc<Filter>, onward: &Arc<Telling>, request: Request<FilterBody>) -> Answer {
    let asked = Asked {
        authority: "Shop.example".to_owned(),
        https: true,
    };
    let answered = timeout(LONG, filter.clone().answer(asked, request, onward.clone()));
    let response = answered.await.unwrap()?;
    let status = response.status().as_u16();
    let mark = response
        .headers()
        .get("x-gated")
        .map_or("", |value| value.to_str().unwrap());
    let mark = mark.to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((status, mark, String::from_utf8(body.to_vec()).unwrap()))
}

fn get(path: &str, token: Option<&str>) -> Request<FilterBody> {
    let mut request = Request::get(path).header("x-end", "1");
    if let Some(token) = token {
        request = request.header("x-token", token);
    }
    request.body(full("")).unwrap()
}

#[test]
fn a_filter_refuses_or_changes_what_goes_by() {
    runtime().block_on(async {
        let filter = gate(&json!({"TOKEN": "sesame", "MARK": "seen"}), LIMITS);
        let onward = Arc::new(Telling::default());
        let refused = ask(&filter, &onward, get("/a", None)).await.unwrap();
        assert_eq!(refused, (401, String::new(), "show the token\n".to_owned()));
        assert_eq!(ask(&filter, &onward, get("/a", Some("wrong"))).await.unwrap().0, 401);
        assert_eq!(onward.0.load(Ordering::Relaxed), 0, "nothing went on");
        let (status, mark, told) = ask(&filter, &onward, get("/a?b=c", Some("sesame"))).await.unwrap();
        assert_eq!((status, &*mark), (201, "yes"));
        assert!(told.starts_with("GET https://Shop.example/a?b=c\n"), "{told}");
        for line in ["x-gate: seen\n", "x-end: 1\n", "0 bytes"] {
            assert!(told.contains(line), "{told}");
        }
        let much = Request::post("/up")
            .header("x-token", "sesame")
            .body(full(vec![b'x'; 3 << 20]))
            .unwrap();
        let (_, _, told) = ask(&filter, &onward, much).await.unwrap();
        assert!(told.starts_with("POST") && told.ends_with("3145728 bytes"), "{told}");
    });
}

#[test]
fn what_a_filter_sends_goes_onward_or_nowhere() {
    runtime().block_on(async {
        let (filter, onward) = (gate(&json!({}), LIMITS), Arc::new(Telling::default()));
        let (_, _, said) = ask(&filter, &onward, get("/gate/away", None)).await.unwrap();
        assert!(said.contains("HttpRequestDenied"), "{said}");
        assert_eq!(onward.0.load(Ordering::Relaxed), 0);
        let (_, _, said) = ask(&filter, &onward, get("/gate/often", None)).await.unwrap();
        assert_eq!((&*said, onward.0.load(Ordering::Relaxed)), ("8", 8));
    });
}

#[test]
fn a_filter_that_misbehaves_harms_its_own_request_alone() {
    runtime().block_on(async {
        let (filter, onward) = (gate(&json!({}), LIMITS), Arc::new(Telling::default()));
        let loops = ask(&filter, &onward, get("/gate/loop", None));
        // While one loops others are answered: each has an instance of its own.
        let (looped, others) = futures_of(loops, async {
            let mut statuses = Vec::new();
            for _ in 0..20 {
                statuses.push(ask(&filter, &onward, get("/", Some("any"))).await.unwrap().0);
            }
            statuses
        })
        .await;
        assert_eq!(looped.unwrap_err(), Failed::Late(LIMITS.computing));
        assert_eq!(others, [201; 20]);
        let trapped = ask(&filter, &onward, get("/gate/trap", None)).await.unwrap_err();
        assert!(
            matches!(&trapped, Failed::Trapped(why) if why.contains("unreachable")),
            "{trapped}"
        );
        let hoarded = ask(&filter, &onward, get("/gate/memory", None)).await.unwrap_err();
        assert_eq!(hoarded, Failed::OutOfMemory(LIMITS.memory));
        assert_eq!(
            ask(&filter, &onward, get("/gate/silent", None)).await.unwrap_err(),
            Failed::Silent
        );
        assert_eq!(
            ask(&filter, &onward, get("/", Some("any"))).await.unwrap().0,
            201,
            "and it goes on"
        );
    });
}

#[test]
fn filters_share_memory_and_what_one_took_is_there_again() {
    const SHARED: usize = 16 << 20;
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("filters");
    let engine = WorkloadEngine::new(Some(cache), Pool::of(4).sharing(SHARED)).unwrap();
    let load =
        || Arc::new(Filter::load(&engine, &support::gate(), &json!({}), LIMITS, FILTERS.handle().clone()).unwrap());
    let (one, other, onward) = (load(), load(), Arc::new(Telling::default()));
    runtime().block_on(async {
        for _ in 0..3 {
            let hoarded = ask(&one, &onward, get("/gate/memory", None)).await.unwrap_err();
            assert_eq!(hoarded, Failed::Crowded(SHARED));
            assert_eq!(ask(&other, &onward, get("/", Some("any"))).await.unwrap().0, 201);
        }
    });
}

/// Both, at the same time.
async fn futures_of<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |cx| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.is_some(), second.is_some()) {
            (true, true) => Poll::Ready((first.take().unwrap(), second.take().unwrap())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// A body whose pieces come by a channel.
struct Pieces(mpsc::Receiver<&'static str>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// Answers with pieces, one after the other.
struct Dripping(std::sync::Mutex<Option<mpsc::Receiver<&'static str>>>);

impl Onward for Dripping {
    fn send(&self, _: Request<FilterBody>) -> Pin<Box<dyn Future<Output = Response<FilterBody>> + Send>> {
        let pieces = self.0.lock().unwrap().take().unwrap();
        Box::pin(async move { Response::new(UnsyncBoxBody::new(Pieces(pieces))) })
    }
}

/// Each piece comes before the next is sent, and for longer than a filter may be still: it is the pieces that count.
#[test]
fn answers_go_by_piece_by_piece_for_as_long_as_they_go_on() {
    runtime().block_on(async {
        let limits = FilterLimits {
            computing: Duration::from_secs(1),
            still: Duration::from_millis(1500),
            ..LIMITS
        };
        let filter = gate(&json!({}), limits);
        let (pieces, receiver) = mpsc::channel(1);
        let onward = Arc::new(Dripping(std::sync::Mutex::new(Some(receiver))));
        let asked = Asked {
            authority: "shop.example".to_owned(),
            https: false,
        };
        let response = filter.answer(asked, get("/", Some("any")), onward).await.unwrap();
        let mut body = response.into_body();
        for piece in ["one", "two", "three", "four"] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            pieces.send(piece).await.unwrap();
            let frame = timeout(LONG, body.frame()).await.unwrap().unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(pieces);
        assert!(timeout(LONG, body.frame()).await.unwrap().is_none(), "whole");
    });
}

#[test]
fn what_is_no_filter_is_not_let_in() {
    let engine = PluginEngine::new(None).unwrap();
    let found = engine.inspect(&support::gate());
    assert_eq!(found.world.map(|world| world.to_string()).as_deref(), Some("filter"));
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let command = std::fs::read(support::workload("command")).unwrap();
    let problems = engine.inspect(&command).problems.join("; ");
    assert!(problems.contains("exports no world"), "{problems}");
    let refused = Filter::load(&ENGINE, &command, &Value::Null, LIMITS, FILTERS.handle().clone());
    assert!(refused.is_err_and(|error| error.to_string().contains("it is a command")));
}
