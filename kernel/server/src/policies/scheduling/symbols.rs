//! Strings as numbers: a label travels to a plugin once, and is an integer from then on.
use sampan_sandbox::scheduler::Delta;
use std::collections::HashMap;

/// Numbers given to strings, in the order they were first seen. 0 is the empty string.
#[derive(Debug)]
pub struct Symbols {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
    /// How many of `texts` were announced.
    announced: usize,
}

impl Default for Symbols {
    fn default() -> Self {
        Symbols {
            numbers: HashMap::from([(String::new(), 0)]),
            texts: vec![String::new()],
            announced: 1,
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
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    /// What was numbered since the last call.
    pub fn announce(&mut self) -> Vec<Delta> {
        let new = self.deltas_from(self.announced);
        self.announced = self.texts.len();
        new
    }

    /// All of them, for who knows none.
    pub fn all(&self) -> Vec<Delta> {
        self.deltas_from(1)
    }

    fn deltas_from(&self, first: usize) -> Vec<Delta> {
        let numbered = self.texts.iter().enumerate().skip(first);
        numbered
            .map(|(number, text)| Delta::Symbol((number as u32, text.clone())))
            .collect()
    }
}
