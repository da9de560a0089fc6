//! A server that does what the path says.
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
            ResponseOutparam, Scheme,
        },
    },
    io::streams::StreamError,
};

static mut SEEN: u32 = 0;

struct Server;

impl Guest for Server {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.split(['?']).next().unwrap_or_default() {
            "/hello" => say(out, 200, b"hello"),
            "/count" => {
                // Safe: there is one thread.
                let seen = unsafe {
                    SEEN += 1;
                    SEEN
                };
                say(out, 200, seen.to_string().as_bytes());
            }
            "/env" => say(out, 200, std::env::var("NAME").unwrap_or_default().as_bytes()),
            "/echo" => echo(request, out),
            "/trap" => panic!("as it was told"),
            "/silent" => (),
            "/fail" => ResponseOutparam::set(out, Err(ErrorCode::LoopDetected)),
            "/loop" => {
                let mut n = 0_u64;
                loop {
                    n = std::hint::black_box(n + 1);
                }
            }
            "/slow" => {
                std::thread::sleep(std::time::Duration::from_millis(700));
                say(out, 200, b"slow");
            }
            "/sleep" => std::thread::sleep(std::time::Duration::from_secs(3600)),
            "/memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            "/fetch" => {
                let (_, address) = path.split_once('?').unwrap_or_default();
                match fetch(address) {
                    Ok(body) => say(out, 200, &body),
                    Err(code) => say(out, 502, format!("{code:?}").as_bytes()),
                }
            }
            _ => say(out, 404, b"no such path"),
        }
    }
}

fn say(out: ResponseOutparam, status: u16, body: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    let Ok(outgoing) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = outgoing.write() {
        for piece in body.chunks(4096) {
            let _ = stream.blocking_write_and_flush(piece);
        }
    }
    let _ = OutgoingBody::finish(outgoing, None);
}

/// Answers with what it is sent, while it is sent.
fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let (Ok(outgoing), Ok(incoming)) = (response.body(), request.consume()) else {
        return;
    };
    ResponseOutparam::set(out, Ok(response));
    if let (Ok(from), Ok(to)) = (incoming.stream(), outgoing.write()) {
        while let Ok(bytes) = from.blocking_read(4096) {
            if to.blocking_write_and_flush(&bytes).is_err() {
                break;
            }
        }
    }
    let _ = OutgoingBody::finish(outgoing, None);
}

/// `http://host:port` or `https://host`.
fn fetch(url: &str) -> Result<Vec<u8>, ErrorCode> {
    let (scheme, authority) = url.split_once("://").unwrap_or(("", url));
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(match scheme {
        "http" => Some(&Scheme::Http),
        "https" => Some(&Scheme::Https),
        _ => None,
    });
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some("/from-outside"));
    let future = outgoing_handler::handle(request, None)?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(response)) => response?,
        _ => return Err(ErrorCode::InternalError(None)),
    };
    let Ok(body) = response.consume() else {
        return Ok(Vec::new());
    };
    let mut bytes = Vec::new();
    read_all(&body, &mut bytes);
    Ok(bytes)
}

fn read_all(body: &IncomingBody, bytes: &mut Vec<u8>) {
    let Ok(stream) = body.stream() else { return };
    loop {
        match stream.blocking_read(4096) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return,
            Err(error) => {
                bytes.extend(format!("{error:?}").bytes());
                return;
            }
        }
    }
}

wasip2::http::proxy::export!(Server);
