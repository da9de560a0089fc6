//! What a plugin has to know of the texts behind symbols: those that its config and Kubernetes' own rules name, and
//! which ones are numbers. The others are compared as symbols only, so they are kept only where a policy reads them.
use crate::scheduler::hashing::Map;
use std::collections::HashMap;

/// No symbol.
pub const UNKNOWN: u32 = u32::MAX;

/// Symbols whose texts are kept at the most: they are small and dense.
const SYMBOLS: usize = 1 << 24;

pub const HOSTNAME: &str = "kubernetes.io/hostname";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Texts of interest, and numbers.
#[derive(Debug, Default)]
pub struct Names {
    /// By symbol, where all of them are kept.
    texts: Option<Vec<String>>,
    known: HashMap<String, u32>,
    numbers: Map<u32, i64>,
    unschedulable: Option<u32>,
    not_ready: Option<u32>,
    hostname: Option<u32>,
}

impl Names {
    /// With these texts to look out for.
    pub fn watching<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        Names {
            known: texts.map(|text| (text.to_owned(), UNKNOWN)).collect(),
            ..Names::default()
        }
    }

    /// With all texts.
    pub fn all() -> Self {
        Names {
            texts: Some(Vec::new()),
            ..Names::default()
        }
    }

    /// A symbol gets its text; whether that is news to the rules.
    pub fn define(&mut self, symbol: u32, text: &str) -> bool {
        // As Kubernetes reads the operands of `Gt` and `Lt`.
        if let Ok(number) = text.parse() {
            self.numbers.insert(symbol, number);
        }
        if let Some(texts) = &mut self.texts {
            let place = symbol as usize;
            if place < SYMBOLS {
                if texts.len() <= place {
                    texts.resize(place + 1, String::new());
                }
                text.clone_into(&mut texts[place]);
                self.known.insert(text.to_owned(), symbol);
            }
        }
        let own = match text {
            UNSCHEDULABLE => Some(&mut self.unschedulable),
            NOT_READY => Some(&mut self.not_ready),
            HOSTNAME => Some(&mut self.hostname),
            _ => None,
        };
        let own = own.is_some_and(|own| own.replace(symbol) != Some(symbol));
        let watched = self.known.get_mut(text);
        own | watched.is_some_and(|known| std::mem::replace(known, symbol) != symbol)
    }

    /// The text of a symbol, where all are kept. Symbol 0 is the empty one.
    pub fn text(&self, symbol: u32) -> &str {
        let texts = self.texts.as_deref().unwrap_or_default();
        texts.get(symbol as usize).map_or("", String::as_str)
    }

    /// The symbol of a text that is kept; [`UNKNOWN`] while it has none.
    pub fn symbol(&self, text: &str) -> u32 {
        self.known.get(text).copied().unwrap_or(UNKNOWN)
    }

    pub fn number(&self, symbol: u32) -> Option<i64> {
        self.numbers.get(&symbol).copied()
    }

    pub fn hostname(&self) -> u32 {
        self.hostname.unwrap_or(UNKNOWN)
    }

    /// The key of the taint that a cordoned node has.
    pub fn unschedulable(&self) -> u32 {
        self.unschedulable.unwrap_or(UNKNOWN)
    }

    /// The key of the taint that a node has which is not ready.
    pub fn not_ready(&self) -> u32 {
        self.not_ready.unwrap_or(UNKNOWN)
    }
}
