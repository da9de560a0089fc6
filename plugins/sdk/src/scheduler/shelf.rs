//! How much indexes may hold together, and which of them go.

/// Entries of all indexes together at the most, about 24 bytes each; beyond, the least recently used go.
const MOST_ENTRIES: usize = 2 << 20;
/// What an index takes beside its entries, in entries.
const EACH: usize = 64;

/// An index that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// When it was asked last.
    pub used: u64,
    pub place: usize,
    /// In entries.
    pub size: usize,
}

/// Which of the indexes have to go so that one of some size may be there beside the others, of a cluster of so many nodes.
pub fn to_drop(kept: impl Iterator<Item = Kept>, size: usize, nodes: usize) -> Vec<usize> {
    let most = MOST_ENTRIES.max(8 * nodes);
    let mut kept: Vec<Kept> = kept.collect();
    let mut sum: usize = kept.iter().map(|kept| kept.size + EACH).sum();
    if sum + size <= most {
        return Vec::new();
    }
    // A good part at once, so that not every new one has to look for the oldest.
    kept.sort_unstable();
    let mut gone = Vec::new();
    for kept in kept {
        if sum + size <= most - most / 8 {
            break;
        }
        gone.push(kept.place);
        sum -= kept.size + EACH;
    }
    gone
}
