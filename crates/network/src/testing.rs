//! A libp2p stranger for tests of whole nodes: a connection with a fresh identity and none of our rules, on which streams
//! can be opened and reset without end. No libp2p type appears here either.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::StreamMuxer;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport as _, noise, tcp, yamux};
use tokio::time::timeout;

/// A connection of somebody who follows no protocol above the multiplexer.
pub struct Stranger(StreamMuxerBox);

impl std::fmt::Debug for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stranger")
    }
}

impl Stranger {
    /// Connects under an identity that nobody has seen before, through TCP, Noise and Yamux.
    ///
    /// # Errors
    /// The node cannot be reached, turned the stranger away, or did not answer within `limit`.
    pub async fn connect(to: SocketAddr, limit: Duration) -> io::Result<Self> {
        let keypair = Keypair::generate_ed25519();
        let noise = noise::Config::new(&keypair).map_err(io::Error::other)?;
        let mut transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
            .upgrade(Version::V1)
            .authenticate(noise)
            .multiplex(yamux::Config::default());
        let addr = Multiaddr::from(to.ip()).with(Protocol::Tcp(to.port()));
        let opts = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dial = transport.dial(addr, opts).map_err(io::Error::other)?;
        let (_, muxer) = timeout(limit, dial)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io::Error::other)?;
        Ok(Self(StreamMuxerBox::new(muxer)))
    }

    /// Opens a stream and resets it at once, `count` times; returns how many there were before the node hung up or
    /// `limit` was over.
    pub async fn open_and_reset(&mut self, count: usize, limit: Duration) -> usize {
        let mut opened = 0;
        let work = async {
            while opened < count {
                // Dropping a stream that was not closed resets it.
                match self.open().await {
                    Ok(stream) => drop(stream),
                    Err(_) => return,
                }
                opened += 1;
            }
        };
        // Whether it ended by itself or by the limit is all the same to the caller, who gets the number.
        drop(timeout(limit, work).await);
        opened
    }

    /// Keeps the connection as long as the node does, but at most for `limit`.
    pub async fn stay(mut self, limit: Duration) {
        let gone = poll_fn(|cx| {
            while let Poll::Ready(inbound) = Pin::new(&mut self.0).poll_inbound(cx) {
                if inbound.is_err() {
                    return Poll::Ready(());
                }
            }
            match Pin::new(&mut self.0).poll(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        // The end of the connection and the end of the time are both what was asked for.
        drop(timeout(limit, gone).await);
    }

    async fn open(&mut self) -> io::Result<libp2p::core::muxing::SubstreamBox> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.0).poll(cx) {
                return Poll::Ready(Err(error));
            }
            // Streams that the node opens (identify, pings) are dropped unread.
            while let Poll::Ready(inbound) = Pin::new(&mut self.0).poll_inbound(cx) {
                inbound?;
            }
            Pin::new(&mut self.0).poll_outbound(cx)
        })
        .await
    }
}
