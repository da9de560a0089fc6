//! Strings as numbers: a label travels to a plugin once, and is an integer from then on.
use sampan_sandbox::scheduler::Named;
use std::{collections::HashMap, sync::Arc};

/// Numbers given to strings, in the order they were first seen. 0 is the empty string.
#[derive(Debug)]
pub struct Symbols {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Default for Symbols {
    fn default() -> Self {
        let empty: Arc<str> = "".into();
        Symbols {
            numbers: HashMap::from([(empty.clone(), 0)]),
            texts: vec![empty],
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

    /// Those from a number on.
    pub fn named_from(&self, first: usize) -> impl Iterator<Item = Named> {
        let numbered = self.texts.iter().enumerate().skip(first.max(1));
        numbered.map(|(number, text)| Named {
            symbol: number as u32,
            text: text.to_string(),
        })
    }
}
