//! `net`: how the network of pods is, and where a packet would stop.
use super::peers;
use crate::{
    doc::Doc,
    owned,
    print::{Format, Table},
    session::Session,
    targets, terminal,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sampan_api::rpc::{self, TraceStep, TraceVerdict};
use serde_json::Value;
use std::net::IpAddr;

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
            let to = destination_of(&destination, session).await?;
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

struct To {
    address: IpAddr,
    port: u16,
    protocol: String,
}

async fn destination_of(text: &str, session: &Session) -> Result<To> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, port),
        None => (text, ""),
    };
    let tcp = || "tcp".to_owned();
    if let Ok(address) = name.trim_matches(['[', ']']).parse() {
        let port = port
            .parse()
            .with_context(|| format!("\"{text}\": expected ADDRESS:PORT"))?;
        return Ok(To {
            address,
            port,
            protocol: tcp(),
        });
    }
    let Some(targets::Target { kind, name: Some(name) }) = targets::parse(&[name.to_owned()])?.pop() else {
        bail!("cannot read \"{text}\": expected svc/NAME[:PORT], pod/NAME:PORT or ADDRESS:PORT");
    };
    let found = session.get(&targets::key(kind, &session.namespace, &name)).await?;
    let address = |pointer: &str| {
        let address = found.text(pointer).parse();
        address.with_context(|| format!("{} has no address yet", found.full_name()))
    };
    match kind.kind {
        "Service" => {
            let (port, protocol) = service_port(&found, port)?;
            Ok(To {
                address: address("/spec/clusterIP")?,
                port,
                protocol,
            })
        }
        "Pod" => {
            let port = port
                .parse()
                .with_context(|| format!("\"{text}\": expected pod/NAME:PORT"))?;
            Ok(To {
                address: address("/status/podIP")?,
                port,
                protocol: tcp(),
            })
        }
        _ => bail!(
            "{} has no address: name a Service, a pod or an address",
            found.full_name()
        ),
    }
}

fn service_port(service: &Doc, wanted: &str) -> Result<(u16, String)> {
    let port = owned::service_port(service, wanted)?;
    let number = port["port"].as_u64().and_then(|number| u16::try_from(number).ok());
    let protocol = port["protocol"].as_str().unwrap_or("TCP").to_ascii_lowercase();
    Ok((number.context("the port has no number")?, protocol))
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
