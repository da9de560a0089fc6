//! The state as whoever saves it gets it: in pieces, of which the first says what it is of.
use super::Pieces;
use crate::replica::state_pieces;
use futures::StreamExt as _;
use sampan_api::rpc::SnapshotPiece;
use sampan_state::{Header, Store};

/// The bytes of a checkpoint.
pub fn stream(header: Header, store: Store) -> Pieces<SnapshotPiece> {
    let (cluster, revision) = (header.cluster.clone(), header.revision);
    let pieces = state_pieces(header, store).enumerate();
    Box::pin(pieces.map(move |(number, data)| {
        let mut piece = SnapshotPiece {
            data,
            ..SnapshotPiece::default()
        };
        if number == 0 {
            piece.cluster.clone_from(&cluster);
            piece.revision = revision;
        }
        Ok(piece)
    }))
}
