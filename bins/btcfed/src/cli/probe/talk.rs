//! The two last steps of reaching a peer: it proves its key, and it answers a first question.

use std::time::{Duration, Instant, SystemTime};

use btcfed_core::addr::PeerAddr;
use btcfed_core::config::BitcoinNetwork;
use btcfed_core::identity::SecretKey;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{CommandId, Network, NetworkCommand, NetworkEvent};
use btcfed_exchange_protocol::message::{ErrorCode, ErrorReply, Hello, Message, PeerRequest};
use btcfed_exchange_protocol::{codec, limits};
use tokio::sync::mpsc::Receiver;

use super::Step;
use crate::cli::args::Global;
use crate::cli::context::{self, Loaded};
use crate::view::VERSION;
use crate::wire;

/// Who calls: what is said in the introduction.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Caller {
    network: BitcoinNetwork,
    federation: String,
    secret: Option<SecretKey>,
}

impl Caller {
    /// Somebody nobody knows, of the federation of this machine's configuration if there is a good one.
    pub(in crate::cli) fn stranger(global: &Global) -> Self {
        context::load(global).map_or_else(|_| Self::default(), |loaded| Self::of(&loaded, None))
    }

    /// A caller of a configuration's federation, with an identity made for the occasion unless one is given.
    pub(in crate::cli) fn of(loaded: &Loaded, secret: Option<SecretKey>) -> Self {
        let config = &loaded.full.config;
        Self {
            network: config.bitcoin_network,
            federation: config.federation.clone(),
            secret,
        }
    }
}

/// What a peer says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Greeting {
    /// Its software, escaped and cut.
    pub(in crate::cli) agent: String,
    /// How far its clock is ahead of this machine's, in milliseconds; half of the way is taken off.
    pub(in crate::cli) clock_offset_ms: i64,
}

/// Connects to `addr`, and asks whoever answers unless it is somebody else than expected.
pub(super) fn talk(
    addr: &PeerAddr,
    expected: Option<PeerKey>,
    caller: &Caller,
    timeout: Duration,
) -> (Step<PeerKey>, Step<Greeting>) {
    let failed = |reason: String| (Step::Failed(reason), Step::Skipped);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(error.to_string()),
    };
    runtime.block_on(async {
        let opened = wire::open_network_once(timeout, caller.secret.clone()).await;
        let (network, mut events) = match opened {
            Ok(opened) => opened,
            Err(error) => return failed(error.to_string()),
        };
        let started = Instant::now();
        let connected = within(timeout, connect(&*network, &mut events, addr)).await;
        let noise = Step::measured(connected, started);
        let protocol = match noise.value() {
            Some(peer) if expected.is_none_or(|expected| expected == *peer) => {
                let started = Instant::now();
                let asked = within(timeout, ask(&*network, &mut events, *peer, caller)).await;
                Step::measured(asked, started)
            }
            _ => Step::Skipped,
        };
        (noise, protocol)
    })
}

async fn within<T>(
    timeout: Duration,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let ended = tokio::time::timeout(timeout, step).await;
    ended.unwrap_or_else(|_| Err("there was no answer in time".to_owned()))
}

/// Connects, and tells who proved their key.
async fn connect(
    network: &dyn Network,
    events: &mut Receiver<NetworkEvent>,
    addr: &PeerAddr,
) -> Result<PeerKey, String> {
    let dial = NetworkCommand::Dial {
        id: CommandId(1),
        peer: None,
        addrs: vec![addr.clone()],
    };
    network.submit(dial).map_err(|error| error.to_string())?;
    while let Some(event) = events.recv().await {
        match event {
            NetworkEvent::Connected { peer, .. } => return Ok(peer),
            NetworkEvent::DialFailed { attempts, .. } => {
                let reasons = attempts.iter().map(|(_, error)| error.to_string());
                return Err(reasons.collect::<Vec<_>>().join("; "));
            }
            _ => {}
        }
    }
    Err("the network ended".to_owned())
}

/// Introduces the caller with a question that asks for no records, and reads the answer.
async fn ask(
    network: &dyn Network,
    events: &mut Receiver<NetworkEvent>,
    peer: PeerKey,
    caller: &Caller,
) -> Result<Greeting, String> {
    let asked_at = wall_ms();
    let hello = Hello {
        version_min: limits::VERSION_MIN,
        version_max: limits::VERSION_MAX,
        network: caller.network.magic(),
        federation: caller.federation.clone(),
        agent: format!("btcfed/{VERSION} ping"),
        wall_ms: asked_at,
        ..Hello::default()
    };
    let question = PeerRequest {
        hello: Some(hello),
        ..PeerRequest::default()
    };
    let request = NetworkCommand::Request {
        id: CommandId(2),
        peer,
        frame: codec::encode(&Message::Request(question)),
    };
    network.submit(request).map_err(|error| error.to_string())?;
    let hung_up =
        "it hung up: does it admit only peers it chose (peers.mode allowlist), or ban this one?";
    while let Some(event) = events.recv().await {
        match event {
            NetworkEvent::Response { frame, .. } => return read(&frame, asked_at, caller),
            NetworkEvent::RequestFailed { error, .. } => {
                return Err(format!("the first question failed ({error}); {hung_up}"));
            }
            NetworkEvent::Disconnected { .. } => return Err(hung_up.to_owned()),
            _ => {}
        }
    }
    Err("the network ended".to_owned())
}

fn read(frame: &[u8], asked_at: u64, caller: &Caller) -> Result<Greeting, String> {
    let answer = codec::decode(frame).map_err(|error| format!("it answers nonsense: {error}"))?;
    match answer {
        Message::Response(response) => {
            let hello = response
                .hello
                .ok_or_else(|| "it does not introduce itself".to_owned())?;
            let halfway = i128::from(u64::midpoint(asked_at, wall_ms()));
            let ahead = i128::from(hello.wall_ms) - halfway;
            let cut = hello.agent.escape_debug().take(limits::MAX_AGENT_BYTES);
            Ok(Greeting {
                agent: cut.collect(),
                clock_offset_ms: i64::try_from(ahead).unwrap_or(i64::MAX),
            })
        }
        Message::Error(refusal) => Err(refused(&refusal, caller)),
        other => Err(format!("it answers with another message: {}", other.name())),
    }
}

fn refused(refusal: &ErrorReply, caller: &Caller) -> String {
    match refusal.code {
        ErrorCode::FederationMismatch => format!(
            "it belongs to another federation than {:?} (node.federation)",
            caller.federation
        ),
        ErrorCode::NetworkMismatch => format!(
            "it is on another network than {} (node.network)",
            caller.network.as_str()
        ),
        ErrorCode::Version => format!(
            "it speaks the protocol in versions {} to {}, this program {} to {}",
            refusal.version_min,
            refusal.version_max,
            limits::VERSION_MIN,
            limits::VERSION_MAX
        ),
        ErrorCode::Busy => "it has no room for another conversation".to_owned(),
        code => format!("it refuses to talk: {code}"),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_differs() {
        let caller = Caller {
            federation: "alpha".to_owned(),
            ..Caller::default()
        };
        for (code, part) in [
            (
                ErrorCode::FederationMismatch,
                "another federation than \"alpha\"",
            ),
            (ErrorCode::NetworkMismatch, "another network than mainnet"),
            (ErrorCode::Version, "versions 7 to 9"),
            (ErrorCode::Busy, "no room"),
            (ErrorCode::Rate, "RATE"),
        ] {
            let refusal = ErrorReply {
                code,
                message: "\u{1b}[31m".to_owned(),
                retry_after_ms: 0,
                version_min: 7,
                version_max: 9,
                alternatives: Vec::new(),
            };
            let frame = codec::encode(&Message::Error(refusal));
            let told = read(&frame, 0, &caller).unwrap_err();
            assert!(told.contains(part) && !told.contains('\u{1b}'), "{told}");
        }
        assert!(
            read(b"nonsense", 0, &caller)
                .unwrap_err()
                .contains("nonsense")
        );
    }

    #[test]
    fn the_clock_of_a_peer_is_compared_with_the_middle_of_the_way() {
        let hello = Hello {
            agent: "x\u{1b}".to_owned(),
            wall_ms: wall_ms() + 60_000,
            version_min: 1,
            version_max: 1,
            ..Hello::default()
        };
        let response = btcfed_exchange_protocol::message::PeerResponse {
            hello: Some(hello),
            ..Default::default()
        };
        let frame = codec::encode(&Message::Response(response));
        let greeting = read(&frame, wall_ms(), &Caller::default()).unwrap();
        assert!((59_000..=60_000).contains(&greeting.clock_offset_ms));
        assert_eq!(greeting.agent, "x\\u{1b}");
    }
}
