//! The transport stack: TCP, Noise, Yamux, names, and around it the checks that decide what a dial came to.
//!
//! Composed by hand, because libp2p's builder hides the operating system's error inside types that nobody can name.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use btcfed_core::network::NetworkError;
use futures::TryFutureExt as _;
use futures::future::BoxFuture;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::derive_prelude::Either;
use libp2p::{Multiaddr, PeerId, Transport, TransportError, dns, noise, tcp, yamux};

use crate::cancel::Cancels;
use crate::convert;
use crate::error::{Failure, chain};
use crate::limits::MAX_YAMUX_STREAMS;
use crate::muxer::PromptMuxer;
use crate::refused::Refused;
use crate::resolved::Resolved;
use crate::resolver::{LiveNaming, Naming};
use crate::shared::Shared;
use crate::turns::{self, Turns};

/// What the swarm wants of a finished handshake.
type Upgraded = (PeerId, StreamMuxerBox);

/// What comes out of a finished handshake, with the address that TCP saw.
struct Secured {
    peer: PeerId,
    muxer: StreamMuxerBox,
    ip: Option<IpAddr>,
}

/// How long a connection may take to be established; changed while running.
#[derive(Debug)]
pub(crate) struct SetupTimeout(AtomicU64);

impl SetupTimeout {
    pub(crate) fn new(timeout: Duration) -> Self {
        let this = Self(AtomicU64::new(0));
        this.set(timeout);
        this
    }

    pub(crate) fn set(&self, timeout: Duration) {
        self.0.store(
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn read(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Builds the whole stack.
pub(crate) fn build(
    keypair: &Keypair,
    timeout: Arc<SetupTimeout>,
    refused: &Arc<Refused>,
    resolved: &Arc<Resolved>,
    cancels: &Cancels,
    naming: Arc<LiveNaming>,
    turns: Turns,
) -> Result<Boxed<Upgraded>, NetworkError> {
    let noise =
        noise::Config::new(keypair).map_err(|e| NetworkError::Transport { reason: chain(&e) })?;
    let secured = Shared::new(secured(noise, Arc::clone(refused)));
    let checked = Checked {
        inner: named(secured.clone(), &naming.current()),
        secured,
        naming,
        turns,
        local: keypair.public().to_peer_id(),
        timeout,
        resolved: Arc::clone(resolved),
        cancels: cancels.clone(),
    };
    Ok(checked.boxed())
}

/// Looks up names for a transport that knows only addresses.
fn named<T: Transport>(secured: Shared<T>, naming: &Naming) -> dns::tokio::Transport<Shared<T>> {
    let (config, options) = naming.resolver();
    dns::tokio::Transport::custom(secured, config, options)
}

/// TCP, then Noise, then Yamux, with every error in our own words.
fn secured(
    noise: noise::Config,
    refused: Arc<Refused>,
) -> impl Transport<
    Output = Secured,
    Error = Failure,
    ListenerUpgrade: Send + 'static,
    Dial: Send + 'static,
> + Send
+ Unpin
+ 'static {
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_YAMUX_STREAMS);
    tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .map_err(Failure::Tcp)
        .and_then(move |stream, endpoint| async move {
            // Names are resolved by now: the one place where a ban of an address meets the address behind a name.
            if remote_ip(&endpoint).is_some_and(|ip| refused.ip(ip)) {
                Err(Failure::Banned)
            } else {
                Ok(stream)
            }
        })
        .map_err(|e| match e {
            Either::Left(failure) | Either::Right(failure) => failure,
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .map(|(peer, muxer), endpoint| {
            let muxer = StreamMuxerBox::new(PromptMuxer::new(StreamMuxerBox::new(muxer)));
            Secured {
                peer,
                muxer,
                ip: remote_ip(&endpoint),
            }
        })
        .map_err(|e| match e {
            Either::Left(Either::Left(failure)) => failure,
            Either::Left(Either::Right(error)) => handshake(&error),
            Either::Right(error) => handshake(&error),
        })
}

fn remote_ip(endpoint: &ConnectedPoint) -> Option<IpAddr> {
    convert::peer_addr(endpoint.get_remote_address()).and_then(|addr| addr.ip())
}

fn handshake(error: &dyn std::error::Error) -> Failure {
    Failure::Handshake(chain(error))
}

/// The outermost layer: one deadline around the wait for its turn, names, TCP, Noise and Yamux together, and the identity
/// check. Checked here and not in the swarm, a wrong peer at one address does not end the dial while other addresses are
/// still tried.
struct Checked<T> {
    /// `secured` with names around it, made anew when they are to be looked up in another way.
    inner: dns::tokio::Transport<Shared<T>>,
    secured: Shared<T>,
    naming: Arc<LiveNaming>,
    turns: Turns,
    local: PeerId,
    timeout: Arc<SetupTimeout>,
    resolved: Arc<Resolved>,
    cancels: Cancels,
}

impl<T> Transport for Checked<T>
where
    T: Transport<Output = Secured, Error = Failure> + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    type Output = Upgraded;
    type Error = Failure;
    type ListenerUpgrade = BoxFuture<'static, Result<Upgraded, Failure>>;
    type Dial = BoxFuture<'static, Result<Upgraded, Failure>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<Failure>> {
        self.inner.listen_on(id, addr).map_err(|e| e.map(flatten))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Failure>> {
        if let Some(naming) = self.naming.take_changed() {
            // Dials under way end with the resolver they began with.
            self.inner = named(self.secured.clone(), &naming);
        }
        let (expected, local, resolved) = (
            convert::id_suffix(&addr),
            self.local,
            Arc::clone(&self.resolved),
        );
        let dial = self
            .inner
            .dial(addr.clone(), opts)
            .map_err(|e| e.map(flatten))?;
        let (mut turn, timeout) = (self.turns.take(), self.timeout.read());
        let dial = within(timeout, async move {
            turn.due(turns::pause(timeout)).await;
            // Whoever waits for this one is not polled again once it has got through.
            let secured = dial.await;
            drop(turn);
            secured
        });
        let cancelled = self.cancels.of(addr.clone());
        Ok(Box::pin(async move {
            let Secured { peer, muxer, ip } = tokio::select! {
                biased;
                () = cancelled => return Err(Failure::Aborted),
                secured = dial => secured?,
            };
            if peer == local {
                return Err(Failure::Own);
            }
            if expected.is_some_and(|expected| expected != peer) {
                return Err(Failure::WrongPeer(peer.to_string()));
            }
            if let Some(ip) = ip {
                resolved.insert(peer, addr, ip);
            }
            Ok((peer, muxer))
        }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Failure>> {
        let timeout = self.timeout.read();
        Pin::new(&mut self.inner).poll(cx).map(|event| {
            let checked = |upgrade| -> Self::ListenerUpgrade {
                Box::pin(
                    within(timeout, upgrade).map_ok(|Secured { peer, muxer, .. }| (peer, muxer)),
                )
            };
            event.map_upgrade(checked).map_err(flatten)
        })
    }
}

/// The outcome of a handshake, or `Timeout`. Bytes that trickle in do not move the deadline.
async fn within(
    timeout: Duration,
    setup: impl Future<Output = Result<Secured, dns::Error<Failure>>>,
) -> Result<Secured, Failure> {
    match tokio::time::timeout(timeout, setup).await {
        Ok(outcome) => outcome.map_err(flatten),
        Err(_) => Err(Failure::Timeout),
    }
}

/// One failure out of the several that a name with several addresses can give: the one that came furthest.
fn flatten(error: dns::Error<Failure>) -> Failure {
    match error {
        dns::Error::Transport(failure) => failure,
        dns::Error::ResolveError(error) => Failure::Dns(chain(&error)),
        dns::Error::MultiaddrNotSupported(_) => Failure::Unsupported,
        dns::Error::TooManyLookups => Failure::Dns("too many look-ups for one address".to_owned()),
        dns::Error::Dial(errors) => errors
            .into_iter()
            .map(flatten)
            .max_by_key(Failure::rank)
            .unwrap_or_else(|| Failure::Tcp(io::ErrorKind::NotConnected.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_the_one_that_came_furthest_is_told() {
        let refused =
            || dns::Error::Transport(Failure::Tcp(io::ErrorKind::ConnectionRefused.into()));
        let error = dns::Error::Dial(vec![
            dns::Error::TooManyLookups,
            refused(),
            dns::Error::Transport(Failure::Timeout),
        ]);
        assert!(matches!(flatten(error), Failure::Tcp(_)));
        assert!(matches!(
            flatten(dns::Error::Dial(Vec::new())),
            Failure::Tcp(_)
        ));
        assert!(matches!(
            flatten(dns::Error::Dial(vec![dns::Error::Dial(vec![refused()])])),
            Failure::Tcp(_)
        ));
    }

    #[test]
    fn the_setup_timeout_can_be_changed_while_in_use() {
        let timeout = SetupTimeout::new(Duration::from_secs(10));
        assert_eq!(timeout.read(), Duration::from_secs(10));
        timeout.set(Duration::MAX);
        assert_eq!(timeout.read(), Duration::from_millis(u64::MAX));
    }
}
