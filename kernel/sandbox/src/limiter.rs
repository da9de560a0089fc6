//! What an instance may take of the host: memory, tables, and how much crosses the boundary in one call.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use wasmtime::ResourceLimiter;

/// Bytes of linear memory that instances share.
#[derive(Clone, Debug)]
pub struct Budget {
    all: usize,
    left: Arc<AtomicUsize>,
}

impl Budget {
    pub fn of(all: usize) -> Self {
        Budget {
            all,
            left: Arc::new(AtomicUsize::new(all)),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bounds an instance's memories and tables, and remembers whether it ran into a bound.
#[derive(Debug)]
pub struct Limiter {
    limit: usize,
    budget: Budget,
    used: usize,
    elements: usize,
    refused: bool,
    /// What the others have taken was the reason.
    crowded: bool,
}

/// Elements of all tables together; far more than any compiler makes.
const TABLE_ELEMENTS: usize = 100_000;

impl Limiter {
    /// With so many bytes of linear memory at the most.
    pub fn new(limit: usize) -> Self {
        Self::sharing(limit, Budget::of(usize::MAX))
    }

    /// With so many bytes of linear memory at the most, as far as others leave them.
    pub fn sharing(limit: usize, budget: Budget) -> Self {
        Limiter {
            limit,
            budget,
            used: 0,
            elements: 0,
            refused: false,
            crowded: false,
        }
    }

    /// Bytes of linear memory now.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Forgets that it ran into a bound: a call that copes with it must not be blamed for the next one's trap.
    pub fn forgive(&mut self) {
        (self.refused, self.crowded) = (false, false);
    }

    /// Whether it asked for more than it may have.
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// The bytes that it shares, if those were not enough for all.
    pub fn crowded(&self) -> Option<usize> {
        self.crowded.then_some(self.budget.all)
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give_back(self.used);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.used.saturating_sub(current).saturating_add(desired);
        if after > self.limit {
            self.refused = true;
            return Ok(false);
        }
        // Memory never shrinks.
        let granted = self.budget.take(after - self.used);
        match granted {
            true => self.used = after,
            false => (self.refused, self.crowded) = (true, true),
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

    #[test]
    fn what_one_has_taken_is_missing_to_the_others_until_it_goes() {
        let budget = Budget::of(100);
        let mut one = Limiter::sharing(80, budget.clone());
        let mut other = Limiter::sharing(80, budget);
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!one.memory_growing(60, 90, None).unwrap());
        assert_eq!((one.refused(), one.crowded()), (true, None));
        assert!(!other.memory_growing(0, 41, None).unwrap());
        assert_eq!((other.refused(), other.crowded()), (true, Some(100)));
        assert!(other.memory_growing(0, 40, None).unwrap());
        drop(one);
        assert!(other.memory_growing(40, 80, None).unwrap());
    }
}
