//! The state as a stream of bytes, encoded while it is sent: at no time is all of it in memory twice.
use super::Pieces;
use bytes::BytesMut;
use sampan_api::rpc::SnapshotPiece;
use sampan_state::{Header, Store, encode_checkpoint};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of a piece.
const PIECE: usize = 1 << 20;

/// Pieces that are encoded and not yet sent.
const AHEAD: usize = 4;

/// The bytes of a checkpoint. A thread of its own encodes them, as fast as they are taken, and ends when nobody takes them
/// any more.
pub fn stream(header: Header, store: Store) -> Pieces<SnapshotPiece> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for piece in pieces(&header, &store) {
            if sender.blocking_send(Ok(piece)).is_err() {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

/// Records gathered, or cut, to pieces of one size.
fn pieces<'a>(header: &'a Header, store: &'a Store) -> impl Iterator<Item = SnapshotPiece> + 'a {
    let mut records = encode_checkpoint(header, store);
    let mut gathered = BytesMut::with_capacity(2 * PIECE);
    let mut first = true;
    std::iter::from_fn(move || {
        while gathered.len() < PIECE
            && let Some(record) = records.next()
        {
            gathered.extend_from_slice(&record);
        }
        if gathered.is_empty() {
            return None;
        }
        let mut piece = SnapshotPiece {
            data: gathered.split_to(gathered.len().min(PIECE)).freeze(),
            ..SnapshotPiece::default()
        };
        if std::mem::take(&mut first) {
            piece.cluster.clone_from(&header.cluster);
            piece.revision = header.revision;
        }
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_state::{Check, Command, decode_checkpoint};

    #[test]
    fn pieces_are_of_one_size_and_together_the_checkpoint() {
        let mut store = Store::new("c-1");
        for (index, size) in [(1, 10), (2, 3 * PIECE + 7), (3, PIECE)] {
            let command = Command {
                blobs: vec![vec![u8::try_from(index).unwrap(); size].into()],
                ..Command::default()
            };
            store.apply(index, &command);
        }
        let header = Header {
            cluster: "c-1".to_owned(),
            index: 3,
            revision: 9,
            ..Header::default()
        };
        let pieces: Vec<SnapshotPiece> = pieces(&header, &store).collect();
        let (last, rest) = pieces.split_last().unwrap();
        assert!(rest.len() == 4 && rest.iter().all(|piece| piece.data.len() == PIECE));
        assert!(last.data.len() < PIECE);
        assert_eq!((pieces[0].cluster.as_str(), pieces[0].revision), ("c-1", 9));
        let mut check = Check::default();
        let mut whole = Vec::new();
        for piece in &pieces {
            check.push(&piece.data);
            whole.extend_from_slice(&piece.data);
        }
        assert_eq!(check.finish(), Ok(whole.len() as u64));
        let (read, _) = decode_checkpoint(&whole).unwrap();
        assert_eq!(read.snapshot().blobs().count(), 3);
    }
}
