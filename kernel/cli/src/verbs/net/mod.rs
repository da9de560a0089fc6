//! `net`: how the network of pods is, and where a packet would stop.
mod destination;

use super::peers;
use crate::{
    print::{Format, Table},
    session::Session,
    terminal,
};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use sampan_api::rpc::{self, TraceStep, TraceVerdict};
use serde_json::Value;

const EXAMPLES: &str = "Examples:
  sampan net trace client-5d9c svc/web               # the first port of the Service
  sampan net trace client-5d9c svc/web:http -o json
  sampan net trace client-5d9c pod/db-0:5432
  sampan net trace client-5d9c 10.96.0.10:53 --protocol udp
  sampan net peers -o wide";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell which policies, Services, routes and nodes a packet of a pod meets, and where it stops
    #[command(after_help = "Example:\n  sampan net trace client-5d9c svc/web:http")]
    Trace {
        /// The pod that sends
        pod: String,
        /// svc/NAME[:PORT], pod/NAME:PORT or ADDRESS:PORT
        #[arg(value_name = "DEST")]
        destination: String,
        /// tcp, udp or sctp [default: tcp, or as the Service's port]
        #[arg(long, default_value = "", hide_default_value = true)]
        protocol: String,
        /// json
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
    /// List how nodes reach each other
    #[command(after_help = "Example:\n  sampan net peers -o wide")]
    Peers {
        /// wide, json, yaml
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
}

pub async fn run(args: NetArgs, session: &Session) -> Result<()> {
    match args.what {
        What::Peers { output } => peers::run(&output.unwrap_or_default(), false, session).await,
        What::Trace {
            pod,
            destination,
            protocol,
            output,
        } => {
            let to = destination::find(&destination, session).await?;
            let request = rpc::TraceRequest {
                namespace: session.namespace.clone(),
                pod: pod.strip_prefix("pod/").unwrap_or(&pod).to_owned(),
                address: to.address.to_string(),
                port: to.port.into(),
                protocol: match protocol.is_empty() {
                    true => to.protocol,
                    false => protocol.to_ascii_lowercase(),
                },
                ..rpc::TraceRequest::default()
            };
            let answer = session.once(async { session.runtime().trace(request).await }).await?;
            show(&answer.steps, &output.unwrap_or_default())
        }
    }
}

fn show(steps: &[TraceStep], format: &Format) -> Result<()> {
    if let Format::Json | Format::Yaml = format {
        let items: Vec<Value> = steps.iter().map(item).collect();
        let all = serde_json::json!({"kind": "Trace", "steps": items});
        match format {
            Format::Json => println!("{}", crate::print::format::pretty(&all)),
            _ => print!("{}", crate::print::yaml::to_text(&all)?),
        }
    } else {
        let mut table = Table::new(["WAY", "NODE", "STEP", "VERDICT", "WHAT"]);
        for step in steps {
            let way = match step.way {
                0 => String::new(),
                way => way.to_string(),
            };
            table.row([&way, &step.node, &step.what, word(step), &step.text]);
        }
        print!("{}", table.to_text(true));
    }
    let stops = steps
        .iter()
        .filter(|step| step.verdict() == TraceVerdict::Stops)
        .count();
    let ends = steps
        .iter()
        .filter(|step| step.verdict() != TraceVerdict::GoesOn)
        .count();
    terminal::flush();
    match (stops, ends) {
        (_, 0) => bail!("the packet was not followed to its end"),
        (0, _) => Ok(()),
        (stops, ends) if stops == ends => bail!("the packet does not arrive"),
        (stops, ends) => {
            terminal::warn(&format!("{stops} of {ends} ways do not arrive"));
            Ok(())
        }
    }
}

fn word(step: &TraceStep) -> &'static str {
    match step.verdict() {
        TraceVerdict::Arrives => "arrives",
        TraceVerdict::Leaves => "leaves",
        TraceVerdict::Stops => "STOPS",
        TraceVerdict::GoesOn | TraceVerdict::Unspecified => "goes on",
    }
}

fn item(step: &TraceStep) -> Value {
    serde_json::json!({
        "way": step.way, "node": step.node, "step": step.what, "verdict": word(step), "text": step.text,
        "next": step.next_node,
    })
}
