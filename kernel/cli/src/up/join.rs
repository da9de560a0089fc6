//! `join`: this machine becomes part of a cluster, and runs its part; the next `up` on the same data directory goes on with it.
use super::{Settings, UpArgs, place, reach, serve};
use crate::cli::Global;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sampan_server::{
    enroll::{Enroll, enroll, enrolled, may_join_again},
    features::Build,
    token::{Role, Token},
};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  sampan token create --role server           # on a server; prints the token
  sudo sampan join 10.0.0.1:7443 --token T --role server --listen 10.0.0.2:7443
  sudo sampan join 10.0.0.1:7443 --token T --role server --learner --listen 10.0.0.4:7443   # does not vote
  sudo sampan join 10.0.0.1:7443 --token T    # as a node
  sudo sampan join 10.0.0.1:7443 --token-file /run/secrets/token
  sudo sampan up                              # later: goes on with what it has joined, where it was";

/// What this machine becomes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    /// Keeps the state with the others, and runs pods unless --no-agent
    Server,
    /// Runs pods
    Node,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    /// A server of the cluster
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// The token that `sampan token create` printed [env: SAMPAN_TOKEN]
    #[arg(long, env = "SAMPAN_TOKEN", hide_env = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What this machine becomes
    #[arg(long, value_enum, default_value = "node")]
    role: As,
    /// With --role server: receive everything and do not vote, until `sampan member promote`
    #[arg(long)]
    learner: bool,
    #[command(flatten)]
    up: UpArgs,
}

impl JoinArgs {
    /// Says what does not go together before anybody is asked and anything is written.
    fn check(&self) -> Result<()> {
        if !self.up.pod_cidr.is_empty() {
            bail!(
                "--pod-cidr is for `sampan up` on the machine that a cluster begins with: who joins is given a range of the \
                 cluster's own by its servers, so leave it out"
            );
        }
        if self.up.force_new_cluster {
            bail!(
                "--force-new-cluster is for `sampan up` on a server that is left: who joins a cluster has nothing to go on with"
            );
        }
        if self.learner && matches!(self.role, As::Node) {
            bail!("--learner is for servers: say --role server, too");
        }
        Ok(())
    }

    fn token(&self) -> Result<Token> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            (None, None) => bail!("a token is needed: `sampan token create` on a server makes one, --token takes it"),
        };
        Ok(text.parse()?)
    }
}

/// Joins, and runs this machine's part until a signal ends it.
///
/// # Errors
/// Why it is not let in, or cannot run.
pub async fn join(args: JoinArgs, global: &Global) -> Result<()> {
    args.check()?;
    let token = args.token()?;
    let (role, address) = match args.role {
        As::Server => (Role::Server, args.address),
        As::Node => (Role::Node, args.address),
    };
    let stop_pods = args.up.stop_pods;
    let mut settings = args.up.settings()?;
    place::prepare(&settings.data)?;
    if let Some(before) = enrolled(&settings.data)?
        && !(before.role == Role::Node.as_str() && may_join_again(&settings.data, &token)?)
    {
        bail!(
            "{} belongs to {} \"{}\" of cluster \"{}\" already: `sampan up` goes on with it; to join another cluster, \
             choose another --data-dir",
            settings.data.display(),
            before.role,
            before.name,
            before.cluster_name
        );
    }
    if settings.data.join("server/cluster").exists() {
        bail!(
            "{} has a cluster of its own: `sampan up` goes on with it; to join another, choose another --data-dir",
            settings.data.display()
        );
    }
    if settings.advertise.is_empty() {
        settings.advertise = advertised(role, &settings, &address).await?;
    }
    let ask = Enroll {
        address,
        token,
        role,
        name: settings.name.clone(),
        listen: match role {
            Role::Server => settings.listen.to_string(),
            Role::Node => String::new(),
        },
        advertise: settings.advertise.clone(),
        standby: args.learner,
        build: Build::this(),
    };
    let joined = enroll(&ask, &settings.data, &settings.data.join("server")).await?;
    println!(
        "joined cluster \"{}\" as {} \"{}\"",
        joined.cluster_name, joined.role, joined.name
    );
    serve(settings, stop_pods, global).await
}

/// How others reach this machine: a server as it listens, a node by the address that leads to the cluster.
async fn advertised(role: Role, settings: &Settings, server: &str) -> Result<String> {
    if role == Role::Server {
        if settings.listen.ip().is_unspecified() || settings.listen.port() == 0 {
            bail!("other servers must be able to reach this one: give --listen ADDRESS:PORT or --advertise HOST:PORT");
        }
        return Ok(settings.listen.to_string());
    }
    Ok(reach::way_to(server).await?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: JoinArgs,
    }

    #[test]
    fn flags_that_mean_nothing_at_a_join_are_refused() {
        for (flags, said) in [
            ("", None),
            ("--role server --learner", None),
            (
                "--pod-cidr 10.42.9.0/24",
                Some("given a range of the cluster's own by its servers"),
            ),
            (
                "--role server --pod-cidr 10.42.9.0/24",
                Some("given a range of the cluster's own by its servers"),
            ),
            (
                "--force-new-cluster",
                Some("who joins a cluster has nothing to go on with"),
            ),
            ("--learner", Some("say --role server, too")),
        ] {
            let line = format!("join 10.0.0.1:7443 --token t {flags}");
            let args = Line::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{error}"));
            let found = args.args.check().err().map(|error| error.to_string());
            match said {
                None => assert_eq!(found, None, "{flags}"),
                Some(said) => assert!(
                    found.as_ref().is_some_and(|found| found.contains(said)),
                    "{flags}: {found:?}"
                ),
            }
        }
    }
}
