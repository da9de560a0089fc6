//! `doctor`: what this host has and lacks for a node, and how to get it. It changes nothing on the host.
mod disk;
mod kernel;
mod network;

use crate::{
    print::{Table, format, yaml},
    terminal,
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sampan doctor\n  sudo sampan doctor --data-dir /srv/sampan\n  sampan doctor -o json"
)]
pub struct DoctorArgs {
    /// Where the cluster's data is to be [default: as `sampan up`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the server is to listen
    #[arg(long, value_name = "ADDRESS", default_value_t = crate::up::LISTEN)]
    listen: SocketAddr,
    /// How to print it
    #[arg(short = 'o', long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Json,
    Yaml,
}

/// How good what was found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Something does not work, or not well.
    Warn,
    /// A node does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    /// What there is.
    pub found: String,
    /// How to get what there is not; empty where nothing is missing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding {
            check,
            level: Level::Ok,
            found: found.into(),
            remedy: String::new(),
        }
    }

    pub fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            check,
            level: Level::Warn,
            found: found.into(),
            remedy: remedy.into(),
        }
    }

    pub fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            check,
            level: Level::Fail,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let data = crate::up::data_dir(args.data_dir.as_deref())?;
    let root = rustix::process::geteuid().is_root();
    let findings = vec![
        kernel::version(),
        kernel::rights(root),
        kernel::user_namespaces(root),
        kernel::cgroups(root),
        kernel::overlay(root),
        kernel::seccomp(),
        network::namespaces(root),
        network::veth(root),
        network::nft(root),
        network::tun(root),
        network::port(args.listen),
        kernel::inotify(),
        kernel::memory(),
        disk::directory(&data),
        disk::space(&data),
        disk::sync(&data),
        kernel::clock(),
    ];
    match args.output {
        Some(Output::Json) => print!("{}", format::pretty(&serde_json::to_value(&findings)?)),
        Some(Output::Yaml) => print!("{}", yaml::to_text(&serde_json::to_value(&findings)?)?),
        None => print!("{}", page(&findings, terminal::colours())),
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn page(findings: &[Finding], colours: bool) -> String {
    let mut table = Table::new(["STATUS", "CHECK", "FOUND"]).coloured(colours);
    for finding in findings {
        let status = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        table.row([status, finding.check, &finding.found]);
        if !finding.remedy.is_empty() {
            table.row(["", "", &format!("-> {}", finding.remedy)]);
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warn, fail) = (count(Level::Warn), count(Level::Fail));
    let verdict = match (warn, fail) {
        (0, 0) => "This host has all that a node wants.".to_owned(),
        (warn, 0) => format!("A node works here, with {warn} limits as above."),
        (_, fail) => format!("A node does not work here until {fail} of these are dealt with."),
    };
    format!("{}\n{verdict}\n", table.take(false))
}

/// The text of a small file of the kernel's, without spaces around it; none if it cannot be read.
fn kernel_text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_is_missing_and_how_to_get_it() {
        let findings = [Finding::ok("kernel", "6.1"), Finding::fail("disk", "full", "make room")];
        let text = page(&findings, false);
        assert!(
            text.contains("FAIL   disk     full\n") && text.contains("-> make room"),
            "{text}"
        );
        assert!(
            text.ends_with("A node does not work here until 1 of these are dealt with.\n"),
            "{text}"
        );
    }

    #[test]
    fn every_check_answers_here() {
        let args = DoctorArgs {
            data_dir: Some(std::env::temp_dir()),
            listen: "127.0.0.1:0".parse().unwrap(),
            output: Some(Output::Json),
        };
        run(&args).unwrap();
    }
}
