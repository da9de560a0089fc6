//! How much indexes may hold together, and which of them go.

/// Entries of all indexes together at the most, about 24 bytes each; beyond, the least recently used go.
const MOST_ENTRIES: usize = 2 << 20;
/// What an index takes beside its entries, in entries.
const EACH: usize = 64;

/// Which of the indexes have to go so that one of some size may be there beside the others, of a cluster of so many nodes.
/// Of each place it is said when the index there was asked last, and its size in entries; nothing where none is.
pub fn to_drop(indexes: impl Iterator<Item = Option<(u64, usize)>>, size: usize, nodes: usize) -> Vec<usize> {
    let most = MOST_ENTRIES.max(8 * nodes);
    let kept = indexes.enumerate().filter_map(|(place, index)| Some((index?, place)));
    let mut kept: Vec<((u64, usize), usize)> = kept.collect();
    let mut sum: usize = kept.iter().map(|((_, size), _)| size + EACH).sum();
    if sum + size <= most {
        return Vec::new();
    }
    // A good part at once, so that not every new one has to look for the oldest.
    kept.sort_unstable();
    let mut gone = Vec::new();
    for ((_, its), place) in kept {
        if sum + size <= most - most / 8 {
            break;
        }
        gone.push(place);
        sum -= its + EACH;
    }
    gone
}
