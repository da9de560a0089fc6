//! A filter that stands before an Ingress. It lets through who shows the token of its configuration (`TOKEN`, or who shows any
//! where there is none), marks requests and answers, and for tests does what some paths say.
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
            OutgoingResponse, ResponseOutparam,
        },
    },
    io::streams::StreamError,
};

struct Gate;

impl Guest for Gate {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/gate/trap" => panic!("as it was told"),
            "/gate/silent" => {}
            "/gate/loop" => loop {
                std::hint::black_box(());
            },
            "/gate/memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            "/gate/away" => {
                let said = match send("elsewhere.example", request) {
                    Ok(_) => "it was let out".to_owned(),
                    Err(code) => format!("{code:?}"),
                };
                say(out, 200, &said);
            }
            "/gate/often" => {
                let asked = (0..100).take_while(|_| ask_again(&request).is_ok()).count();
                say(out, 200, &asked.to_string());
            }
            _ if !is_let_in(&request) => say(out, 401, "show the token\n"),
            _ => pass_on(request, out),
        }
    }
}

fn is_let_in(request: &IncomingRequest) -> bool {
    let shown = request.headers().get("x-token");
    let wanted = std::env::var("TOKEN").unwrap_or_default();
    shown
        .iter()
        .any(|shown| wanted.is_empty() || shown == wanted.as_bytes())
}

fn say(out: ResponseOutparam, status: u16, words: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(words.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

/// A request of nothing to whom this one was for.
fn ask_again(request: &IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let again = OutgoingRequest::new(Fields::new());
    let _ = again.set_scheme(request.scheme().as_ref());
    let _ = again.set_authority(request.authority().as_deref());
    let _ = again.set_path_with_query(Some("/again"));
    answer_to(outgoing_handler::handle(again, None)?)
}

fn answer_to(answer: outgoing_handler::FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(answer)) => answer,
        _ => Err(ErrorCode::InternalError(None)),
    }
}

/// Sends a request on, with a mark.
fn send(authority: &str, request: IncomingRequest) -> Result<IncomingResponse, ErrorCode> {
    let headers = request.headers().clone();
    let _ = headers.set(
        "x-gate",
        &[std::env::var("MARK").unwrap_or("open".to_owned()).into_bytes()],
    );
    let onward = OutgoingRequest::new(headers);
    let _ = onward.set_method(&match request.method() {
        Method::Other(name) => Method::Other(name),
        method => method,
    });
    let _ = onward.set_scheme(request.scheme().as_ref());
    let _ = onward.set_authority(Some(authority));
    let _ = onward.set_path_with_query(request.path_with_query().as_deref());
    let to = onward.body().map_err(|()| ErrorCode::InternalError(None))?;
    let answer = outgoing_handler::handle(onward, None)?;
    let from = request.consume().map_err(|()| ErrorCode::InternalError(None))?;
    carry(from, to);
    answer_to(answer)
}

fn pass_on(request: IncomingRequest, out: ResponseOutparam) {
    let authority = request.authority().unwrap_or_default();
    let answer = match send(&authority, request) {
        Ok(answer) => answer,
        Err(code) => return ResponseOutparam::set(out, Err(code)),
    };
    let headers = answer.headers().clone();
    let _ = headers.set("x-gated", &[b"yes".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(answer.status());
    let (Ok(from), Ok(to)) = (answer.consume(), response.body()) else {
        return;
    };
    ResponseOutparam::set(out, Ok(response));
    carry(from, to);
}

/// Piece by piece, to the end.
fn carry(from: IncomingBody, to: OutgoingBody) {
    if let (Ok(source), Ok(sink)) = (from.stream(), to.write()) {
        loop {
            match source.blocking_read(16 << 10) {
                Ok(bytes) => {
                    for piece in bytes.chunks(4096) {
                        if sink.blocking_write_and_flush(piece).is_err() {
                            return;
                        }
                    }
                }
                Err(StreamError::Closed) => break,
                Err(_) => return,
            }
        }
    }
    let _ = OutgoingBody::finish(to, None);
}

wasip2::http::proxy::export!(Gate);
