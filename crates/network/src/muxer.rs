//! A connection that closes in time, whatever the remote does.
//!
//! Closing politely means writing to the remote. One that stopped reading would keep the connection, its descriptor
//! and its slot for as long as it likes.

use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::StreamMuxer;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::{Sleep, sleep};

use crate::limits::CLOSE_TIMEOUT;

/// A multiplexed connection whose close ends after [`CLOSE_TIMEOUT`] at the latest.
pub(crate) struct PromptMuxer {
    inner: StreamMuxerBox,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl PromptMuxer {
    pub(crate) const fn new(inner: StreamMuxerBox) -> Self {
        Self {
            inner,
            deadline: None,
        }
    }
}

impl StreamMuxer for PromptMuxer {
    type Substream = SubstreamBox;
    type Error = std::io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SubstreamBox, Self::Error>> {
        Pin::new(&mut self.inner).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SubstreamBox, Self::Error>> {
        Pin::new(&mut self.inner).poll_outbound(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(closed) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        deadline.as_mut().poll(cx).map(Ok)
    }
}
