//! How errors reach the user: as kubectl prints them, on stderr, with exit code 1.
use crate::terminal;
use anyhow::Result;
use sampan_api::ApiError;

/// An error that was printed where it happened; only the exit code is left to say.
#[derive(Debug, thiserror::Error)]
#[error("failed; the reasons are above")]
pub struct Told;

/// The server could not be asked; says why and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Prints an error, unless it was told before.
pub fn tell(error: &anyhow::Error) {
    if !error.is::<Told>() {
        terminal::complain(&words(error));
    }
}

/// `Error from server (NotFound): pods "x" not found`, or `error: …` for what went wrong on this side.
pub fn words(error: &anyhow::Error) -> String {
    match error.chain().find_map(|cause| cause.downcast_ref::<ApiError>()) {
        Some(api) => format!("Error from server ({}): {}", api.reason.as_str(), causes(error)),
        None => format!("error: {}", causes(error)),
    }
}

/// An error and what it came of. Some say their cause themselves: it is not said again.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.contains(&cause) {
            true => {}
            false if text.is_empty() => text = cause,
            false => text = format!("{text}: {cause}"),
        }
    }
    text
}

/// Whether it is the server's word that there is no such object.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    reason(error) == Some(sampan_api::Reason::NotFound)
}

/// The server's reason, if the server refused; `Unavailable` if it could not be asked.
pub fn reason(error: &anyhow::Error) -> Option<sampan_api::Reason> {
    error.chain().find_map(|cause| {
        let unreachable = cause.is::<Unreachable>().then_some(sampan_api::Reason::Unavailable);
        unreachable.or_else(|| cause.downcast_ref::<ApiError>().map(|api| api.reason))
    })
}

/// Goes on after errors, so that one bad object does not stop the others, and remembers that there were some.
#[derive(Default)]
pub struct Tally {
    failed: bool,
}

impl Tally {
    /// Tells the error, if it is one.
    pub fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.fail(&error)).ok()
    }

    /// Tells an error.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.failed = true;
        tell(error);
    }

    /// Whether anything failed.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// # Errors
    /// [`Told`] if anything failed.
    pub fn finish(self) -> Result<()> {
        if self.failed { Err(Told.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use sampan_api::Key;

    #[test]
    fn speaks_as_kubectl() {
        let missing = || Err::<(), _>(ApiError::not_found(&Key::new("pods", "default", "x")));
        let error = missing().map_err(anyhow::Error::from).unwrap_err();
        assert_eq!(words(&error), "Error from server (NotFound): pods \"x\" not found");
        assert!(is_not_found(&error));
        let disk = || std::io::Error::other("the disk is gone");
        let error = anyhow::Error::from(disk()).context(format!("a.snap: {}", disk()));
        assert_eq!(
            words(&error.context("nothing is saved")),
            "error: nothing is saved: a.snap: the disk is gone"
        );
        let error = missing().context("a.yaml:1:1").unwrap_err();
        assert_eq!(
            words(&error),
            "Error from server (NotFound): a.yaml:1:1: pods \"x\" not found"
        );
        assert_eq!(words(&anyhow::anyhow!("no")), "error: no");
    }

    #[test]
    fn a_tally_remembers() {
        assert!(Tally::default().finish().is_ok());
        let mut tally = Tally::default();
        assert_eq!(tally.note(Ok(1)), Some(1));
        assert_eq!(tally.note::<()>(Err(Told.into())), None);
        assert!(tally.finish().unwrap_err().is::<Told>());
    }
}
