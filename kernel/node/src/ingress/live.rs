//! A table with its backends: those that an earlier table had keep their connections.
use super::{table::Table, upstream::Upstream};
use sampan_sandbox::ingress::Protocol;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What requests are answered by from now on. Whoever has begun with an earlier one ends with it.
#[derive(Default)]
pub struct Live {
    pub table: Arc<Table>,
    pools: Vec<Pool>,
    upstreams: HashMap<(SocketAddr, Protocol), Arc<Upstream>>,
}

struct Pool {
    /// Each with the sum of the weights up to it.
    backends: Vec<(u64, Arc<Upstream>)>,
    turn: AtomicU64,
}

/// 2⁶⁴ by the golden ratio: of its multiples, cut off at 2⁶⁴, any few that follow each other are spread evenly.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

impl Live {
    pub fn new(table: Arc<Table>, before: &Live) -> Self {
        let mut upstreams = HashMap::new();
        let pools = table.pools().iter().map(|place| {
            let mut sum = 0;
            let backends = place.backends.iter().map(|(address, weight)| {
                let key = (*address, place.protocol);
                let known = || before.upstreams.get(&key).cloned();
                let upstream = upstreams
                    .entry(key)
                    .or_insert_with(|| known().unwrap_or_else(|| Upstream::new(*address, place.protocol)));
                sum += u64::from(*weight);
                (sum, upstream.clone())
            });
            Pool {
                backends: backends.collect(),
                turn: AtomicU64::new(rand::random()),
            }
        });
        let pools = pools.collect();
        Live {
            table,
            pools,
            upstreams,
        }
    }

    /// The backends of a pool in the order in which they are to be asked: each comes first as often as its weight says, in
    /// turn; those that could not be reached of late come last.
    pub fn backends(&self, pool: usize) -> Vec<Arc<Upstream>> {
        let Some(pool) = self.pools.get(pool) else {
            return Vec::new();
        };
        let Some((sum, _)) = pool.backends.last() else {
            return Vec::new();
        };
        let turn = pool.turn.fetch_add(STRIDE, Ordering::Relaxed);
        let place = ((u128::from(turn) * u128::from(*sum)) >> 64) as u64;
        let first = pool.backends.partition_point(|(up_to, _)| *up_to <= place);
        let (before, from) = pool.backends.split_at(first);
        let order = || from.iter().chain(before).map(|(_, upstream)| upstream);
        let good = order().filter(|upstream| !upstream.is_avoided());
        let avoided = order().filter(|upstream| upstream.is_avoided());
        good.chain(avoided).take(MOST_TRIED).cloned().collect()
    }

    /// Lets connections go that nobody needs.
    pub fn sweep(&self) {
        self.upstreams.values().for_each(|upstream| upstream.sweep());
    }
}

/// Backends that are tried for one request.
const MOST_TRIED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sandbox::{
        ingress::{Backend, Entry, Pool, Routing},
        network::Address,
    };

    fn live(weights: &[u16], before: &Live) -> Live {
        let backend = |(last, weight): (u32, &u16)| Backend {
            address: Address::V4(0x7f00_0000 + last),
            port: 80,
            weight: *weight,
        };
        let pool = Entry::Pool(Pool {
            name: "web".to_owned(),
            protocol: Protocol::Http1,
            backends: (1..).zip(weights).map(backend).collect(),
        });
        Live::new(Arc::new(Table::of(&Routing::with([pool]))), before)
    }

    fn firsts(live: &Live, turns: usize) -> HashMap<SocketAddr, usize> {
        let mut counts = HashMap::new();
        for _ in 0..turns {
            *counts.entry(live.backends(0)[0].address).or_default() += 1;
        }
        counts
    }

    #[test]
    fn weights_are_kept_and_turns_are_even() {
        let weighted = live(&[9, 1, 0], &Live::default());
        let counts = firsts(&weighted, 1000);
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort();
        assert_eq!(counts.len(), 2, "without a weight none comes");
        assert!((95..=105).contains(&counts[0]), "{counts:?}");
        // Of four alike, any eight that follow each other ask each of them at least once.
        let even = live(&[1, 1, 1, 1], &Live::default());
        for _ in 0..50 {
            assert_eq!(firsts(&even, 8).len(), 4);
        }
        assert_eq!(even.backends(0).len(), 4);
        assert!(live(&[0], &Live::default()).backends(0).is_empty());
        assert!(even.backends(1).is_empty());
    }

    #[test]
    fn backends_that_stay_keep_what_they_have() {
        let before = live(&[1, 1], &Live::default());
        let after = live(&[1, 1, 1], &before);
        let same = after.upstreams.iter().filter(|(key, upstream)| {
            let known = before.upstreams.get(key);
            known.is_some_and(|known| Arc::ptr_eq(known, upstream))
        });
        assert_eq!((same.count(), after.upstreams.len()), (2, 3));
    }
}
