//! Clients that ask again and again from within pods and hosts, and note what failed; and a connection that stands meanwhile.
use crate::{
    group::{Group, PATIENCE},
    traces,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// So long one request may take. A packet that was lost is sent again after a second, and then after two more.
const ANSWERED: Duration = Duration::from_secs(5);
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);
/// So long a connection that stands may be without an answer.
const STANDS: Duration = Duration::from_secs(45);

/// The network of a pod.
pub fn of_pod(group: &Group, pod: &Value) -> File {
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let host: usize = node.strip_prefix('n').unwrap().parse().unwrap();
    let found = traces::of_pods(&group.data(host), std::slice::from_ref(pod));
    let pid = found[0].1.first().expect("a container");
    File::open(format!("/proc/{pid}/ns/net")).unwrap()
}

/// The address of a pod.
pub fn address(pod: &Value) -> IpAddr {
    pod["status"]["podIP"].as_str().unwrap().parse().unwrap()
}

/// Does something on a thread of its own that is on that network.
fn on<T: Send + 'static>(network: &File, what: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let network = network.try_clone().unwrap();
    std::thread::spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        what()
    })
}

/// What came of requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub done: usize,
    pub failed: Vec<(Instant, String)>,
    /// The longest that one took.
    pub longest: Duration,
    /// What was begun before does not count.
    since: Option<Instant>,
}

impl Tally {
    /// When the last one failed, since that moment.
    pub fn last_failure(&self, since: Instant) -> Duration {
        let last = self.failed.last().map(|(at, _)| at.saturating_duration_since(since));
        last.unwrap_or_default()
    }
}

/// One client.
pub struct Steady {
    what: String,
    over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Steady {
    /// Begins to ask from that network. What fails counts once something was answered.
    pub fn begin(network: &File, what: &str, ask: impl Fn() -> io::Result<()> + Send + 'static) -> Self {
        let (over, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Tally::default())));
        let (ends, notes) = (over.clone(), tally.clone());
        let thread = on(network, move || {
            while ask().is_err() && !ends.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
            }
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let result = ask();
                let mut tally = notes.lock().unwrap();
                if tally.since.is_some_and(|since| begun < since) {
                    continue;
                }
                tally.longest = tally.longest.max(begun.elapsed());
                match result {
                    Ok(()) => tally.done += 1,
                    Err(error) => tally.failed.push((Instant::now(), error.to_string())),
                }
                drop(tally);
                std::thread::sleep(PAUSE);
            }
        });
        Steady {
            what: what.to_owned(),
            over,
            tally,
            thread: Some(thread),
        }
    }

    /// Waits until something was answered.
    #[track_caller]
    pub fn answered(&self) {
        self.answered_often(1);
    }

    #[track_caller]
    fn answered_often(&self, least: usize) {
        let begun = Instant::now();
        while self.tally().done < least {
            let done = self.tally().done;
            assert!(begun.elapsed() < PATIENCE, "{}: only {done} were done", self.what);
            std::thread::sleep(PAUSE);
        }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Forgets what was begun until now.
    pub fn anew(&self) {
        *self.tally.lock().unwrap() = Tally {
            since: Some(Instant::now()),
            ..Tally::default()
        };
    }

    /// Ends it and says what came of it.
    pub fn end(mut self) -> Tally {
        self.stop();
        let tally = self.tally();
        let (what, failed) = (&self.what, tally.failed.len());
        println!(
            "{what}: {} done, {failed} failed, the longest took {:?}",
            tally.done, tally.longest
        );
        tally
    }

    /// As [`Steady::end`] once so many were done, where none may have failed.
    #[track_caller]
    pub fn end_well(self, least: usize) {
        self.answered_often(least);
        let what = self.what.clone();
        let tally = self.end();
        assert!(tally.failed.is_empty(), "{what}: {:?}", tally.failed);
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Fetches the page at an address, by a connection of its own.
pub fn page(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    match answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "answered {:?}",
            String::from_utf8_lossy(&answer)
        ))),
    }
}

/// Pages, with the patience of a client that gives lost packets their time.
pub fn pages(address: SocketAddr) -> impl Fn() -> io::Result<()> + Send {
    move || page(address, ANSWERED)
}

/// Asks a DNS server for the IPv4 address of a name.
pub fn lookups(server: SocketAddr, name: &str) -> impl Fn() -> io::Result<()> + Send {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(ANSWERED))?;
        socket.connect(server)?;
        socket.send(&question)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        let fine = length > question.len() && answer[3] & 0xf == 0 && answer[7] > 0;
        fine.then_some(()).ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A connection between two pods, on which something goes there and back all the time.
pub struct Flow {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    client: Option<JoinHandle<io::Result<()>>>,
}

impl Flow {
    /// From one network to an address of another; `words` go along each time.
    pub fn begin(from: &File, to: &File, address: IpAddr, port: u16, words: &'static str) -> Self {
        let (told, listens) = std::sync::mpsc::channel();
        on(to, move || {
            let listener = TcpListener::bind((address, port)).unwrap();
            told.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..length]).is_err() {
                    return;
                }
            }
        });
        listens.recv().unwrap();
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (over.clone(), rounds.clone());
        let client = on(from, move || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), ANSWERED)?;
            stream.set_read_timeout(Some(STANDS))?;
            stream.set_nodelay(true)?;
            while !ends.load(Ordering::Relaxed) {
                let said = format!("{words} {:08}", counts.load(Ordering::Relaxed));
                stream.write_all(said.as_bytes())?;
                let mut heard = vec![0; said.len()];
                stream.read_exact(&mut heard)?;
                if heard != said.as_bytes() {
                    return Err(io::Error::other("something else came back"));
                }
                counts.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            Ok(())
        });
        Flow {
            over,
            rounds,
            client: Some(client),
        }
    }

    /// Waits until it has gone there and back some more times; how long that took.
    #[track_caller]
    pub fn goes_on(&self, what: &str) -> Duration {
        let (begun, before) = (Instant::now(), self.rounds.load(Ordering::Relaxed));
        while self.rounds.load(Ordering::Relaxed) < before + 20 {
            let stands = self.client.as_ref().is_some_and(|client| !client.is_finished());
            assert!(stands, "{what}: the connection broke");
            assert!(begun.elapsed() < STANDS, "{what}: nothing goes through");
            std::thread::sleep(PAUSE);
        }
        begun.elapsed()
    }

    /// Ends it; it must have stood until now.
    #[track_caller]
    pub fn end(mut self) {
        self.goes_on("until the end");
        self.over.store(true, Ordering::Relaxed);
        let client = self.client.take().unwrap();
        client.join().unwrap().expect("the connection stood");
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
