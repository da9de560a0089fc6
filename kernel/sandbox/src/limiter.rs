//! What an instance may take of the host: memory, tables, and how much crosses the boundary in one call.
use wasmtime::ResourceLimiter;

/// Bounds an instance's memories and tables, and remembers whether it ran into a bound.
#[derive(Debug)]
pub struct Limiter {
    limit: usize,
    used: usize,
    elements: usize,
    refused: bool,
}

/// Elements of all tables together; far more than any compiler makes.
const TABLE_ELEMENTS: usize = 100_000;

impl Limiter {
    /// With so many bytes of linear memory at the most.
    pub fn new(limit: usize) -> Self {
        Limiter {
            limit,
            used: 0,
            elements: 0,
            refused: false,
        }
    }

    /// Bytes of linear memory now.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Forgets that it ran into a bound: a call that copes with it must not be blamed for the next one's trap.
    pub fn forgive(&mut self) {
        self.refused = false;
    }

    /// Whether it asked for more than it may have.
    pub fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.used.saturating_sub(current).saturating_add(desired);
        let granted = after <= self.limit;
        if granted {
            self.used = after;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.elements.saturating_sub(current).saturating_add(desired);
        let granted = after <= TABLE_ELEMENTS;
        if granted {
            self.elements = after;
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_all_tables_count_together() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 50, None).unwrap());
        assert!(limiter.refused());
        limiter.forgive();
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert!(!limiter.refused());
        assert_eq!(limiter.used(), 100);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
    }
}
