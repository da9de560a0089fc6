//! The command line: what can be said, and who does it.
use crate::{
    contexts::{self, Access, Contexts},
    demo, doctor, failure,
    print::age,
    session::Session,
    terminal, up, verbs,
};
use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// A cluster in one binary: containers and Wasm, with policies that are Wasm plugins
#[derive(Debug, Parser)]
#[command(
    name = "sampan",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Global {
    /// The namespace of what is asked for
    #[arg(short = 'n', long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The context of the config file to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The address of the server, instead of the context's
    #[arg(short = 's', long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The file of contexts [default: $SAMPAN_CONFIG or ~/.sampan/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long to wait for one answer
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = age::parse_duration)]
    pub request_timeout: Duration,
    /// Say more on stderr: -v, -vv, -vvv
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a one-node cluster here, in the foreground
    Up(up::UpArgs),
    /// Make this machine part of a cluster, and run its part in the foreground
    Join(up::JoinArgs),
    /// Tell a story on a cluster that is gone afterwards
    Demo(demo::DemoArgs),
    /// Say what this host lacks, and how to get it
    Doctor(doctor::DoctorArgs),
    /// Create or change what manifests describe
    Apply(verbs::apply::ApplyArgs),
    /// Create from manifests or by hand
    Create(verbs::create::CreateArgs),
    /// Replace objects by what manifests describe
    Replace(verbs::apply::ReplaceArgs),
    /// List objects
    Get(verbs::get::GetArgs),
    /// Show objects in detail, with their events
    Describe(verbs::describe::DescribeArgs),
    /// Say why a pod goes where it goes, or waits
    Explain(verbs::explain::ExplainArgs),
    /// Delete objects
    Delete(verbs::delete::DeleteArgs),
    /// Change objects in an editor
    Edit(verbs::edit::EditArgs),
    /// Print what containers say
    Logs(verbs::logs::LogsArgs),
    /// The network of pods: how nodes reach each other, and where a packet would stop
    Net(verbs::net::NetArgs),
    /// Let ports of this machine lead to ports of a pod
    PortForward(verbs::port_forward::PortForwardArgs),
    /// Set how many replicas there are to be
    Scale(verbs::scale::ScaleArgs),
    /// Follow, undo, restart and pause rollouts
    Rollout(verbs::rollout::RolloutArgs),
    /// Wait until objects are as wanted
    Wait(verbs::wait::WaitArgs),
    /// List events
    Events(verbs::events::EventsArgs),
    /// Let no more pods onto a node
    Cordon(verbs::cordon::CordonArgs),
    /// Let pods onto a node again
    Uncordon(verbs::cordon::CordonArgs),
    /// Move the pods off a node
    Drain(verbs::drain::DrainArgs),
    /// Set, change and remove labels
    Label(verbs::label::LabelArgs),
    /// Set, change and remove annotations
    Annotate(verbs::label::LabelArgs),
    /// Change some fields of an object
    Patch(verbs::patch::PatchArgs),
    /// List the types of objects
    ApiResources(verbs::about::ApiResourcesArgs),
    /// Policies: inspect, load, swap, roll back
    Plugin(verbs::plugin::PluginArgs),
    /// Images of the nodes: pull, load, list, remove, build
    Image(verbs::image::ImageArgs),
    /// Tokens with which machines join: create, list, revoke
    Token(verbs::token::TokenArgs),
    /// Certificates: who shows which and until when; renew
    #[command(visible_alias = "cert")]
    Certificate(verbs::certificate::CertificateArgs),
    /// The servers that keep the state: list, promote, remove, hand leadership over
    Member(verbs::member::MemberArgs),
    /// Backups: save the cluster's state, look into it, begin a new cluster with it
    Snapshot(verbs::snapshot::SnapshotArgs),
    /// Show how the cluster is
    Status(verbs::status::StatusArgs),
    /// Contexts: which cluster is spoken to
    Config(verbs::config::ConfigArgs),
    /// Print the versions of client and server
    Version(verbs::about::VersionArgs),
    /// Print a script that completes commands in a shell
    Completion(verbs::about::CompletionArgs),
    /// Run one Wasm workload; what the shim starts
    #[command(name = "__wasm", hide = true)]
    Wasm(verbs::wasm::WasmArgs),
    /// Compile one piece of Wasm; what servers and nodes start
    #[command(name = "__compile", hide = true)]
    Compile(verbs::compile::CompileArgs),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Printing is all that is left to do.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    // A workload's runner and servers outlive whoever reads their output.
    if !matches!(
        cli.command,
        Command::Up(_) | Command::Join(_) | Command::Demo(_) | Command::Wasm(_) | Command::Compile(_)
    ) {
        terminal::end_with_the_reader();
    }
    let result = match cli.command {
        Command::Wasm(args) => return verbs::wasm::run(&args),
        Command::Compile(args) => return verbs::compile::run(&args),
        command => run(command, &cli.global),
    };
    result.unwrap_or_else(|error| {
        failure::tell(&error);
        ExitCode::FAILURE
    })
}

/// Runs a command in a runtime that fits it.
fn run(command: Command, global: &Global) -> Result<ExitCode> {
    log(global.verbose, matches!(command, Command::Up(_) | Command::Join(_)));
    if let Command::Demo(args) = &command {
        demo::withdraw(args);
    }
    let server = matches!(command, Command::Up(_) | Command::Join(_) | Command::Demo(_));
    let mut builder = match server {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let code = runtime.block_on(dispatch(command, global));
    // Threads that still wait for stdin or a disk do not hold up the end.
    runtime.shutdown_background();
    code
}

/// What is logged, and how much: `RUST_LOG` decides where it is set.
fn log(verbose: u8, server: bool) {
    let level = match (verbose, server) {
        (0, false) => "error",
        (0, true) => "warn",
        (1, _) => "info",
        (2, _) => "debug",
        (3.., _) => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    // Tests may have set up a subscriber of their own; theirs stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal::draws_progress())
        .with_writer(std::io::stderr)
        .try_init();
}

async fn dispatch(command: Command, global: &Global) -> Result<ExitCode> {
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    match command {
        Command::Up(args) => done(up::run(args, global).await),
        Command::Join(args) => done(up::join(args, global).await),
        Command::Demo(args) => demo::run(args).await,
        Command::Token(args) => done(verbs::token::run(args, &global.session()?).await),
        Command::Member(args) => {
            let session = global.session()?;
            verbs::member::run(args, &session).await?;
            global.learn(&session).await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Certificate(args) => done(verbs::certificate::run(args, global).await),
        Command::Snapshot(args) => done(verbs::snapshot::run(args, global).await),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => done(verbs::config::run(args, global)),
        Command::Completion(args) => done(verbs::about::completion(&args)),
        Command::ApiResources(args) => done(verbs::about::api_resources(&args)),
        Command::Version(args) => done(verbs::about::version(&args, global).await),
        Command::Apply(args) => done(verbs::apply::run(args, &global.session()?).await),
        Command::Replace(args) => done(verbs::apply::replace(args, &global.session()?).await),
        Command::Create(args) => done(verbs::create::run(args, &global.session()?).await),
        Command::Get(args) => done(verbs::get::run(args, &global.session()?).await),
        Command::Describe(args) => done(verbs::describe::run(args, &global.session()?).await),
        Command::Explain(args) => done(verbs::explain::run(args, &global.session()?).await),
        Command::Delete(args) => done(verbs::delete::run(args, &global.session()?).await),
        Command::Edit(args) => done(verbs::edit::run(args, &global.session()?).await),
        Command::Logs(args) => done(verbs::logs::run(args, &global.session()?).await),
        Command::Net(args) => done(verbs::net::run(args, &global.session()?).await),
        Command::PortForward(args) => done(verbs::port_forward::run(args, &global.session()?).await),
        Command::Scale(args) => done(verbs::scale::run(args, &global.session()?).await),
        Command::Rollout(args) => done(verbs::rollout::run(args, &global.session()?).await),
        Command::Wait(args) => done(verbs::wait::run(args, &global.session()?).await),
        Command::Events(args) => done(verbs::events::run(args, &global.session()?).await),
        Command::Cordon(args) => done(verbs::cordon::run(args, true, &global.session()?).await),
        Command::Uncordon(args) => done(verbs::cordon::run(args, false, &global.session()?).await),
        Command::Drain(args) => done(verbs::drain::run(args, &global.session()?).await),
        Command::Label(args) => done(verbs::label::run(args, &verbs::label::LABELS, &global.session()?).await),
        Command::Annotate(args) => done(verbs::label::run(args, &verbs::label::ANNOTATIONS, &global.session()?).await),
        Command::Patch(args) => done(verbs::patch::run(args, &global.session()?).await),
        Command::Plugin(args) => verbs::plugin::run(args, global).await,
        Command::Image(args) => done(verbs::image::run(args, global).await),
        Command::Status(args) => {
            let session = global.session()?;
            verbs::status::run(&args, &session).await?;
            global.learn(&session).await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Wasm(args) => Ok(verbs::wasm::run(&args)),
        Command::Compile(args) => Ok(verbs::compile::run(&args)),
    }
}

impl Global {
    /// How to reach the cluster that is meant.
    ///
    /// # Errors
    /// If no context says.
    pub fn access(&self) -> Result<Access> {
        let mut access = Contexts::load(&contexts::path(self.config.as_deref())?)?.access(self.context.as_deref())?;
        if let Some(server) = &self.server {
            access.server = if server.contains("://") {
                server.clone()
            } else {
                format!("https://{server}")
            };
        }
        Ok(access)
    }

    /// A session with the cluster that is meant.
    ///
    /// # Errors
    /// If no context says which, or it cannot be read.
    pub fn session(&self) -> Result<Session> {
        let mut session = Session::open(&self.access()?, self.request_timeout)?;
        if let Some(warning) = session.shown().warning(jiff::Timestamp::now()) {
            terminal::warn(&warning);
        }
        if let Some(namespace) = &self.namespace {
            session.namespace.clone_from(namespace);
            session.namespace_given = true;
        }
        Ok(session)
    }

    /// Who looks at the servers of a cluster has their addresses noted in the context. Nothing that was asked for fails with it.
    async fn learn(&self, session: &Session) {
        let learned = async {
            let members = verbs::status::ask(session).await?.members;
            let servers: Vec<String> = members.into_iter().map(|member| member.address).collect();
            let path = contexts::path(self.config.as_deref())?;
            let mut contexts = Contexts::load(&path)?;
            match contexts.learn(session.context(), &servers) {
                true => contexts.save(&path),
                false => Ok(()),
            }
        };
        if self.server.is_none()
            && let Err(error) = learned.await
        {
            tracing::debug!(%error, "the addresses of the servers are not noted");
        }
    }
}

/// The command as clap knows it, for completions and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
