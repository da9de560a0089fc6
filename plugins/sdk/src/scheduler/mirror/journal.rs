//! Which nodes changed, in order, so that who keeps something about nodes can catch up.

/// The bit of an entry that says: more than who is there changed.
const SHAPE: u32 = 1 << 31;

/// Numbers of nodes that changed, oldest first.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Vec<u32>,
    /// How many were dropped before the first entry.
    forgotten: usize,
}

/// A node that changed.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    pub node: u32,
    /// Its labels, taints or amounts changed, not only its pods.
    pub shape: bool,
}

impl Journal {
    /// A node changed; of `nodes` that there are.
    pub fn touch(&mut self, node: u32, shape: bool, nodes: usize) {
        self.entries.push(node | if shape { SHAPE } else { 0 });
        // Who is so far behind starts anew.
        if self.entries.len() > 4 * nodes + 1024 {
            let half = self.entries.len() / 2;
            self.entries.drain(..half);
            self.forgotten += half;
        }
    }

    /// The position after the newest entry.
    pub fn end(&self) -> usize {
        self.forgotten + self.entries.len()
    }

    /// What changed from a position on; none if that is forgotten.
    pub fn since(&self, position: usize) -> Option<impl ExactSizeIterator<Item = Touched> + '_> {
        let entries = self.entries.get(position.checked_sub(self.forgotten)?..)?;
        Some(entries.iter().map(|entry| Touched {
            node: entry & !SHAPE,
            shape: entry & SHAPE != 0,
        }))
    }
}
