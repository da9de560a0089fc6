//! What the demo says while it runs, and the table at its end.
use comfy_table::{Cell, Color, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// One thing the demo set out to see.
struct Check {
    what: &'static str,
    seen: String,
    good: bool,
}

/// Tells the story, and keeps what was seen.
pub struct Report {
    checks: Vec<Check>,
    left_out: Vec<(&'static str, String)>,
    terminal: bool,
    started: Instant,
}

impl Report {
    pub fn new() -> Self {
        Report {
            checks: Vec::new(),
            left_out: Vec::new(),
            terminal: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            started: Instant::now(),
        }
    }

    /// The next chapter: says what is under way until the returned step is finished.
    pub fn step(&self, what: &str) -> Step {
        let spinner = if self.terminal {
            let spinner = ProgressBar::new_spinner();
            spinner.set_style(
                ProgressStyle::with_template("  {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            spinner.set_message(what.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(80));
            Some(spinner)
        } else {
            None
        };
        Step {
            what: what.to_owned(),
            spinner,
            started: Instant::now(),
        }
    }

    /// Notes what was seen of something that had to be.
    pub fn check(&mut self, what: &'static str, good: bool, seen: impl Into<String>) {
        self.checks.push(Check {
            what,
            seen: seen.into(),
            good,
        });
    }

    /// Notes what could not be shown here, and why.
    pub fn leave_out(&mut self, what: &'static str, why: impl Into<String>) {
        self.left_out.push((what, why.into()));
    }

    /// Whether all that had to be seen was seen.
    pub fn good(&self) -> bool {
        self.checks.iter().all(|check| check.good)
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_header(["", "what had to happen", "what was seen"]);
        for check in &self.checks {
            let mark = if check.good { "yes" } else { "NO" };
            let mut cell = Cell::new(mark);
            if self.terminal {
                cell = cell.fg(if check.good { Color::Green } else { Color::Red });
            }
            table.add_row([cell, Cell::new(check.what), Cell::new(&check.seen)]);
        }
        for (what, why) in &self.left_out {
            table.add_row([Cell::new("left out"), Cell::new(what), Cell::new(why)]);
        }
        println!("\n{table}");
        let word = if self.good() {
            "All of it was seen"
        } else {
            "NOT all of it was seen"
        };
        println!("{word}, in {:.1} s.", self.started.elapsed().as_secs_f64());
    }
}

/// A chapter under way.
pub struct Step {
    what: String,
    spinner: Option<ProgressBar>,
    started: Instant,
}

impl Step {
    /// Ends the chapter with what came of it.
    pub fn done(self, outcome: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let took = self.started.elapsed();
        println!("  {:<46} {outcome} ({:.0} ms)", self.what, took.as_secs_f64() * 1000.0);
    }
}
