//! Where requests go, and what backends see of them.
use crate::stage::{Backend, Client, Making, all_to, config, figure, full, get, raw, read_all, start};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use sampan_node::ingress::{Body, Filters, Onward};
use sampan_sandbox::{
    ingress::{Path, Route},
    workload::Asked,
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

#[tokio::test]
async fn requests_go_to_the_pool_of_their_host_and_path() {
    let (shop, blog, rest) = (
        Backend::named("shop").await,
        Backend::named("blog").await,
        Backend::named("rest").await,
    );
    let table = Making::default()
        .pool("shop", &[(shop.address, 1)])
        .pool("blog", &[(blog.address, 1)])
        .pool("rest", &[(rest.address, 1)])
        .pool("none", &[])
        .host("shop.example", &[("/cart", "shop"), ("/closed", "none")])
        .host("*.blog.example", &[("/", "blog")])
        .host("", &[("/any", "rest")])
        .done();
    let ingress = start(config(), table);
    for (host, path, status, begins) in [
        ("shop.example", "/cart/1?a=/b", 200, "shop GET /cart/1?a=/b"),
        ("SHOP.example:8080", "/cart", 200, "shop GET /cart"),
        ("a.blog.example", "/x", 200, "blog GET /x"),
        ("shop.example", "/any/x", 200, "rest GET /any/x"),
        ("shop.example", "/carts", 404, "no rule of an Ingress"),
        ("blog.example", "/", 404, "no rule of an Ingress"),
        (
            "shop.example",
            "/closed",
            503,
            "the Service of this path has no endpoint",
        ),
        ("shop.example", "/cart/../any", 400, "the path has segments of dots"),
    ] {
        let (found, body) = get(&ingress, host, path).await;
        assert_eq!(found, status, "{host}{path}: {body}");
        assert!(body.starts_with(begins), "{host}{path}: {body}");
    }
    assert_eq!(figure(&ingress, "sampan_ingress_requests_total{class=\"2xx\"}"), 4);
    assert_eq!(figure(&ingress, "sampan_ingress_requests_total{class=\"4xx\"}"), 3);
    assert_eq!(figure(&ingress, "sampan_ingress_no_route_total"), 2);
    assert_eq!(figure(&ingress, "sampan_ingress_no_backend_total"), 1);
    assert_eq!(figure(&ingress, "sampan_ingress_refused_total"), 1);
    ingress.shutdown().await;
}

#[tokio::test]
async fn backends_see_who_asked_and_for_what() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    let request = Request::post("/form?x=1")
        .header("host", "Shop.example:8080")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "for=10.0.0.1")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("x-end", "1")
        .body(full("some words"))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let told = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "body: some words",
            "content-length: 10",
            "host: Shop.example:8080",
            "web POST /form?x=1",
            "x-end: 1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: Shop.example:8080",
            "x-forwarded-proto: http",
        ]
    );
    ingress.shutdown().await;
}

/// A backend of IPv6 is asked as any other, by whichever family the request came.
#[tokio::test]
async fn both_families_are_served() {
    let any = "[::1]:0".parse().unwrap();
    if tokio::net::TcpListener::bind(any).await.is_err() {
        return eprintln!("SKIPPED: the loopback of this machine has no IPv6");
    }
    let backend = Backend::named_at(any, "web").await;
    let mut both = config();
    both.http.push(any);
    both.https.push(any);
    let ingress = start(both, all_to(&[&backend]));
    assert!(ingress.https_addresses()[1].is_ipv6());
    for (address, from) in ingress.http_addresses().iter().zip(["127.0.0.1", "::1"]) {
        let mut client = Client::connect(*address).await;
        let host = address.to_string();
        let (status, told) = client.get(&host, "/").await.unwrap();
        assert!(status == 200 && told.starts_with("web GET /\n"), "{address}: {told}");
        for line in [
            format!("host: {host}"),
            format!("x-forwarded-for: {from}"),
            format!("x-forwarded-host: {host}"),
        ] {
            assert!(told.lines().any(|said| said == line), "{line}: {told}");
        }
    }
    ingress.shutdown().await;
}

fn route(path: &str, rewrite: Option<&str>, filter: Option<&str>) -> Route {
    Route {
        path: Path::Prefix(path.to_owned()),
        pool: "web".to_owned(),
        rewrite: rewrite.map(str::to_owned),
        filter: filter.map(str::to_owned),
    }
}

/// Turns away who does not say please, and notes that it did look.
struct Polite;

impl Filters for Polite {
    fn answer(
        &self,
        name: &str,
        asked: Asked,
        mut request: Request<Body>,
        onward: Onward,
    ) -> Option<BoxFuture<'static, Response<Body>>> {
        (name == "polite").then(|| -> BoxFuture<'static, Response<Body>> {
            Box::pin(async move {
                if request.headers().contains_key("please") {
                    let seen = HeaderValue::try_from(format!("{} {}", asked.authority, asked.https)).unwrap();
                    let headers = request.headers_mut();
                    headers.insert("x-seen", seen);
                    headers.insert("x-forwarded-for", HeaderValue::from_static("10.9.9.9"));
                    let mut response = onward.send(request.map(Body::for_filter)).await.map(Body::filtered);
                    let headers = response.headers_mut();
                    headers.insert("x-polite", HeaderValue::from_static("1"));
                    headers.insert("connection", HeaderValue::from_static("x-polite"));
                    return response;
                }
                let mut response = Response::new(Body::of("say please"));
                *response.status_mut() = StatusCode::FORBIDDEN;
                response
            })
        })
    }
}

#[tokio::test]
async fn routes_rewrite_and_filter() {
    let backend = Backend::named("web").await;
    let routes = vec![
        route("/api", Some("/v2"), None),
        route("/polite", None, Some("polite")),
        route("/absent", None, Some("absent")),
    ];
    let table = Making::default()
        .pool("web", &[(backend.address, 1)])
        .routes("", routes)
        .done();
    let mut own = config();
    own.filters = Arc::new(Polite);
    let ingress = start(own, table);
    let (_, told) = get(&ingress, "a", "/api/users?x=%20").await;
    assert!(told.starts_with("web GET /v2/users?x=%20"), "{told}");
    assert_eq!(get(&ingress, "a", "/polite").await, (403, "say please".to_owned()));
    let (status, words) = get(&ingress, "a", "/absent").await;
    assert_eq!(status, 503, "nobody is served without the filter: {words}");
    assert_eq!(backend.requests(), 1);
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    let request = Request::get("/polite")
        .header("host", "a")
        .header("please", "1")
        .body(full(""))
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert!(!response.headers().contains_key("connection"), "hops end here");
    let told = response.into_body().collect().await.unwrap().to_bytes();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("x-seen: a false"), "{told}");
    assert!(
        told.contains("x-forwarded-for: 127.0.0.1"),
        "who asked is said by the proxy: {told}"
    );
    assert_eq!(figure(&ingress, "sampan_ingress_no_filter_total"), 1);
    ingress.shutdown().await;
}

/// Each piece comes back before the next is sent: nobody on the way waits for the whole.
#[tokio::test]
async fn bodies_stream_both_ways() {
    let echo = Backend::answering(false, |request| async { Response::new(request.into_body().boxed()) }).await;
    let ingress = start(config(), all_to(&[&echo]));
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    let (pieces, body) = mpsc::channel(1);
    let body = ReceiverStream::new(body).map(|piece: String| Ok(Frame::data(piece.into())));
    let request = Request::post("/")
        .header("host", "a")
        .body(BodyExt::boxed(StreamBody::new(body)))
        .unwrap();
    pieces.send("first".to_owned()).await.unwrap();
    let mut answer = client.send(request).await.unwrap().into_body();
    for expected in ["first", "second", "third"] {
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
        let next = match expected {
            "first" => "second",
            "second" => "third",
            _ => break,
        };
        pieces.send(next.to_owned()).await.unwrap();
    }
    drop(pieces);
    assert!(answer.frame().await.is_none());
    // And much of it, more than anybody keeps.
    let much = "x".repeat(32 << 20);
    let request = Request::post("/").header("host", "a").body(full(much.clone())).unwrap();
    let back = client
        .send(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(back.len(), much.len());
    ingress.shutdown().await;
}

/// Answers without a body say how long it would be, and one that is waited with is waited for.
#[tokio::test]
async fn heads_go_without_bodies_and_bodies_after_them() {
    let backend = Backend::answering(false, |request| async move {
        let status = request
            .headers()
            .get("status")
            .map_or("200", |value| value.to_str().unwrap());
        let response = Response::builder().status(status).header("etag", "\"1\"");
        let words = match status {
            "200" => format!(
                "{} bytes",
                request.into_body().collect().await.unwrap().to_bytes().len()
            ),
            _ => String::new(),
        };
        response.body(full(words)).unwrap()
    })
    .await;
    let ingress = start(config(), all_to(&[&backend]));
    let to = ingress.http_addresses()[0];
    let head = raw(to, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-length: 7\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let same = raw(
        to,
        "GET / HTTP/1.1\r\nHost: a\r\nStatus: 304\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        same.starts_with("HTTP/1.1 304") && same.contains("etag: \"1\""),
        "{same}"
    );
    let old = raw(to, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("\r\n0 bytes"), "{old}");

    let mut stream = TcpStream::connect(to).await.unwrap();
    let asking = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(asking.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"words").await.unwrap();
    let answer = read_all(stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n5 bytes"),
        "{answer}"
    );
    ingress.shutdown().await;
}

/// As gRPC has it: HTTP/2 to the backend, the host as it was asked for, and trailers after the body.
#[tokio::test]
async fn backends_may_speak_http2() {
    let backend = Backend::answering(true, |request| async move {
        let words = format!(
            "{:?} {} {:?}",
            request.version(),
            request.uri(),
            request.headers().get("te")
        );
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [Ok(Frame::data(words.into())), Ok(Frame::trailers(trailers))];
        Response::new(BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames))))
    })
    .await;
    let table = Making::default()
        .h2c("grpc", &[(backend.address, 1)])
        .host("", &[("/", "grpc")])
        .done();
    let ingress = start(config(), table);
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    for _ in 0..3 {
        let request = Request::post("/pkg.Service/Call")
            .header("host", "grpc.example")
            .header("te", "trailers");
        let response = client.send(request.body(full("x")).unwrap()).await.unwrap();
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(
            whole.to_bytes(),
            "HTTP/2.0 http://grpc.example/pkg.Service/Call Some(\"trailers\")"
        );
    }
    assert_eq!((backend.connections(), backend.requests()), (1, 3));
    ingress.shutdown().await;
}
