//! The state as bytes in pieces of one size, encoded as fast as they are taken: at no time is all of it in memory twice.
use bytes::{Bytes, BytesMut};
use sampan_state::{Header, Store, encode_checkpoint};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of a piece.
pub const PIECE: usize = 1 << 20;

/// Pieces that are encoded and not yet taken.
const AHEAD: usize = 4;

/// The bytes of a checkpoint. A thread of its own encodes them, and ends when nobody takes them any more.
pub fn stream(header: Header, store: Store) -> ReceiverStream<Bytes> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for piece in pieces(&header, &store) {
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Records gathered, or cut, to pieces of one size.
fn pieces<'a>(header: &Header, store: &'a Store) -> impl Iterator<Item = Bytes> + 'a {
    let mut records = encode_checkpoint(header, store);
    let mut gathered = BytesMut::with_capacity(2 * PIECE);
    std::iter::from_fn(move || {
        while gathered.len() < PIECE
            && let Some(record) = records.next()
        {
            gathered.extend_from_slice(&record);
        }
        let piece = gathered.split_to(gathered.len().min(PIECE)).freeze();
        (!piece.is_empty()).then_some(piece)
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
            store.apply(index, command);
        }
        let header = Header {
            cluster: "c-1".to_owned(),
            index: 3,
            revision: 9,
            ..Header::default()
        };
        let pieces: Vec<Bytes> = pieces(&header, &store).collect();
        let (last, rest) = pieces.split_last().unwrap();
        assert!(rest.len() == 4 && rest.iter().all(|piece| piece.len() == PIECE));
        assert!(last.len() < PIECE);
        let mut check = Check::default();
        pieces.iter().for_each(|piece| check.push(piece));
        let whole = pieces.concat();
        assert_eq!(check.finish(), Ok(whole.len() as u64));
        let (read, _) = decode_checkpoint(&whole).unwrap();
        assert_eq!(read.snapshot().blobs().count(), 3);
    }
}
