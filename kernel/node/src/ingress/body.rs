//! What follows a head: a few words of our own, or what the other side sends as it comes. Nothing is gathered.
use super::progress::Progress;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use sampan_sandbox::workload::{BoxError, FilterBody};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The body of a request or an answer.
#[derive(Debug)]
pub struct Body {
    content: Content,
    /// Told of each piece.
    progress: Option<Arc<Progress>>,
}

#[derive(Debug)]
enum Content {
    Own(Option<Bytes>),
    Passed(Incoming),
    /// From a filter, or for what stands behind it.
    Filtered(FilterBody),
}

impl Body {
    pub fn empty() -> Self {
        Body::of("")
    }

    pub fn of(text: impl Into<String>) -> Self {
        let text = text.into();
        Body {
            content: Content::Own((!text.is_empty()).then(|| text.into())),
            progress: None,
        }
    }

    /// What goes into a filter or comes out of it.
    pub fn filtered(body: FilterBody) -> Self {
        Body {
            content: Content::Filtered(body),
            progress: None,
        }
    }

    /// As filters know bodies.
    pub fn for_filter(self) -> FilterBody {
        self.boxed_unsync()
    }

    /// What somebody sends; each piece that is passed on counts as progress.
    pub fn passed(incoming: Incoming, progress: Option<Arc<Progress>>) -> Self {
        Body {
            content: Content::Passed(incoming),
            progress,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.content {
            Content::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Passed(incoming) => {
                let frame = Pin::new(incoming).poll_frame(cx);
                if let (Poll::Ready(_), Some(progress)) = (&frame, &self.progress) {
                    progress.moved();
                }
                frame.map_err(BoxError::from)
            }
            Content::Filtered(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_none(),
            Content::Passed(incoming) => incoming.is_end_stream(),
            Content::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Passed(incoming) => incoming.size_hint(),
            Content::Filtered(body) => body.size_hint(),
        }
    }
}
