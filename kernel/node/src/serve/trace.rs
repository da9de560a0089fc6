//! The ways of packets, for those who ask.
use crate::{
    agent::Node,
    network::trace::{At, Packet, Step, Verdict},
};
use sampan_api::{ApiError, Key, rpc};
use sampan_sandbox::network::Protocol;
use std::net::IpAddr;

/// The way of a packet from here on.
///
/// # Errors
/// Where there is no such pod, or no such address.
pub async fn trace(node: &Node, request: &rpc::TraceRequest) -> Result<rpc::TraceResponse, ApiError> {
    let network = node.network.as_ref();
    let network =
        network.ok_or_else(|| ApiError::bad_request("without root pods have no network of their own here"))?;
    let destination = address(&request.address)?;
    let (source, at) = match request.pod.is_empty() {
        true => {
            let from = (!request.from_node.is_empty()).then(|| request.from_node.clone());
            (address(&request.source)?, At::Peer(from))
        }
        false => {
            let (namespace, pod) = (&request.namespace, &request.pod);
            let view = node.views.get(namespace, pod);
            let own = view.and_then(|view| node.addresses.lock().of(&view.uid));
            let own = own.ok_or_else(|| ApiError::not_found(&Key::new("pods", namespace, pod)))?;
            // It sends from its address of the other's family.
            let same = own.iter().find(|own| own.is_ipv4() == destination.is_ipv4());
            let none = || {
                ApiError::bad_request(format!(
                    "pod {namespace}/{pod} has no address of the family of {destination}"
                ))
            };
            (same.ok_or_else(none)?, At::Pod)
        }
    };
    let packet = Packet {
        source,
        destination,
        port: u16::try_from(request.port).map_err(|_| ApiError::bad_request(format!("{} is no port", request.port)))?,
        protocol: match request.protocol.as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => {
                return Err(ApiError::bad_request(format!(
                    "\"{other}\" is no protocol: tcp, udp or sctp"
                )));
            }
        },
    };
    let steps = network.trace(packet, at).await;
    Ok(rpc::TraceResponse {
        steps: steps.into_iter().map(|step| message(&node.config.name, step)).collect(),
    })
}

fn address(text: &str) -> Result<IpAddr, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request(format!("\"{}\" is no address", text.escape_debug())))
}

fn message(node: &str, step: Step) -> rpc::TraceStep {
    let verdict = match step.verdict {
        Verdict::GoesOn => rpc::TraceVerdict::GoesOn,
        Verdict::Arrives => rpc::TraceVerdict::Arrives,
        Verdict::Leaves => rpc::TraceVerdict::Leaves,
        Verdict::Stops => rpc::TraceVerdict::Stops,
    };
    let mut message = rpc::TraceStep {
        node: node.to_owned(),
        what: step.what.to_owned(),
        text: step.text,
        verdict: verdict.into(),
        way: step.way.unwrap_or_default(),
        ..rpc::TraceStep::default()
    };
    if let Some((next, packet)) = step.next {
        message.next_node = next;
        message.source = packet.source.to_string();
        message.address = packet.destination.to_string();
        message.port = packet.port.into();
    }
    message
}
