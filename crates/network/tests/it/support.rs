//! Nodes on loopback and the events they wait for. Nothing here sleeps and hopes: everything polls until a deadline.

use std::fmt::Debug;
use std::net::TcpListener;
use std::time::Duration;

use btcfed_core::network::{
    CommandId, DialError, DisconnectReason, NetworkCommand, NetworkError, NetworkEvent,
    RequestToken,
};
use btcfed_core::{Network as _, NodeConfig, PeerAddr, PeerKey, SecretKey};
use btcfed_network::{NetworkEvents, NetworkHandle, SpawnOptions, spawn};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) key: PeerKey,
    pub(crate) handle: NetworkHandle,
    pub(crate) events: NetworkEvents,
    pub(crate) task: JoinHandle<()>,
    next_command: u64,
}

/// A configuration that listens on a free port of 127.0.0.1.
pub(crate) fn config() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.network.addresses = vec![addr("/ip4/127.0.0.1/tcp/0")];
    config
}

pub(crate) fn addr(text: &str) -> PeerAddr {
    text.parse().unwrap()
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn key(seed: u8) -> PeerKey {
    secret(seed).public()
}

impl Node {
    pub(crate) async fn spawn(seed: u8) -> Self {
        Self::with(seed, |_| {}).await
    }

    pub(crate) async fn with(seed: u8, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::start(SpawnOptions::new(secret(seed), &config))
            .await
            .unwrap()
    }

    pub(crate) async fn start(options: SpawnOptions) -> Result<Self, NetworkError> {
        let (handle, events, task) = spawn(options).await?;
        let key = handle.local_peer().key();
        Ok(Self {
            key,
            handle,
            events,
            task,
            next_command: 1,
        })
    }

    /// The first address this node listens on.
    pub(crate) fn addr(&self) -> PeerAddr {
        self.handle.listen_addrs().first().cloned().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr().port().unwrap()
    }

    pub(crate) fn submit(&self, command: NetworkCommand) {
        self.handle.submit(command).unwrap();
    }

    pub(crate) fn command(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }

    pub(crate) fn dial(&mut self, peer: Option<PeerKey>, addrs: &[PeerAddr]) -> CommandId {
        let id = self.command();
        self.submit(NetworkCommand::Dial {
            id,
            peer,
            addrs: addrs.to_vec(),
        });
        id
    }

    pub(crate) fn ask(&mut self, peer: PeerKey, frame: &[u8]) -> CommandId {
        let id = self.command();
        self.submit(NetworkCommand::Request {
            id,
            peer,
            frame: frame.to_vec(),
        });
        id
    }

    pub(crate) fn answer(&self, token: RequestToken, frame: &[u8]) {
        self.submit(NetworkCommand::Respond {
            token,
            frame: frame.to_vec(),
        });
    }

    pub(crate) fn disconnect(&self, peer: PeerKey) {
        self.submit(NetworkCommand::Disconnect { peer });
    }

    /// Skips events until `wanted` picks one.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(NetworkEvent) -> Option<T>,
    ) -> T {
        let search = async {
            loop {
                let event = self
                    .events
                    .next()
                    .await
                    .unwrap_or_else(|| panic!("{what}: the network ended"));
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, search)
            .await
            .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
    }

    pub(crate) async fn connected(&mut self, wanted: PeerKey) -> NetworkEvent {
        self.until("connected", |event| match &event {
            NetworkEvent::Connected { peer, .. } if *peer == wanted => Some(event),
            NetworkEvent::DialFailed { attempts, .. } if !attempts.is_empty() => {
                panic!("{attempts:?}")
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn disconnected(&mut self, wanted: PeerKey) -> DisconnectReason {
        self.until("disconnected", |event| match event {
            NetworkEvent::Disconnected { peer, reason } if peer == wanted => Some(reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn dial_failed(&mut self, wanted: CommandId) -> Vec<(PeerAddr, DialError)> {
        self.until("dial failed", |event| match event {
            NetworkEvent::DialFailed { id, attempts, .. } if id == wanted => Some(attempts),
            NetworkEvent::Connected {
                command: Some(id), ..
            } if id == wanted => panic!("connected"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn request(&mut self) -> (PeerKey, RequestToken, Vec<u8>) {
        self.until("request", |event| match event {
            NetworkEvent::Request { peer, token, frame } => Some((peer, token, frame)),
            _ => None,
        })
        .await
    }

    /// Nobody may be lost meanwhile.
    pub(crate) async fn response(&mut self, wanted: CommandId) -> Vec<u8> {
        self.until("response", |event| match event {
            NetworkEvent::Disconnected { reason, .. } => {
                panic!("disconnected: {}", reason.as_str())
            }
            NetworkEvent::Response { id, frame, .. } if id == wanted => Some(frame),
            NetworkEvent::RequestFailed { id, error, .. } if id == wanted => panic!("{error}"),
            _ => None,
        })
        .await
    }

    /// Connects to `other` and waits until both sides know.
    pub(crate) async fn connect(&mut self, other: &mut Self) {
        let addrs = other.handle.listen_addrs();
        self.dial(Some(other.key), &addrs);
        self.connected(other.key).await;
        other.connected(self.key).await;
    }

    /// A frame to `other` and one back. It may arrive twice, when its connection loses a tie-break.
    pub(crate) async fn converse(&mut self, other: &mut Self) {
        let id = self.ask(other.key, b"ping");
        loop {
            tokio::select! {
                (peer, token, frame) = other.request() => {
                    assert_eq!((peer, frame.as_slice()), (self.key, &b"ping"[..]));
                    other.answer(token, b"pong");
                }
                frame = self.response(id) => return assert_eq!(frame, b"pong"),
            }
        }
    }

    /// Established connections now.
    pub(crate) fn connections(&self) -> u64 {
        self.handle.stats().connections
    }
}

/// Polls until `probe` gives `wanted`.
pub(crate) async fn eventually<T: PartialEq + Debug>(wanted: T, probe: impl Fn() -> T) {
    let start = Instant::now();
    loop {
        let is = probe();
        if is == wanted {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "still {is:?}, not {wanted:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Answers every request with its own frame, for ever.
pub(crate) fn echo(mut node: Node) -> NetworkHandle {
    let handle = node.handle.clone();
    tokio::spawn(async move {
        while let Some(event) = node.events.next().await {
            if let NetworkEvent::Request { token, frame, .. } = event {
                let _ = node.handle.submit(NetworkCommand::Respond { token, frame });
            }
        }
    });
    handle
}
