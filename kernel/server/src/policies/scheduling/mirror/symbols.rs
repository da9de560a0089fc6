//! Strings as numbers: a label travels to a plugin once, and is an integer from then on.
use sampan_sandbox::scheduler::Named;
use std::{collections::HashMap, sync::Arc};

/// So many strings may have come since all was read anew before it is worth to do that again: some tens of megabytes, here and
/// in each instance.
const SPARE: usize = 1 << 18;

/// Numbers given to strings, in the order they were first seen. 0 is the empty string. A number is for good: plugins, and what
/// is recorded, know it. So what nobody says any more goes only when everything is read anew.
#[derive(Debug)]
pub struct Symbols {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    /// How many were in use when all had been read.
    in_use: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        let empty: Arc<str> = "".into();
        Symbols {
            numbers: HashMap::from([(empty.clone(), 0)]),
            texts: vec![empty],
            in_use: 0,
        }
    }
}

impl Symbols {
    /// The string's number, given now if it has none.
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// The string's number, if it has one.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }

    /// How many there are, with the empty one.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// All has been read: whatever is here is in use.
    pub fn settle(&mut self) {
        self.in_use = self.count();
    }

    /// Whether so many have come since that most may be out of use: to read all anew pays, and seldom happens.
    pub fn are_overgrown(&self) -> bool {
        self.count() > 2 * self.in_use + SPARE
    }

    /// Those from a number on.
    pub fn named_from(&self, first: usize) -> impl Iterator<Item = Named> {
        let numbered = self.texts.iter().enumerate().skip(first.max(1));
        numbered.map(|(number, text)| Named {
            symbol: number as u32,
            text: text.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_forgotten_now_and_then_and_what_stays_is_not_in_the_way() {
        let grow = |symbols: &mut Symbols, strings: usize| {
            let from = symbols.count();
            (from..from + strings).for_each(|n| assert_eq!(symbols.number(&format!("s{n}")) as usize, n));
        };
        let mut symbols = Symbols::default();
        grow(&mut symbols, SPARE - 1);
        assert!(!symbols.are_overgrown());
        grow(&mut symbols, 1);
        assert!(symbols.are_overgrown());
        // All of them are in use: it takes twice as many.
        symbols.settle();
        let in_use = symbols.count();
        grow(&mut symbols, in_use + SPARE);
        assert!(!symbols.are_overgrown());
        grow(&mut symbols, 1);
        assert!(symbols.are_overgrown());
    }
}
