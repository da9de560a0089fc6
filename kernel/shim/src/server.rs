//! The shim's one loop: requests, output, signals.
mod peer;
mod requests;

use crate::{
    container::{Container, Context, Flow},
    protocol::{Call, ErrorKind, Event, Message, Outcome, Phase, Reply, ShimError},
    sys,
};
use peer::Peer;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::{AsFd, OwnedFd},
    io,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};
use std::{
    collections::BTreeMap,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

/// How long a shutdown waits for what it killed.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// How often a cgroup that is not empty yet is tried again. Nanoseconds.
const RETRY: i64 = 10_000_000;

/// What something that happened belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Listener,
    Signals,
    Peer(u32),
    Launch(u32),
    Output(u32, usize),
}

impl Source {
    fn encode(self) -> epoll::EventData {
        let (kind, number) = match self {
            Source::Listener => (0, 0),
            Source::Signals => (1, 0),
            Source::Peer(number) => (2, number),
            Source::Launch(number) => (3, number),
            Source::Output(number, stream) => (4 + stream as u64, number),
        };
        epoll::EventData::new_u64(kind << 32 | u64::from(number))
    }

    fn decode(data: epoll::EventData) -> Source {
        let (kind, number) = (data.u64() >> 32, data.u64() as u32);
        match kind {
            0 => Source::Listener,
            1 => Source::Signals,
            2 => Source::Peer(number),
            3 => Source::Launch(number),
            kind => Source::Output(number, (kind - 4) as usize),
        }
    }
}

/// A pod that is held.
pub struct Server {
    epoll: OwnedFd,
    listener: UnixListener,
    signals: OwnedFd,
    context: Context,
    peers: BTreeMap<u32, Peer>,
    containers: BTreeMap<u32, Container>,
    /// Cgroups of containers that are forgotten, but that something was still in.
    leftover: Vec<crate::cgroup::Cgroup>,
    next: u32,
    /// Since when it is being shut down, and whom to tell.
    closing: Option<(Instant, Option<(u32, u64)>)>,
}

impl Server {
    pub fn new(context: Context, listener: UnixListener, signals: OwnedFd) -> io::Result<Server> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, Source::Listener.encode(), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &signals, Source::Signals.encode(), epoll::EventFlags::IN)?;
        let (peers, containers, leftover) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Ok(Server {
            epoll,
            listener,
            signals,
            context,
            peers,
            containers,
            leftover,
            next: 1,
            closing: None,
        })
    }

    /// Serves until a shutdown is done.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            self.tidy();
            if self.closed() {
                return Ok(());
            }
            let retry = Timespec {
                tv_sec: 0,
                tv_nsec: RETRY,
            };
            let timeout = (self.closing.is_some() || self.untidy()).then_some(&retry);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
                Ok(_) | Err(io::Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            for event in &events {
                let flags = event.flags;
                self.handle(Source::decode(event.data), flags);
            }
        }
    }

    fn handle(&mut self, source: Source, flags: epoll::EventFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.take_signals(),
            Source::Peer(peer) => self.serve_peer(peer, flags),
            Source::Launch(number) => self.launched(number),
            Source::Output(number, stream) => {
                if let Some(container) = self.containers.get_mut(&number)
                    && container.pump(stream) == Flow::Ended
                {
                    // Closing it took it out of the set.
                    container.streams[stream] = None;
                }
            }
        }
    }

    fn watch(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        epoll::add(&self.epoll, fd, source.encode(), epoll::EventFlags::IN)
    }

    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let number = self.number();
            if self.watch(&stream, Source::Peer(number)).is_ok() {
                self.peers.insert(number, Peer::new(stream));
            }
        }
    }

    fn serve_peer(&mut self, number: u32, flags: epoll::EventFlags) {
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        if flags.contains(epoll::EventFlags::OUT) {
            peer.flush();
        }
        let lines = if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            peer.read()
        } else {
            Vec::new()
        };
        for line in lines {
            match serde_json::from_slice::<Call>(&line) {
                Ok(call) => self.answer(number, call),
                Err(error) => {
                    let id = serde_json::from_slice(&line)
                        .ok()
                        .and_then(|call: serde_json::Value| call["id"].as_u64());
                    let known = if error.to_string().contains("unknown variant") {
                        ErrorKind::Unsupported
                    } else {
                        ErrorKind::Invalid
                    };
                    let error = ShimError::new(known, format!("this shim does not understand the request: {error}"));
                    self.reply(number, id.unwrap_or(0), Err(error));
                }
            }
        }
        self.settle(number);
    }

    /// Waits for room to write if there is something to be written; forgets a peer that is gone.
    fn settle(&mut self, number: u32) {
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        if peer.gone {
            self.peers.remove(&number);
            return;
        }
        let flags = if peer.has_output() {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        if epoll::modify(&self.epoll, &peer.stream, Source::Peer(number).encode(), flags).is_err() {
            self.peers.remove(&number);
        }
    }

    fn reply(&mut self, number: u32, id: u64, result: Result<Reply, ShimError>) {
        let result = result.map_or_else(Outcome::Error, Outcome::Ok);
        if let Some(peer) = self.peers.get_mut(&number) {
            peer.send(&Message::Reply { id, result });
            self.settle(number);
        }
    }

    fn tell(&mut self, event: &Event) {
        let watching: Vec<u32> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.watches)
            .map(|(number, _)| *number)
            .collect();
        for number in watching {
            if let Some(peer) = self.peers.get_mut(&number) {
                peer.send(&Message::Event(event.clone()));
            }
            self.settle(number);
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = sys::next_signal(&self.signals) {
            if signal == libc::SIGTERM.cast_unsigned() {
                self.shut_down(None);
            }
        }
        self.reap();
    }

    /// Waits for whoever has ended: containers, and what they left to this process.
    fn reap(&mut self) {
        while let Some(pid) = sys::ended_child() {
            let found = self
                .containers
                .iter()
                .find(|(_, c)| c.state.pid == pid && c.state.phase != Phase::Exited);
            let number = found.map(|(number, container)| {
                container.kill_rest();
                *number
            });
            let Some(id) = Pid::from_raw(pid) else { return };
            let Ok(Some(status)) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) else {
                return;
            };
            if let Some(number) = number {
                self.ended(number, status.exit_status(), status.terminating_signal());
            }
        }
    }

    fn launched(&mut self, number: u32) {
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        // One that failed is answered when it has been waited for.
        if container.launched() != Some(true) {
            return;
        }
        let (state, warnings) = (container.state.clone(), std::mem::take(&mut container.warnings));
        if let Some((peer, id)) = container.waiting.take() {
            self.reply(
                peer,
                id,
                Ok(Reply::Started {
                    state: state.clone(),
                    warnings,
                }),
            );
        }
        self.tell(&Event::Started(state));
    }

    fn ended(&mut self, number: u32, code: Option<i32>, signal: Option<i32>) {
        self.launched(number);
        let Some(container) = self.containers.get_mut(&number) else {
            return;
        };
        container.ended(code, signal, &self.context.dir);
        let _ = container.cgroup.remove();
        let state = container.state.clone();
        if let Some((peer, id)) = container.waiting.take() {
            self.reply(
                peer,
                id,
                Err(ShimError::new(ErrorKind::StartFailed, state.message.clone())),
            );
        }
        self.tell(&Event::Exited(state));
    }
}
