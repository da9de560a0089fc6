//! The way to the control plane: any of its servers will do, and the next is tried when one is away.
use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;

/// A server that does not take a connection in this time is passed over.
const PATIENCE: Duration = Duration::from_secs(1);

/// Servers by `HOST:PORT`; copies share the list. Each connection begins with the server after the one before.
#[derive(Clone, Debug)]
pub struct Servers {
    known: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
}

impl Servers {
    /// Of a list as contexts have it: `https://A:7443,https://B:7443`, with or without the scheme.
    pub fn parse(list: &str) -> Self {
        let known = list
            .split(',')
            .map(|server| server.trim().trim_start_matches("https://").trim_end_matches('/'))
            .filter(|server| !server.is_empty());
        Servers {
            known: Arc::new(Mutex::new(known.map(str::to_owned).collect())),
            turn: Arc::default(),
        }
    }

    pub fn all(&self) -> Vec<String> {
        self.known.lock().clone()
    }

    /// These from now on; whether they are others than before.
    pub fn replace(&self, servers: Vec<String>) -> bool {
        let mut known = self.known.lock();
        let news = !servers.is_empty() && *known != servers;
        if news {
            *known = servers;
        }
        news
    }
}

impl tower::Service<Uri> for Servers {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let servers = self.all();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let mut failed = io::Error::new(io::ErrorKind::NotFound, "no server is known");
            for number in 0..servers.len() {
                let server = &servers[(first + number) % servers.len()];
                failed = match tokio::time::timeout(PATIENCE, TcpStream::connect(server)).await {
                    Ok(Ok(stream)) => {
                        stream.set_nodelay(true)?;
                        return Ok(TokioIo::new(stream));
                    }
                    Ok(Err(error)) => error,
                    Err(_) => io::ErrorKind::TimedOut.into(),
                };
            }
            Err(failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::Service as _;

    #[tokio::test]
    async fn the_next_is_tried_when_one_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let away = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let mut servers = Servers::parse(&format!("https://{away}, {here}"));
        for _ in 0..4 {
            let stream = servers.call(Uri::from_static("https://any")).await.unwrap();
            assert_eq!(stream.inner().peer_addr().unwrap(), here);
        }
        servers.replace(vec![away.to_string()]);
        assert!(servers.call(Uri::from_static("https://any")).await.is_err());
    }
}
