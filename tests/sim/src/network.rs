//! The network: what becomes of a message on its way.
use crate::random::Random;
use std::collections::BTreeSet;

/// An end of a link: a member's id, or a client.
pub type Address = u64;

/// Clients' addresses begin here.
pub const CLIENTS: Address = 1000;

/// How links behave; times in microseconds, chances in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub loss: u64,
    pub duplicates: u64,
    pub delay: (u64, u64),
    /// Messages that take much longer than others.
    pub late: u64,
}

impl Weather {
    pub const CALM: Weather = Weather {
        loss: 0,
        duplicates: 0,
        delay: (100, 2_000),
        late: 0,
    };
}

/// All links.
pub struct Network {
    pub weather: Weather,
    /// Pairs that nothing gets through, from the first to the second.
    cut: BTreeSet<(Address, Address)>,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Network {
            weather,
            cut: BTreeSet::new(),
        }
    }

    /// When the copies of a message arrive, from now on; none if it is lost.
    pub fn arrivals(&self, from: Address, to: Address, random: &mut Random) -> Vec<u64> {
        let Weather {
            loss,
            duplicates,
            delay: (least, most),
            late,
        } = self.weather;
        if self.cut.contains(&(from, to)) || random.chance(loss, 1000) {
            return Vec::new();
        }
        let copies = 1 + u64::from(random.chance(duplicates, 1000));
        let mut arrival = |_| {
            let factor = if random.chance(late, 1000) { 20 } else { 1 };
            random.between(least, most) * factor
        };
        (0..copies).map(&mut arrival).collect()
    }

    /// Nothing gets from one side to the other any more, or only one way.
    pub fn part(&mut self, one: &[Address], other: &[Address], both_ways: bool) {
        for a in one {
            for b in other {
                self.cut.insert((*a, *b));
                if both_ways {
                    self.cut.insert((*b, *a));
                }
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }
}
