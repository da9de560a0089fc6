//! What depends on whether a person is looking: colours, warnings, and pipes that close early.
#![allow(unsafe_code)] // signal(2) has no safe form; it is called once, before any thread is started.
use sampan_api::rpc::NodeProblem;
use std::io::{IsTerminal, Write};

/// What a piece of text means; only terminals show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    Dim,
}

/// Whether stdout shows colours.
pub fn colours() -> bool {
    coloured(&std::io::stdout())
}

fn coloured(stream: &impl IsTerminal) -> bool {
    let off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !off && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether progress may be drawn on stderr.
pub fn draws_progress() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The text in its colour.
pub fn paint(tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Doubtful => "33",
        Tone::Bad => "31",
        Tone::Dim => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// `Warning: …` on stderr.
pub fn warn(text: &str) {
    let word = "Warning:";
    let word = if coloured(&std::io::stderr()) {
        paint(Tone::Doubtful, word)
    } else {
        word.to_owned()
    };
    eprintln!("{word} {text}");
}

/// Warnings of nodes that have no part in an answer.
pub fn warn_of(problems: &[NodeProblem]) {
    for NodeProblem { node, message } in problems {
        warn(&format!("node \"{node}\" is not among them: {message}"));
    }
}

/// An error on stderr.
pub fn complain(text: &str) {
    let red = coloured(&std::io::stderr());
    match text.split_once(':') {
        Some((word, rest)) if red => eprintln!("{}:{rest}", paint(Tone::Bad, word)),
        _ => eprintln!("{text}"),
    }
}

/// Ends the process quietly when the reader of its output goes away, as in `sampan get pods | head -1`. Not for servers,
/// which must outlive a closed pipe.
pub fn end_with_the_reader() {
    // SAFETY: called from `main` while the process has one thread; SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Writes output now: a watch is read line by line.
pub fn flush() {
    // A reader that went away ends the process by SIGPIPE; there is nothing else to do about it.
    let _ = std::io::stdout().flush();
}
