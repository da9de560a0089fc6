//! A wasi:http component: says which pod answers. Each request meets a fresh instance.
use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
};

struct Hello;

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let environment = wasip2::cli::environment::get_environment();
        let pod = environment
            .iter()
            .find(|(name, _)| name == "HOSTNAME")
            .map_or("?", |(_, value)| value.as_str());
        let body = format!("hello from the component {pod}\n");
        let headers = Fields::new();
        let _ = headers.append("content-type", b"text/plain");
        let _ = headers.append("content-length", body.len().to_string().as_bytes());
        let response = OutgoingResponse::new(headers);
        let Ok(outgoing) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = outgoing.write() {
            let _ = stream.blocking_write_and_flush(body.as_bytes());
        }
        let _ = OutgoingBody::finish(outgoing, None);
    }
}

wasip2::http::proxy::export!(Hello);
