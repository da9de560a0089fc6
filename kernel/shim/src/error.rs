//! Why something could not be set up, as a sentence for the user.
use std::io;

/// What failed, and the system's reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub String);

/// Says what was being done when the system refused.
pub trait Doing<T> {
    /// The sentence is made only if it is needed.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, SetupError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, SetupError> {
        self.map_err(|error| SetupError(format!("{}: {}", what(), reason(&error.into()))))
    }
}

/// The system's words, as they are within a sentence: `no such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let refused: Result<(), _> = Err(rustix::io::Errno::NOENT);
        let error = refused.doing(|| "exec \"/bin/nope\"".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "exec \"/bin/nope\": no such file or directory");
    }
}
