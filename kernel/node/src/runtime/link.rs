//! The conversation with a shim: calls and replies told apart by number, and what happens, in the order it happened.
use sampan_shim::{Call, ContainerState, Event, MAX_LINE, Message, Outcome, Reply, Request, ShimError};
use std::{collections::HashMap, io, os::fd::AsRawFd, path::Path};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

/// What a shim tells unasked.
#[derive(Debug)]
pub enum Heard {
    Event(Event),
    /// It is gone.
    Closed,
}

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The shim says why.
    #[error(transparent)]
    Refused(#[from] ShimError),
    #[error("the pod's shim is gone")]
    Gone,
}

type Answer = oneshot::Sender<Result<Reply, CallError>>;

/// A connection to a shim. Cloning shares it; it closes with the last.
#[derive(Clone, Debug)]
pub struct Link {
    calls: mpsc::UnboundedSender<(Request, Answer)>,
}

impl Link {
    /// Connects to the shim of `dir` and watches it: what it says from then on goes to `heard`. Gives what it has now.
    ///
    /// # Errors
    /// If nobody answers, or not what is expected.
    pub async fn connect(
        dir: &Path,
        heard: impl Fn(Heard) + Send + 'static,
    ) -> io::Result<(Self, Vec<ContainerState>)> {
        // By way of a handle: the path may be longer than the address of a socket can be.
        let handle = std::fs::File::open(dir)?;
        let path = format!("/proc/self/fd/{}/shim.sock", handle.as_raw_fd());
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let (calls, receiver) = mpsc::unbounded_channel();
        let link = Link { calls };
        let conversation = Conversation {
            writer,
            receiver,
            waiting: HashMap::new(),
            next: 1,
            heard: Box::new(heard),
        };
        tokio::spawn(conversation.run(BufReader::new(reader)));
        match link.call(Request::Watch).await {
            Ok(Reply::State { containers }) => Ok((link, containers)),
            Ok(_) => Err(io::Error::other("the shim answered something else than its state")),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the shim says, or that it is gone.
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let (answer, wait) = oneshot::channel();
        self.calls.send((request, answer)).map_err(|_| CallError::Gone)?;
        wait.await.map_err(|_| CallError::Gone)?
    }
}

struct Conversation {
    writer: OwnedWriteHalf,
    receiver: mpsc::UnboundedReceiver<(Request, Answer)>,
    waiting: HashMap<u64, Answer>,
    next: u64,
    heard: Box<dyn Fn(Heard) + Send>,
}

impl Conversation {
    async fn run(mut self, mut reader: BufReader<OwnedReadHalf>) {
        let mut line = Vec::new();
        loop {
            tokio::select! {
                read = read_line(&mut reader, &mut line) => {
                    // A line is kept between turns of the loop until it is whole.
                    match read {
                        Ok(true) => self.take(&line),
                        Ok(false) | Err(_) => break (self.heard)(Heard::Closed),
                    }
                    line.clear();
                }
                call = self.receiver.recv() => {
                    // Nobody holds the link any more: it was let go of, which is no event.
                    let Some((request, answer)) = call else { break };
                    let id = self.next;
                    self.next += 1;
                    self.waiting.insert(id, answer);
                    let Ok(mut text) = serde_json::to_vec(&Call { id, request }) else { continue };
                    text.push(b'\n');
                    if self.writer.write_all(&text).await.is_err() {
                        break (self.heard)(Heard::Closed);
                    }
                }
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Message::Event(event)) => (self.heard)(Heard::Event(event)),
            Ok(Message::Reply { id, result }) => {
                if let Some(answer) = self.waiting.remove(&id) {
                    let _ = answer.send(match result {
                        Outcome::Ok(reply) => Ok(reply),
                        Outcome::Error(error) => Err(error.into()),
                    });
                }
            }
            // A newer shim may say what this agent does not know.
            Err(error) => tracing::debug!(%error, "a shim said something unknown"),
        }
    }
}

/// Appends to `line` until it is whole. Can be dropped and called again. False at the end.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(false);
        }
        let newline = available.iter().position(|byte| *byte == b'\n');
        let length = newline.map_or(available.len(), |at| at + 1);
        line.extend_from_slice(&available[..length]);
        reader.consume(length);
        if line.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        if newline.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[tokio::test]
    async fn replies_find_their_calls_and_events_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than a socket's address.
        let deep = dir.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let handle = std::fs::File::open(&deep).unwrap();
        let listener =
            tokio::net::UnixListener::bind(format!("/proc/self/fd/{}/shim.sock", handle.as_raw_fd())).unwrap();
        let shim = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let mut say = async |value: Value| writer.write_all(format!("{value}\n").as_bytes()).await.unwrap();
            let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].clone();
            let watch = id(lines.next_line().await.unwrap().unwrap());
            say(json!({"reply": {"id": watch, "result": {"ok": {"state": {"containers": []}}}}})).await;
            let first = id(lines.next_line().await.unwrap().unwrap());
            let second = id(lines.next_line().await.unwrap().unwrap());
            say(json!({"novelty": 1})).await;
            say(json!({"reply": {"id": second, "result": {"ok": "done"}}})).await;
            let error = json!({"kind": "notFound", "message": "no container web"});
            say(json!({"reply": {"id": first, "result": {"error": error}}})).await;
        });
        let closed = Arc::new(tokio::sync::Notify::new());
        let notify = closed.clone();
        let heard = move |heard| {
            if matches!(heard, Heard::Closed) {
                notify.notify_one()
            }
        };
        let (link, containers) = Link::connect(&deep, heard).await.unwrap();
        assert!(containers.is_empty());
        let signal = link.call(Request::Signal {
            container: "web".into(),
            signal: 15,
        });
        let (first, second) = tokio::join!(signal, link.call(Request::Shutdown));
        assert_eq!(first.unwrap_err().to_string(), "no container web");
        assert_eq!(second.unwrap(), Reply::Done);
        shim.await.unwrap();
        closed.notified().await;
        assert!(matches!(link.call(Request::State).await, Err(CallError::Gone)));
    }
}
