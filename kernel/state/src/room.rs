//! Amounts of what pods ask for and nodes have: the four that all know, and extended resources by their names.
use sampan_api::quantity::Resources;
use std::collections::BTreeMap;

/// Amounts of all resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    pub usual: Resources,
    /// By name (`example.com/gpu`); none of them 0.
    pub others: BTreeMap<String, u64>,
}

impl Room {
    /// Both, by a rule for the amounts of each name.
    fn with(mut self, usual: Resources, other: &Room, rule: impl Fn(u64, u64) -> u64) -> Self {
        self.usual = usual;
        for (name, theirs) in &other.others {
            let amount = rule(self.others.get(name).copied().unwrap_or_default(), *theirs);
            match amount {
                0 => self.others.remove(name),
                amount => self.others.insert(name.clone(), amount),
            };
        }
        self
    }

    #[must_use]
    pub fn plus(self, other: &Room) -> Self {
        let usual = self.usual.plus(other.usual);
        self.with(usual, other, u64::saturating_add)
    }

    #[must_use]
    pub fn minus(self, other: &Room) -> Self {
        let usual = self.usual.minus(other.usual);
        self.with(usual, other, u64::saturating_sub)
    }

    /// The greater of the two in each.
    #[must_use]
    pub fn max(self, other: &Room) -> Self {
        let usual = self.usual.max(other.usual);
        self.with(usual, other, u64::max)
    }

    /// The first of the others of which `free` has too little, with what is asked for and what is free.
    pub fn short_of<'a>(&'a self, free: &Room) -> Option<(&'a str, u64, u64)> {
        let free = |name: &str| free.others.get(name).copied().unwrap_or_default();
        let mut asked = self.others.iter().map(|(name, asked)| (&**name, *asked, free(name)));
        asked.find(|(_, asked, free)| asked > free)
    }
}

impl From<Resources> for Room {
    fn from(usual: Resources) -> Self {
        Room {
            usual,
            others: BTreeMap::new(),
        }
    }
}
