//! Connections that were upgraded: bytes go both ways until one side is done, nothing moves, or the node stops.
use super::{figures::Figure, progress::Progress, proxy::Proxy};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::copy_bidirectional;

/// Joins the two sides once both have been let go of by HTTP.
pub fn join(proxy: &Arc<Proxy>, client: OnUpgrade, backend: OnUpgrade, progress: Arc<Progress>) {
    proxy.figures.count(Figure::Upgraded);
    let (stopping, idle) = (proxy.stopping.clone(), proxy.times.idle);
    proxy.tasks.spawn(async move {
        let joined = async {
            let sides = tokio::try_join!(client, backend).map_err(|error| error.to_string())?;
            let (mut client, mut backend) = (TokioIo::new(sides.0), TokioIo::new(sides.1));
            let copied = copy_bidirectional(&mut client, &mut backend).await;
            copied.map_err(|error| error.to_string())
        };
        tokio::select! {
            result = joined => match result {
                Ok((sent, received)) => tracing::debug!(sent, received, "an upgraded connection ended"),
                Err(error) => tracing::debug!(%error, "an upgraded connection broke"),
            },
            () = progress.still_for(idle) => tracing::debug!("an upgraded connection was still for too long"),
            () = stopping.cancelled() => {}
        }
    });
}
