//! A registry that does as it is told, for what a well-behaved one does not do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// What was asked.
pub struct Request {
    pub path: String,
    /// As they came, names in lower case.
    headers: Vec<(String, String)>,
    /// How many came before.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub struct Reply {
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The length that is claimed; the connection ends after the body all the same.
    pub claims: Option<usize>,
    /// The body over and over until the other side hangs up.
    pub endless: bool,
    /// After the body, before the connection ends.
    pub stalls: Option<std::time::Duration>,
}

impl Reply {
    pub fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            claims: None,
            endless: false,
            stalls: None,
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let count = AtomicUsize::new(0);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // What the other side does to the connection is its affair.
                drop(serve(stream.unwrap(), count.fetch_add(1, Ordering::SeqCst), &answer));
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(stream: TcpStream, number: usize, answer: &impl Fn(&Request) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let reply = answer(&Request { path, headers, number });
    let mut out = &stream;
    write!(out, "HTTP/1.1 {}\r\nConnection: close\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    if !reply.endless {
        write!(out, "Content-Length: {}\r\n", reply.claims.unwrap_or(reply.body.len()))?;
    }
    write!(out, "\r\n")?;
    out.write_all(&reply.body)?;
    if reply.endless {
        loop {
            out.write_all(&reply.body)?;
        }
    }
    std::thread::sleep(reply.stalls.unwrap_or_default());
    stream.shutdown(std::net::Shutdown::Write)?;
    drop((&stream).take(1 << 16).read_to_end(&mut Vec::new()));
    Ok(())
}
