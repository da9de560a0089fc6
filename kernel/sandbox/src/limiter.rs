//! What an instance may take of the host: memory, tables, and how much crosses the boundary in one call.
use wasmtime::ResourceLimiter;

/// Bounds an instance's memories and tables, and remembers whether it ran into a bound.
#[derive(Debug)]
pub struct Limiter {
    limit: usize,
    used: usize,
    refused: bool,
}

/// Elements of all tables together; far more than any compiler makes.
const TABLE_ELEMENTS: usize = 100_000;

impl Limiter {
    /// With so many bytes of linear memory at the most.
    pub fn new(limit: usize) -> Self {
        Limiter { limit, used: 0, refused: false }
    }


    /// Bytes of linear memory now.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether it asked for more than it may have.
    pub fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.used - current.min(self.used) + desired;
        let granted = after <= self.limit;
        if granted {
            self.used = after;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
