//! A recording on its way to whoever asked for it.
use super::Plugins;
use crate::{front::Pieces, policies::Recorded};
use futures::{Stream, StreamExt, stream};
use sampan_api::{ApiError, rpc::RecordRequest, rpc::RecordingPiece};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

/// Bytes of one piece: lines may be longer than a message.
const PIECE: usize = 256 << 10;

impl Plugins {
    /// What a slot is told and answers from now on.
    pub(super) async fn record_slot(&self, request: &RecordRequest) -> Result<Pieces<RecordingPiece>, ApiError> {
        let front = &self.front;
        let recorded = front
            .policies
            .record(&request.slot, &front.cluster_name, request.decisions);
        let pieces = UnboundedReceiverStream::new(recorded.await?).flat_map(|recorded| stream::iter(pieces(recorded)));
        Ok(self.until_closing(pieces.map(Ok)))
    }

    /// It ends with the server's answering, too.
    pub(super) fn until_closing(
        &self,
        pieces: impl Stream<Item = Result<RecordingPiece, Status>> + Send + 'static,
    ) -> Pieces<RecordingPiece> {
        Box::pin(pieces.take_until(self.front.serving.clone().cancelled_owned()))
    }
}

fn pieces(recorded: Recorded) -> Vec<RecordingPiece> {
    match recorded {
        Recorded::Line(line) => {
            let piece = |data: &[u8]| RecordingPiece {
                data: data.to_vec().into(),
                why: String::new(),
            };
            line.chunks(PIECE).map(piece).collect()
        }
        Recorded::End(why) => vec![RecordingPiece {
            data: Default::default(),
            why,
        }],
    }
}
