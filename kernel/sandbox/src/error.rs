//! What a plugin can fail with: when it is loaded, and when it is called.
use std::time::Duration;

/// Why a component is no plugin, or not one that is let in.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("these {size} bytes are no WebAssembly component: {reason}")]
    NotAComponent { size: usize, reason: String },
    #[error("it is a core module, not a component: make it one with `wasm-tools component new`")]
    CoreModule,
    #[error("it exports no world this version knows ({known}), but {exports}")]
    NoWorld { known: String, exports: String },
    #[error("it is for the world {found}, not {wanted}")]
    WrongWorld { found: String, wanted: String },
    #[error("it imports {import}, which was not granted: a plugin of the world {world} has no imports but its own")]
    Import { import: String, world: String },
    #[error("it does not keep the contract of its world: {reason}")]
    Contract { reason: String },
    #[error("it refuses its configuration: {reason}")]
    Configuration { reason: String },
    #[error("it fails when it is started: {0}")]
    Start(CallError),
    #[error("it has {size} bytes, and {limit} are the limit")]
    TooLarge { size: usize, limit: usize },
    /// Nothing is said of the plugin.
    #[error("it could not be compiled now: {reason}")]
    NotCompiled { reason: String },
}

impl LoadError {
    /// Whether another time it may go well.
    pub fn passes(&self) -> bool {
        matches!(self, LoadError::NotCompiled { .. })
    }
}

/// Why a call failed. After any of these but `Refused` the instance is of no more use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    #[error("it trapped: {0}")]
    Trap(String),
    #[error("it did not end within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("it asked for more than {} MiB of memory", .0 >> 20)]
    Memory(usize),
    /// The plugin's own words.
    #[error("it refused: {0}")]
    Refused(String),
    #[error("its answer makes no sense: {0}")]
    Rubbish(String),
    #[error("its instance failed before and was not replaced")]
    Poisoned,
}

impl CallError {
    pub(crate) fn refused(words: String) -> Self {
        CallError::Refused(bounded(words))
    }
}

/// What a guest or the engine says, short enough for a log and an event: a guest names its functions itself.
pub fn bounded(mut words: String) -> String {
    const MOST: usize = 4096;
    if words.len() > MOST {
        words.truncate(words.floor_char_boundary(MOST));
        words.push('…');
    }
    words
}
