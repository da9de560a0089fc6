//! Servers: every request meets a fresh instance, whatever the others do.
use crate::{process, support};
use sampan_sandbox::workload::WorkloadSpec;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Child,
    time::{Duration, Instant},
};

struct Running {
    child: Child,
    address: SocketAddr,
    _file: tempfile::NamedTempFile,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(spec: WorkloadSpec) -> Running {
    let address = free_port();
    let spec = WorkloadSpec {
        module: support::workload("http"),
        listen: vec![address],
        ..spec
    };
    let (mut command, file) = process(&spec);
    let running = Running {
        child: command.spawn().unwrap(),
        address,
        _file: file,
    };
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

impl Running {
    fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        read(self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n"
        )))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    fn stderr(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

fn read(mut stream: TcpStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (
        status,
        if head.contains("chunked") {
            unchunk(body)
        } else {
            body.to_owned()
        },
    )
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest.get(size + 2..).unwrap_or("");
    }
    whole
}

#[test]
fn it_answers_with_a_fresh_instance_each_time() {
    let server = start(WorkloadSpec {
        env: vec!["NAME=value".to_owned()],
        ..WorkloadSpec::default()
    });
    assert_eq!(server.get("/hello"), (200, "hello".to_owned()));
    assert_eq!(server.get("/env"), (200, "value".to_owned()));
    assert_eq!(server.get("/nothing").0, 404);
    (0..3).for_each(|_| assert_eq!(server.get("/count"), (200, "1".to_owned())));
}

#[test]
fn what_goes_wrong_with_one_request_harms_no_other() {
    let spec = WorkloadSpec {
        deadline_ms: Some(500),
        memory_limit: Some(32 << 20),
        ..WorkloadSpec::default()
    };
    let mut server = start(spec);
    std::thread::scope(|scope| {
        for (path, status, words) in [
            ("/trap", 500, "trapped"),
            ("/silent", 500, "no answer"),
            ("/fail", 500, "the component failed"),
            ("/loop", 504, "in time"),
            ("/sleep", 504, "in time"),
            ("/memory", 500, "out of memory"),
        ] {
            let server = &server;
            scope.spawn(move || {
                let (found, body) = server.get(path);
                assert!(found == status && body.contains(words), "{path}: {found} {body}");
            });
        }
        (0..20).for_each(|_| assert_eq!(server.get("/hello"), (200, "hello".to_owned())));
    });
    assert_eq!(server.get("/hello").0, 200);
    let log = server.stderr();
    for words in [
        "GET /trap: it trapped",
        "GET /memory: it needed more than the 32 MiB",
        "GET /loop: it did not end within 500 ms",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn bodies_flow_while_they_are_made() {
    let server = start(WorkloadSpec::default());
    let stream = server.send("POST /echo HTTP/1.1\r\nhost: pod\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    // Each piece is back before the next one is sent.
    for piece in ["first", "second"] {
        (&stream)
            .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
            .unwrap();
        let mut echoed = String::new();
        while !echoed.contains(piece) {
            assert!(reader.read_line(&mut echoed).unwrap() > 0);
        }
    }
    drop(stream);
    let large = "x".repeat(3 << 20);
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: pod\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        large.len()
    );
    let stream = server.send(&head);
    let mut writer = stream.try_clone().unwrap();
    let sent = large.clone();
    std::thread::spawn(move || writer.write_all(sent.as_bytes()));
    assert!(read(stream) == (200, large));
}

#[test]
fn a_connection_is_kept_and_rubbish_is_answered() {
    let server = start(WorkloadSpec::default());
    let request = "GET /hello HTTP/1.1\r\nhost: pod\r\n\r\n";
    let last = "GET /hello HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n";
    let mut text = String::new();
    server
        .send(&format!("{request}{request}{last}"))
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.matches("200 OK").count(), 3);
    assert_eq!(read(server.send("rubbish\r\n\r\n")).0, 400);
    assert_eq!(
        read(server.send("GET /hello HTTP/1.1\r\nconnection: close\r\n\r\n")).0,
        400
    );
    let large = format!("GET /hello HTTP/1.1\r\nhost: pod\r\nx: {}\r\n\r\n", "x".repeat(2 << 20));
    let stream = TcpStream::connect(server.address).unwrap();
    let _ = (&stream).write_all(large.as_bytes());
    let mut status = [0; 12];
    if (&stream).read_exact(&mut status).is_ok() {
        assert_eq!(&status, b"HTTP/1.1 431");
    }
    assert_eq!(server.get("/hello").0, 200);
}

#[test]
fn more_than_it_works_on_at_a_time_waits() {
    let server = start(WorkloadSpec {
        concurrency: 2,
        ..WorkloadSpec::default()
    });
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..6).map(|_| scope.spawn(|| server.get("/slow"))).collect();
        asked
            .into_iter()
            .for_each(|asked| assert_eq!(asked.join().unwrap(), (200, "slow".to_owned())));
    });
}

#[test]
fn it_sends_requests_of_its_own() {
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = outside.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let (stream, _) = outside.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(&stream);
        reader.read_line(&mut line).unwrap();
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            reader.read_line(&mut header).unwrap();
        }
        (&stream)
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nfrom outside")
            .unwrap();
        line
    });
    let server = start(WorkloadSpec::default());
    assert_eq!(
        server.get(&format!("/fetch?http://{address}")),
        (200, "from outside".to_owned())
    );
    assert_eq!(peer.join().unwrap(), "GET /from-outside HTTP/1.1\r\n");
    let (status, body) = server.get(&format!("/fetch?https://{address}"));
    assert!(status == 502 && body.contains("https is not spoken yet"), "{body}");
    let (status, body) = server.get(&format!("/fetch?http://{}", free_port()));
    assert!(status == 502 && body.contains("ConnectionRefused"), "{body}");
}

#[test]
fn it_stops_when_it_is_told_and_lets_requests_end() {
    let mut server = start(WorkloadSpec::default());
    let idle = TcpStream::connect(server.address).unwrap();
    let slow = server.send("GET /slow HTTP/1.1\r\nhost: pod\r\n\r\n");
    std::thread::sleep(Duration::from_millis(200));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(read(slow), (200, "slow".to_owned()));
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    drop(idle);
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = vec![taken.local_addr().unwrap()];
    let (code, _, err) = crate::output(&WorkloadSpec {
        module: support::workload("http"),
        listen,
        ..WorkloadSpec::default()
    });
    assert!(
        code == 126 && err.contains("cannot listen on 127.0.0.1:") && err.contains("in use"),
        "{err}"
    );
}

/// Figures for whoever looks (`cargo test -- --ignored --nocapture`).
#[test]
#[ignore = "prints figures"]
fn figures() {
    let home = tempfile::tempdir().unwrap();
    let server = start(WorkloadSpec {
        cache: Some(home.path().to_owned()),
        ..WorkloadSpec::default()
    });
    // The second one finds it compiled.
    drop(server);
    let started = Instant::now();
    let server = start(WorkloadSpec {
        cache: Some(home.path().to_owned()),
        ..WorkloadSpec::default()
    });
    println!("start to listening: {:?}", started.elapsed());
    let memory = || {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", server.child.id())).unwrap();
        rollup
            .lines()
            .filter(|line| {
                ["Rss:", "Pss:", "Private_Dirty:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    println!("idle: {}", memory());
    let request = "GET /hello HTTP/1.1\r\nhost: pod\r\n\r\n";
    let stream = server.send("");
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let started = Instant::now();
    for _ in 0..5000 {
        (&stream).write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        // A chunked body ends with an empty chunk.
        while line != "0\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        reader.read_line(&mut line).unwrap();
    }
    println!("a request on one connection: {:?}", started.elapsed() / 5000);
    println!("after: {}", memory());
}
