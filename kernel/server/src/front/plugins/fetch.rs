//! The bytes of plugins, for the nodes that run them.
use super::Plugins;
use crate::{
    front::{Pieces, access},
    pki::Identity,
};
use bytes::Bytes;
use futures::stream;
use sampan_api::{
    ApiError, Reason, Selection,
    plugin::{self, PluginSpec},
    rpc::FetchPluginPiece,
};
use tonic::Status;

/// Bytes of one piece.
const PIECE: usize = 1 << 20;

impl Plugins {
    /// The bytes with a digest, if a plugin has them that whoever asks may have: of nodes, those that nodes run.
    pub(super) fn fetch_for(&self, who: &Identity, digest: &str) -> Result<Pieces<FetchPluginPiece>, ApiError> {
        if who.node().is_none() {
            access::check_master(who, "fetch the bytes of plugins")?;
        }
        let state = self.front.replica.snapshot();
        let plugins = Selection::of(plugin::RESOURCE);
        let specs = state
            .list(&plugins)
            .filter_map(|(_, object)| object.field::<PluginSpec>("spec").ok());
        let mut of_digest = specs.filter(|spec| spec.digest == digest);
        if !of_digest.any(|spec| who.node().is_none() || spec.world.runs_on_nodes()) {
            let message = format!(
                "no plugin that runs on nodes has the digest \"{}\"",
                digest.escape_debug()
            );
            return Err(ApiError::new(Reason::NotFound, message));
        }
        let bytes = state
            .blob(digest)
            .ok_or_else(|| ApiError::internal(format!("the bytes of {digest} are not in the state")))?;
        Ok(Box::pin(stream::iter(pieces(bytes))))
    }
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Result<FetchPluginPiece, Status>> {
    std::iter::from_fn(move || {
        let length = bytes.len().min(PIECE);
        (length > 0).then(|| {
            let data = bytes.split_to(length);
            Ok(FetchPluginPiece { data })
        })
    })
}
