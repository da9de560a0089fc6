//! One client: lines in, lines out, never waiting for it.
use crate::protocol::{MAX_LINE, Message};
use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

/// A client that lets more than this pile up is dropped; it can connect again and ask for the state. Bytes.
const MAX_OUTPUT: usize = 4 << 20;

pub struct Peer {
    pub stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    pub watches: bool,
    /// It closed, or did what it must not.
    pub gone: bool,
}

impl Peer {
    pub fn new(stream: UnixStream) -> Peer {
        Peer {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            watches: false,
            gone: false,
        }
    }

    /// The lines that have come in whole.
    pub fn read(&mut self) -> Vec<Vec<u8>> {
        let mut chunk = [0; 16 << 10];
        let mut lines = Vec::new();
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.gone = true,
                Ok(length) => {
                    for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
                        self.input.extend_from_slice(piece);
                        if self.input.ends_with(b"\n") {
                            lines.push(std::mem::take(&mut self.input));
                        }
                    }
                    self.gone |= self.input.len() > MAX_LINE;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => self.gone |= error.kind() != ErrorKind::WouldBlock,
            }
            // A short read has emptied the socket, or the next event tells of the rest.
            return lines;
        }
    }

    pub fn send(&mut self, message: &Message) {
        match serde_json::to_vec(message) {
            Ok(line) => self.output.extend(line.into_iter().chain([b'\n'])),
            Err(error) => eprintln!("cannot write a message: {error}"),
        }
        self.flush();
    }

    pub fn flush(&mut self) {
        while !self.output.is_empty() && !self.gone {
            match self.stream.write(&self.output) {
                Ok(written @ 1..) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => self.gone = true,
            }
        }
        self.gone |= self.output.len() > MAX_OUTPUT;
    }

    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }
}
