//! Bounds what is read of a tar while it is read: a few bytes of gzip can claim to be anything.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::error::{ImageError, Result};

/// Headers, long names and extended attributes of one entry. Bytes.
const MAX_METADATA: u64 = 4 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spent {
    Nothing,
    Bytes,
    Metadata,
}

struct State {
    limit: u64,
    /// Of the tar.
    left: Cell<u64>,
    /// Of the files in it.
    file_left: Cell<u64>,
    /// While the reader looks for the next entry.
    metadata_left: Cell<Option<u64>>,
    spent: Cell<Spent>,
}

/// Shared by the reader that is bounded and those who set its bounds.
#[derive(Clone)]
pub(super) struct Budget(Rc<State>);

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self(Rc::new(State {
            limit,
            left: Cell::new(limit),
            file_left: Cell::new(limit),
            metadata_left: Cell::new(None),
            spent: Cell::new(Spent::Nothing),
        }))
    }

    /// Runs something that keeps in memory what it reads.
    pub(super) fn metadata_only<T>(&self, read: impl FnOnce() -> T) -> T {
        self.0.metadata_left.set(Some(MAX_METADATA));
        let result = read();
        self.0.metadata_left.set(None);
        result
    }

    /// Counts what is written, which for a sparse file is more than what is read.
    pub(super) fn spend_file_bytes(&self, count: u64) -> Result<()> {
        match self.0.file_left.get().checked_sub(count) {
            Some(left) => {
                self.0.file_left.set(left);
                Ok(())
            }
            None => Err(self.exhausted("files")),
        }
    }

    /// The tar crate wraps errors; this puts the cause back.
    pub(super) fn explain<T>(&self, result: Result<T>, what: &str) -> Result<T> {
        match (self.0.spent.get(), result) {
            (Spent::Bytes, Err(_)) => Err(self.exhausted(what)),
            (Spent::Metadata, Err(_)) => {
                let what = format!("the header of an entry of {what}");
                Err(ImageError::too_large(what, format!("{} MiB", MAX_METADATA >> 20)))
            }
            (_, result) => result,
        }
    }

    fn exhausted(&self, what: &str) -> ImageError {
        ImageError::too_large(format!("{what}, unpacked,"), format!("{} bytes", self.0.limit))
    }

    /// How much may be read now.
    fn allowance(&self) -> io::Result<u64> {
        let state = &self.0;
        let left = state.left.get();
        let metadata_left = state.metadata_left.get();
        if left == 0 || metadata_left == Some(0) {
            state.spent.set(if left == 0 { Spent::Bytes } else { Spent::Metadata });
            return Err(io::Error::other("limit reached"));
        }
        Ok(left.min(metadata_left.unwrap_or(u64::MAX)))
    }

    fn spend(&self, count: u64) {
        let state = &self.0;
        state.left.set(state.left.get().saturating_sub(count));
        state
            .metadata_left
            .set(state.metadata_left.get().map(|left| left.saturating_sub(count)));
    }
}

/// A reader that keeps to a budget.
pub(super) struct Budgeted<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Budgeted<R> {
    pub(super) fn new(inner: R, budget: Budget) -> Self {
        Self { inner, budget }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = usize::try_from(self.budget.allowance()?).unwrap_or(usize::MAX);
        let length = buffer.len().min(allowance);
        let count = self.inner.read(&mut buffer[..length])?;
        self.budget.spend(count as u64);
        Ok(count)
    }
}
