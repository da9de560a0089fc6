//! What clients ask for.
use super::{SHUTDOWN, Server, Source};
use crate::{
    container::{self, Container},
    error::SetupError,
    protocol::{Call, ContainerSpec, ContainerState, ErrorKind, Event, Phase, Reply, Request, ShimError},
};
use std::{fs, time::Instant};

/// A container's name is a directory's: a DNS label.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

impl Server {
    pub(super) fn answer(&mut self, peer: u32, call: Call) {
        let id = call.id;
        let result = match call.request {
            Request::Start(spec) => match self.start(peer, id, &spec) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Request::Signal { container, signal } => self.signal(&container, signal),
            Request::State => Ok(self.state()),
            Request::Remove { container } => self.remove(&container),
            Request::Watch => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.watches = true;
                }
                Ok(self.state())
            }
            Request::Shutdown => return self.shut_down(Some((peer, id))),
        };
        self.reply(peer, id, result);
    }

    fn state(&self) -> Reply {
        let mut containers: Vec<ContainerState> = self.containers.values().map(|c| c.state.clone()).collect();
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        Reply::State { containers }
    }

    fn find(&self, name: &str) -> Result<u32, ShimError> {
        let found = self
            .containers
            .iter()
            .find(|(_, container)| container.state.name == name);
        let missing = || ShimError::new(ErrorKind::NotFound, format!("this pod has no container \"{name}\""));
        found.map(|(number, _)| *number).ok_or_else(missing)
    }

    /// Answered when the program runs, unless this fails.
    fn start(&mut self, peer: u32, id: u64, spec: &ContainerSpec) -> Result<(), ShimError> {
        let name = &spec.name;
        if !is_name(name) {
            let message = format!("container name \"{name}\": expected a DNS label, as in \"web-1\"");
            return Err(ShimError::new(ErrorKind::Invalid, message));
        }
        if self.closing.is_some() {
            return Err(ShimError::new(ErrorKind::Conflict, "this pod is being shut down"));
        }
        if let Ok(before) = self.find(name) {
            if self.containers[&before].state.phase != Phase::Exited {
                return Err(ShimError::new(
                    ErrorKind::Conflict,
                    format!("container \"{name}\" is already there: stop it first"),
                ));
            }
            self.forget(before);
        }
        let number = self.number();
        match container::start(&mut self.context, spec) {
            Ok(mut container) => {
                container.waiting = Some((peer, id));
                let watched = self.watch_container(number, &container);
                self.containers.insert(number, container);
                watched.map_err(|error| {
                    let _ = self.containers[&number].signal(libc::SIGKILL);
                    ShimError::new(
                        ErrorKind::System,
                        format!("cannot wait for container \"{name}\": {error}"),
                    )
                })
            }
            Err(SetupError(why)) => {
                let message = format!("cannot start container \"{name}\": {why}");
                let mut container = Container::failed(spec, message.clone());
                container.save(&self.context.dir);
                let event = Event::Exited(container.state.clone());
                self.containers.insert(number, container);
                self.tell(&event);
                Err(ShimError::new(ErrorKind::StartFailed, message))
            }
        }
    }

    fn watch_container(&self, number: u32, container: &Container) -> rustix::io::Result<()> {
        if let Some(launch) = &container.launch {
            self.watch(launch, Source::Launch(number))?;
        }
        for (at, stream) in container.streams.iter().enumerate() {
            if let Some(stream) = stream {
                self.watch(&stream.pipe, Source::Output(number, at))?;
            }
        }
        Ok(())
    }

    fn signal(&self, name: &str, signal: i32) -> Result<Reply, ShimError> {
        if !(1..=64).contains(&signal) {
            return Err(ShimError::new(
                ErrorKind::Invalid,
                format!("signal {signal}: expected 1 to 64"),
            ));
        }
        let sent = self.containers[&self.find(name)?].signal(signal);
        let failed = |error| {
            ShimError::new(
                ErrorKind::System,
                format!("cannot signal container \"{name}\": {error}"),
            )
        };
        sent.map(|()| Reply::Done).map_err(failed)
    }

    fn remove(&mut self, name: &str) -> Result<Reply, ShimError> {
        let number = self.find(name)?;
        if self.containers[&number].state.phase != Phase::Exited {
            return Err(ShimError::new(
                ErrorKind::Conflict,
                format!("container \"{name}\" has not exited: stop it first"),
            ));
        }
        self.forget(number);
        let own = self.context.dir.join(name);
        match fs::remove_dir_all(&own) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ShimError::new(
                ErrorKind::System,
                format!("cannot remove {}: {error}", own.display()),
            )),
            _ => Ok(Reply::Done),
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(mut container) = self.containers.remove(&number)
            && !container.cgroup.remove()
        {
            self.leftover.push(container.cgroup);
        }
    }

    pub(super) fn shut_down(&mut self, whom: Option<(u32, u64)>) {
        for container in self.containers.values() {
            let _ = container.signal(libc::SIGKILL);
        }
        let since = self.closing.take().map_or_else(Instant::now, |(since, _)| since);
        self.closing = Some((since, whom));
    }

    /// Whether some cgroup is to be removed that something was still in.
    pub(super) fn untidy(&self) -> bool {
        let ended = self
            .containers
            .values()
            .filter(|container| container.state.phase == Phase::Exited);
        !self.leftover.is_empty() || ended.into_iter().any(|container| !container.cgroup.views().is_empty())
    }

    pub(super) fn tidy(&mut self) {
        self.leftover.retain_mut(|cgroup| {
            cgroup.kill();
            !cgroup.remove()
        });
        for container in self
            .containers
            .values_mut()
            .filter(|container| container.state.phase == Phase::Exited)
        {
            if !container.cgroup.remove() {
                container.cgroup.kill();
            }
        }
    }

    /// Whether a shutdown is done; then whoever asked for it is told.
    pub(super) fn closed(&mut self) -> bool {
        let Some((since, whom)) = self.closing else {
            return false;
        };
        let alive = self
            .containers
            .values()
            .any(|container| container.state.phase != Phase::Exited);
        if (alive || self.untidy()) && since.elapsed() < SHUTDOWN {
            return false;
        }
        let swept = match &self.context.pod.cgroup {
            Some(cgroup) => crate::cgroup::sweep(cgroup),
            None => Ok(()),
        };
        let _ = fs::remove_file(self.context.dir.join("shim.sock"));
        if let Some((peer, id)) = whom {
            let failed = |error: std::io::Error| ShimError::new(ErrorKind::System, error.to_string());
            self.reply(peer, id, swept.map(|()| Reply::Done).map_err(failed));
        }
        true
    }
}
