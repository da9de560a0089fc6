//! The agent's side: starting a shim and talking to it. Blocking; an async client needs only [`connect`] and the framing.
use crate::{
    files,
    protocol::{Call, Event, MAX_LINE, Message, Outcome, PodSpec, Reply, Request, ShimError, ShimInfo},
};
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::OpenOptionsExt, net::UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long a call may take, and a shim to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a shim did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The shim refused, and says why.
    #[error(transparent)]
    Refused(#[from] ShimError),
    /// The shim is not there, or no longer: see `shim.json` and `shim.log` in the pod's directory.
    #[error("cannot talk to the pod's shim: {0}")]
    Io(#[from] io::Error),
    /// It said something that it should not.
    #[error("the pod's shim answered what was not expected: {0}")]
    Unexpected(String),
    /// It could not begin.
    #[error("cannot start the pod's shim: {0}")]
    Launch(String),
}

/// A shim that was started.
#[derive(Debug)]
pub struct Launched {
    /// It lives on when this is dropped; whoever is its parent must wait for it in the end.
    pub child: Child,
    /// Who it is.
    pub info: ShimInfo,
}

/// The command that holds the pod in `dir`, with its complaints in `dir/shim.log`. It prints one line on stdout, to be
/// given to [`parse_ready`], and closes it.
///
/// # Errors
/// Where `shim.log` cannot be opened.
pub fn command(shim: &Path, dir: &Path) -> io::Result<Command> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(dir.join("shim.log"))?;
    let mut command = Command::new(shim);
    command
        .args(["run", "--pod"])
        .arg(dir)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    Ok(command)
}

/// What a shim says once it can be connected to, or why it cannot.
///
/// # Errors
/// [`ClientError::Launch`] with the shim's reason.
pub fn parse_ready(line: &str) -> Result<ShimInfo, ClientError> {
    serde_json::from_str(line).map_err(|_| {
        let said: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let why = said.as_ref().and_then(|said| said["error"].as_str());
        ClientError::Launch(
            why.unwrap_or("it ended at once; see shim.log in the pod's directory")
                .to_owned(),
        )
    })
}

/// Writes `pod.json`, starts a shim, and waits until it can be connected to.
///
/// # Errors
/// Where the files cannot be written, the program cannot be run, or the shim says why it cannot hold the pod.
pub fn launch(shim: &Path, dir: &Path, pod: &PodSpec) -> Result<Launched, ClientError> {
    files::write_json(&dir.join("pod.json"), pod, true)?;
    let mut child = command(shim, dir)?
        .spawn()
        .map_err(|e| ClientError::Launch(format!("{}: {e}", shim.display())))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // A shim that hangs before it is ready has opened nothing that could hang; its death closes the pipe.
        BufReader::new(stdout.take(64 << 10)).read_line(&mut line)?;
    }
    match parse_ready(&line) {
        Ok(info) => Ok(Launched { child, info }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Connects to the shim of the pod in `dir`, however long that path is.
///
/// # Errors
/// Where no shim listens.
pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    let dir = File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/shim.sock", dir.as_raw_fd()))
}

/// A connection to a shim, for one thread.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    last: u64,
    /// Events that came while a reply was waited for.
    events: VecDeque<Event>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Client {
    /// Connects to the shim of the pod in `dir`.
    ///
    /// # Errors
    /// Where no shim listens.
    pub fn connect(dir: &Path) -> Result<Client, ClientError> {
        let stream = BufReader::new(connect(dir)?);
        Ok(Client {
            stream,
            last: 0,
            events: VecDeque::new(),
            begun: Vec::new(),
        })
    }

    /// Asks, and waits for the answer, at most a minute.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the shim refuses, others if it is gone.
    pub fn request(&mut self, request: Request) -> Result<Reply, ClientError> {
        self.last += 1;
        let mut line = serde_json::to_vec(&Call { id: self.last, request }).map_err(io::Error::from)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        loop {
            match self.receive(PATIENCE)? {
                Some(Message::Event(event)) => self.events.push_back(event),
                Some(Message::Reply { id, result }) if id == self.last => {
                    return match result {
                        Outcome::Ok(reply) => Ok(reply),
                        Outcome::Error(error) => Err(error.into()),
                    };
                }
                // The answer to a call that was given up.
                Some(Message::Reply { .. }) => {}
                None => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        }
    }

    /// The next event, after a `watch`. `Ok(None)` if none comes in time.
    ///
    /// # Errors
    /// Where the shim is gone.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.receive(timeout)? {
                Some(Message::Event(event)) => return Ok(Some(event)),
                Some(Message::Reply { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, ClientError> {
        self.stream
            .get_ref()
            .set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let room = (MAX_LINE - self.begun.len().min(MAX_LINE)) as u64;
        match (&mut self.stream).take(room).read_until(b'\n', &mut self.begun) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => read?,
        };
        if !self.begun.ends_with(b"\n") {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection").into());
        }
        let line = std::mem::take(&mut self.begun);
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| ClientError::Unexpected(error.to_string()))
    }
}
