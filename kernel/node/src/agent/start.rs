//! Starting a container: its spec is worked out from the pod and the image, and handed to the pod's shim.
use super::{
    making::{Making, not_created},
    node::Node,
};
use crate::{
    pod::{ConfigError, sources::Wanted},
    reconcile::{Desired, Index, Report},
    runtime::{CallError, Link},
};
use sampan_container::Kind;
use sampan_shim::{ErrorKind, Reply, Request};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Starts it. That it runs, the shim tells by itself; why it does not is reported from here.
pub async fn start(
    node: Arc<Node>,
    desired: Desired,
    link: Option<Link>,
    ips: Vec<String>,
    index: Index,
    attempt: u32,
) {
    let uid = desired.uid.clone();
    if let Err(failure) = try_start(&node, desired, link, ips, index, attempt).await {
        let report = match failure {
            Failure::NotStarted(message) => Report::NotStarted {
                index,
                attempt,
                message,
                at: node.clock.now(),
            },
            Failure::NotCreated(error) => Report::NotCreated {
                index,
                attempt,
                reason: error.reason,
                message: error.message,
            },
        };
        node.report(&uid, report);
    }
}

enum Failure {
    NotCreated(ConfigError),
    NotStarted(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::NotCreated(error)
    }
}

async fn try_start(
    node: &Arc<Node>,
    desired: Desired,
    link: Option<Link>,
    ips: Vec<String>,
    index: Index,
    attempt: u32,
) -> Result<(), Failure> {
    let link = link.ok_or_else(|| not_created("the pod's shim is gone"))?;
    let container = desired.container(index).cloned().unwrap_or_default();
    let image = container.image.clone().unwrap_or_default();
    let sources = async {
        let wanted = Wanted::of(&desired.pod);
        let sources = node.sources(&desired.namespace, &wanted).await;
        sources.map_err(|error| ConfigError::config(format!("cannot fetch config maps and secrets: {error}")))
    };
    let prepared = async {
        need_no_root(node, &image)?;
        node.images.prepare(&image, &desired.uid).await.map_err(not_created)
    };
    let (sources, prepared) = futures::try_join!(sources, prepared)?;
    let name = container.name.clone();
    let making = Making {
        node: node.clone(),
        facts: node.facts(ips),
        desired,
        container,
        attempt,
        sources,
    };
    for message in making.unsupported() {
        let reason = "Unsupported";
        node.report(
            &making.desired.uid,
            Report::Note {
                container: Some(index),
                warning: true,
                reason,
                message,
            },
        );
    }
    let uid = making.desired.uid.clone();
    // The lease on the image goes when the spec is made: by then the pod is known to use it.
    let spec = spawn_blocking(move || making.spec(prepared))
        .await
        .map_err(not_created)??;
    match link.call(Request::Start(Box::new(spec))).await {
        Ok(Reply::Started { warnings, .. }) => {
            for message in warnings {
                node.report(
                    &uid,
                    Report::Note {
                        container: Some(index),
                        warning: true,
                        reason: "Degraded",
                        message,
                    },
                );
            }
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(CallError::Refused(error)) if error.kind == ErrorKind::StartFailed => {
            Err(Failure::NotStarted(error.message))
        }
        Err(error) => Err(not_created(format!("container {name}: {error}")).into()),
    }
}

/// Without root only Wasm runs; a container's image could not even be unpacked.
fn need_no_root(node: &Node, image: &str) -> Result<(), ConfigError> {
    if !node.config.rootless || node.images.kind(image) != Some(Kind::Container) {
        return Ok(());
    }
    let message = "containers need root, which this node does not have: run `sampan up` as root, or use a Wasm image";
    Err(ConfigError {
        reason: "RootRequired",
        message: message.to_owned(),
    })
}
