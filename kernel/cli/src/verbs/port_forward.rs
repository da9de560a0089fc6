//! `port-forward`: ports of this machine that lead to ports of a pod.
use crate::{
    doc::{Doc, list},
    owned,
    session::Session,
    targets, terminal,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::StreamExt;
use rustix::io::Errno;
use sampan_api::rpc::PortForwardRequest;
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
};

const EXAMPLES: &str = "Examples:
  sampan port-forward web-6d4cf56db6-abcde 8080:80
  sampan port-forward svc/web 8080:http            # a Service's port, by number or name
  sampan port-forward deploy/web 8080 :5432        # the same number here; any number here
  sampan port-forward --address 0.0.0.0 pod/db 5432";

/// Bytes of one message.
const PIECE: usize = 32 << 10;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PortForwardArgs {
    /// A pod, or TYPE/NAME of what made it
    #[arg(value_name = "POD | TYPE/NAME")]
    target: String,
    /// Ports: REMOTE, LOCAL:REMOTE, or :REMOTE for any local one
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<Ports>,
    /// Where to listen; localhost is 127.0.0.1 and ::1, where there is IPv6
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
}

/// A port here, and one of the pod, by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    local: Option<u16>,
    remote: String,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" names no ports: expected REMOTE, LOCAL:REMOTE or :REMOTE");
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        if remote.is_empty() {
            return Err(wrong());
        }
        let local = match (local, local == remote) {
            ("", _) => Some(0),
            // A port that has a name may have any number.
            (local, true) => local.parse().ok(),
            (local, false) => Some(local.parse().map_err(|_| wrong())?),
        };
        Ok(Ports {
            local,
            remote: remote.to_owned(),
        })
    }
}

/// Where connections go.
struct Way {
    session: Session,
    namespace: String,
    pod: String,
}

pub async fn run(args: PortForwardArgs, session: &Session) -> Result<()> {
    let target = match args.target.contains('/') {
        true => targets::parse(std::slice::from_ref(&args.target))?.pop(),
        false => Some(targets::Target {
            kind: targets::kind("pods")?,
            name: Some(args.target.clone()),
        }),
    };
    let Some(targets::Target { kind, name: Some(name) }) = target else {
        bail!("cannot read \"{}\": expected a pod or TYPE/NAME", args.target);
    };
    let named = session.get(&targets::key(kind, &session.namespace, &name)).await?;
    let pod = match kind.kind {
        "Pod" => named.clone(),
        _ => owned::pods_of(&named, session).await?.remove(0),
    };
    let way = Arc::new(Way {
        session: session.clone(),
        namespace: pod.namespace().to_owned(),
        pod: pod.name().to_owned(),
    });
    let places = args.address.iter().map(|text| addresses(text));
    let places = places.collect::<Result<Vec<_>>>()?;
    let mut listeners = Vec::new();
    for ports in &args.ports {
        let remote = remote(&named, &pod, &ports.remote)?;
        let mut local = ports.local.unwrap_or(remote);
        for place in &places {
            for listener in listen(place, local).await? {
                let at = listener.local_addr()?;
                println!("Forwarding from {at} -> {remote}");
                // Any port is the same at all addresses.
                local = at.port();
                listeners.push(accept(listener, remote, way.clone()));
            }
        }
    }
    futures::future::try_join_all(listeners).await?;
    Ok(())
}

/// The addresses of one place. Of several, one must be had.
fn addresses(text: &str) -> Result<Vec<IpAddr>> {
    if text == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let address = text.trim_start_matches('[').trim_end_matches(']').parse();
    Ok(vec![
        address.with_context(|| format!("\"{text}\" is no address to listen on"))?,
    ])
}

/// Listens at a place, at the same port of all its addresses.
async fn listen(place: &[IpAddr], mut port: u16) -> Result<Vec<TcpListener>> {
    let (mut listeners, mut failures) = (Vec::new(), Vec::new());
    for address in place {
        let at = SocketAddr::new(*address, port);
        let bound = TcpListener::bind(at).await.and_then(|listener| {
            port = listener.local_addr()?.port();
            Ok(listener)
        });
        match bound {
            Ok(listener) => listeners.push(listener),
            Err(error) => failures.push((at, error)),
        }
    }
    let said = |at: SocketAddr| format!("cannot listen on {at}: is another program there?");
    if listeners.is_empty()
        && let Some((at, error)) = failures.pop()
    {
        return Err(error).context(said(at));
    }
    // Where there is no IPv6, nobody misses it.
    for (at, error) in failures {
        let lacking = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT].map(Errno::raw_os_error);
        if !error.raw_os_error().is_some_and(|number| lacking.contains(&number)) {
            terminal::warn(&format!("{}: {error}", said(at)));
        }
    }
    Ok(listeners)
}

/// The number of the pod's port. That of a Service leads to its target.
fn remote(named: &Doc, pod: &Doc, wanted: &str) -> Result<u16> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let mut wanted = wanted.to_owned();
    if named.kind.kind == "Service" {
        let port = owned::service_port(named, &wanted)?;
        match &port["targetPort"] {
            Value::String(name) => wanted.clone_from(name),
            target => wanted = number(target).or(number(&port["port"])).unwrap_or_default().to_string(),
        }
    }
    if let Ok(number) = wanted.parse::<u16>()
        && number > 0
    {
        return Ok(number);
    }
    let containers = list(&pod.value, "/spec/containers");
    let ports: Vec<Value> = containers
        .iter()
        .flat_map(|container| list(container, "/ports").to_vec())
        .collect();
    let found = ports.iter().find(|port| port["name"] == *wanted);
    match found.and_then(|port| number(&port["containerPort"])) {
        Some(number) => Ok(number),
        None => bail!(
            "pod {} has no port {wanted}: it has {}",
            pod.name(),
            owned::said(&ports, "containerPort")
        ),
    }
}

async fn accept(listener: TcpListener, port: u16, way: Arc<Way>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        println!("Handling connection for {}", listener.local_addr()?.port());
        let way = way.clone();
        tokio::spawn(async move {
            if let Err(error) = carry(stream, port, &way).await {
                crate::failure::tell(&error);
            }
        });
    }
}

/// Brings the bytes of one connection both ways.
async fn carry(stream: TcpStream, port: u16, way: &Way) -> Result<()> {
    stream.set_nodelay(true)?;
    let (reads, mut writes) = stream.into_split();
    let first = PortForwardRequest {
        namespace: way.namespace.clone(),
        pod: way.pod.clone(),
        port: port.into(),
        ..PortForwardRequest::default()
    };
    let pieces = futures::stream::iter([first]).chain(futures::stream::unfold(reads, next));
    let answers = way.session.runtime().port_forward(pieces).await;
    let mut answers = answers.map_err(|status| way.session.error(status))?.into_inner();
    while let Some(answer) = answers.message().await.map_err(|status| way.session.error(status))? {
        // Whoever connected has gone: nobody is left to tell.
        if writes.write_all(&answer.data).await.is_err() {
            return Ok(());
        }
    }
    let _ = writes.shutdown().await;
    Ok(())
}

async fn next(mut reads: OwnedReadHalf) -> Option<(PortForwardRequest, OwnedReadHalf)> {
    let mut piece = vec![0; PIECE];
    match reads.read(&mut piece).await {
        Ok(0) | Err(_) => None,
        Ok(length) => {
            piece.truncate(length);
            let request = PortForwardRequest {
                data: piece.into(),
                ..PortForwardRequest::default()
            };
            Some((request, reads))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_port_is_the_same_in_both_families() {
        let place = addresses("localhost").unwrap();
        let listeners = listen(&place, 0).await.unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(
            !ports.is_empty() && ports.iter().all(|port| *port == ports[0]),
            "{ports:?}"
        );
        // One that is taken leaves the other; both that are taken leave nothing.
        let error = listen(&place[..1], ports[0]).await.unwrap_err();
        assert!(error.to_string().contains("is another program there?"), "{error}");
        drop(listeners);
        let _taken = TcpListener::bind((place[0], ports[0])).await.unwrap();
        let left = listen(&place, ports[0]).await;
        assert_eq!(left.is_ok(), ports.len() == 2, "{left:?}");
        assert_eq!(addresses("[::1]").unwrap(), addresses("::1").unwrap());
        assert!(addresses("here").unwrap_err().to_string().contains("\"here\""));
    }

    #[test]
    fn ports_as_kubectl_takes_them() {
        let of = |text: &str| text.parse::<Ports>().map(|ports| (ports.local, ports.remote));
        assert_eq!(of("80"), Ok((Some(80), "80".to_owned())));
        assert_eq!(of("8080:80"), Ok((Some(8080), "80".to_owned())));
        assert_eq!(of(":80"), Ok((Some(0), "80".to_owned())));
        assert_eq!(of("http"), Ok((None, "http".to_owned())));
        assert_eq!(of("8080:http"), Ok((Some(8080), "http".to_owned())));
        for wrong in ["8080:", "x:80", "70000:80"] {
            assert!(of(wrong).unwrap_err().contains("LOCAL:REMOTE"), "{wrong}");
        }
    }
}
