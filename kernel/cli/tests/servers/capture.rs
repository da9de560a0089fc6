//! What is seen on the wire between hosts: nothing of what pods say to each other can be read.
use crate::{
    churning::set_up,
    group::{NODES, play},
    network::ip,
    nodes::ended,
    steady::{Flow, address, of_pod},
    tools::have,
};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    fs::File,
    net::UdpSocket,
    num::NonZero,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// `ETH_P_ALL`, in the network's order.
const ALL: u32 = 0x0300;

/// Everything that goes by in a network is looked through for some words.
struct Capture {
    over: Arc<AtomicBool>,
    frames: Arc<AtomicUsize>,
    found: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    fn begin(network: File, words: &'static [u8]) -> Self {
        let mut capture = Capture {
            over: Arc::default(),
            frames: Arc::default(),
            found: Arc::default(),
            thread: None,
        };
        let (over, frames, found) = (capture.over.clone(), capture.frames.clone(), capture.found.clone());
        let (told, listens) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let protocol = NonZero::new(ALL).map(Protocol::from_raw);
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket: OwnedFd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol).unwrap();
            told.send(()).unwrap();
            let mut frame = vec![0; 1 << 16];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, _)) = recv(&socket, &mut frame[..], RecvFlags::empty()) else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                frames.fetch_add(1, Ordering::Relaxed);
                let seen = frame[..length].windows(words.len()).any(|part| part == words);
                found.fetch_add(usize::from(seen), Ordering::Relaxed);
            }
        });
        listens.recv().unwrap();
        capture.thread = Some(thread);
        capture
    }

    /// Frames that went by, and those that had the words.
    fn counts(&self) -> (usize, usize) {
        (self.frames.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const WORDS: &str = "what only the two pods may read";

#[test]
fn nothing_that_pods_say_to_each_other_can_be_read_between_hosts() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let networks: Vec<File> = clients.iter().map(|client| of_pod(group, client)).collect();
        let capture = Capture::begin(group.network.bridge(), WORDS.as_bytes());
        let flow = Flow::begin(&networks[0], &networks[1], address(&clients[1]), 9000, WORDS);
        for _ in 0..10 {
            flow.goes_on("the pods talk");
        }
        flow.end();
        let (frames, found) = capture.counts();
        println!("{frames} frames went by, {found} of them could be read");
        assert!(frames > 200 && found == 0, "{found} of {frames} frames");
        // What is said outside of the overlay is seen.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(WORDS.as_bytes(), (ip(NODES[0]), 9)).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(capture.counts().1 > 0, "the capture sees what can be read");
        drop(capture);
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}
