//! The configuration as the rest of the program sees it: every value valid, units in the types, no secrets.

mod defence;

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::addr::{AddrWithId, PeerAddr};
use crate::backoff::BackoffPolicy;
use crate::breaker::BreakerPolicy;
use crate::error::ErrorKind;
use crate::limits;
use crate::set::SetBounds;

pub use defence::{BanPolicy, RateLimit};

/// Which Bitcoin network a federation works on. Peers of another one are refused in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BitcoinNetwork {
    /// The production network.
    #[default]
    Mainnet,
    /// A network of one's own, for tests.
    Regtest,
    /// The public test network.
    Testnet,
}

impl BitcoinNetwork {
    /// All of them, by name.
    pub const ALL: [Self; 3] = [Self::Mainnet, Self::Regtest, Self::Testnet];

    /// The name used in `conf.yaml` and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Regtest => "regtest",
            Self::Testnet => "testnet",
        }
    }

    /// The message-start bytes of the network, as in Bitcoin's `chainparams`: the compact id sent in the handshake.
    #[must_use]
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Mainnet => [0xf9, 0xbe, 0xb4, 0xd9],
            Self::Regtest => [0xfa, 0xbf, 0xb5, 0xda],
            Self::Testnet => [0x0b, 0x11, 0x09, 0x07],
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what stops the node.
    Error,
    /// What an operator should look at.
    Warn,
    /// State changes.
    #[default]
    Info,
    /// Every message.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All of them, quietest first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The name used in `conf.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Error => "error",
            Self::Info => "info",
            Self::Trace => "trace",
            Self::Warn => "warn",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Json, Self::Text];

    /// The name used in `conf.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

/// When log lines in the text format have colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogColor {
    /// Always, on standard error.
    Always,
    /// On a terminal, unless the environment variable `NO_COLOR` is set.
    #[default]
    Auto,
    /// Never.
    Never,
}

impl LogColor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Auto, Self::Never];

    /// The name used in `conf.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}

/// Who may be a peer of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeersMode {
    /// Whoever belongs to the same network and federation.
    #[default]
    Open,
    /// Only peers the operator chose. Learned ones are kept and wait until the operator adds them.
    Allowlist,
}

impl PeersMode {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Open, Self::Allowlist];

    /// The name used in `conf.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowlist => "allowlist",
            Self::Open => "open",
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// `node.name`: a label for people.
    pub name: String,
    /// `node.federation`: peers with another id are refused in the handshake.
    pub federation: String,
    /// `node.network`.
    pub bitcoin_network: BitcoinNetwork,
    /// `network.*`.
    pub network: NetworkConfig,
    /// `peers.*`.
    pub peers: PeersConfig,
    /// `storage.*`.
    pub storage: StorageConfig,
    /// `admin.*`.
    pub admin: AdminConfig,
    /// `logging.*`.
    pub logging: LoggingConfig,
    /// `shutdown.timeout`: how long a graceful shutdown may take.
    pub shutdown_timeout: Duration,
}

/// `network.*`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// Where to listen: `/ip4|ip6/.../tcp/PORT`. Empty means dial only.
    pub addresses: Vec<PeerAddr>,
    /// What to tell others; empty means the listeners' own addresses, as far as they are meaningful to others.
    pub announce: Vec<PeerAddr>,
    /// How often a busy port is tried again at the start, all addresses together.
    pub port_retries: u32,
    /// How many of the following ports are tried at the start when one stays busy; 0 tries none.
    pub port_fallback: u16,
    /// Connections this node opens on its own beyond the peers the operator chose.
    pub target_outbound: usize,
    /// All connections.
    pub max_connections: usize,
    /// Connections others opened.
    pub max_inbound: usize,
    /// Inbound connections from one canonical IP address; loopback is exempt.
    pub max_per_ip: usize,
    /// Connections that are not established yet, each way.
    pub max_pending: usize,
    /// How often a peer is pinged.
    pub keepalive_interval: Duration,
    /// How long a ping may take.
    pub keepalive_timeout: Duration,
    /// Missed pings in a row after which a peer counts as gone.
    pub keepalive_failures: u32,
    /// How long one question to a name server may take.
    pub dns_timeout: Duration,
    /// For how long the answer of a name server is used at most.
    pub dns_max_ttl: Duration,
    /// For how long a name that does not exist is not asked for again at most.
    pub dns_negative_ttl: Duration,
    /// For how long the address a name last led to is dialled when the name does not resolve.
    pub dns_serve_stale: Duration,
    /// How long to wait before a failed peer is dialled again.
    pub backoff: BackoffPolicy,
    /// When to stop dialling a peer for a while.
    pub breaker: BreakerPolicy,
}

impl NetworkConfig {
    /// How long a peer may stay silent before its connection is closed: the sum of the allowed missed pings.
    #[must_use]
    pub fn liveness_deadline(&self) -> Duration {
        self.keepalive_interval
            .saturating_mul(self.keepalive_failures)
            .saturating_add(self.keepalive_timeout)
    }
}

/// `peers.*`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeersConfig {
    /// Where peers are kept.
    pub file: PathBuf,
    /// Who may be a peer of this node.
    pub mode: PeersMode,
    /// Whom to ask first.
    pub bootstrap: Vec<AddrWithId>,
    /// Software nobody talks to: patterns for the agent text of a peer, see [`matches_agent`](Self::matches_agent).
    pub deny_agents: Vec<String>,
    /// The longest time between two synchronisations.
    pub exchange_interval: Duration,
    /// Random share added to or taken from every interval, 0 to 0.5.
    pub exchange_jitter: f64,
    /// How long nobody may have heard of a learned peer before others are dialled first.
    pub stale_after: Duration,
    /// How long nobody may have heard of a learned peer before it is forgotten.
    pub forget_after: Duration,
    /// How long a dial may take: name resolution, TCP, Noise and Yamux together.
    pub connection_timeout: Duration,
    /// How much of what nobody chose is kept.
    pub bounds: SetBounds,
    /// How much a peer may send of its own accord.
    pub rate_limit: RateLimit,
    /// When the node bans a peer.
    pub ban: BanPolicy,
}

impl PeersConfig {
    /// True when a pattern of `deny_agents` describes the whole of this text. `*` stands for any text, an empty one
    /// included; upper and lower case of ASCII letters are the same.
    #[must_use]
    pub fn matches_agent(&self, agent: &str) -> bool {
        self.deny_agents
            .iter()
            .any(|pattern| matches_pattern(pattern.as_bytes(), agent.as_bytes()))
    }

    fn values(&self) -> [(&'static str, String); 11] {
        [
            ("peers.max_peers", self.bounds.max_peers.to_string()),
            (
                "peers.max_addresses_per_peer",
                self.bounds.max_addresses.to_string(),
            ),
            ("peers.deny_agents", list(&quoted(&self.deny_agents))),
            ("peers.file", self.file.display().to_string()),
            ("peers.mode", self.mode.as_str().to_owned()),
            ("peers.bootstrap", list(&self.bootstrap)),
            (
                "peers.exchange_interval",
                format_duration(self.exchange_interval),
            ),
            ("peers.exchange_jitter", self.exchange_jitter.to_string()),
            (
                "peers.connection_timeout",
                format_duration(self.connection_timeout),
            ),
            ("peers.stale_after", format_duration(self.stale_after)),
            ("peers.forget_after", format_duration(self.forget_after)),
        ]
    }
}

/// Texts in quotes, because `*` means something to YAML.
fn quoted(texts: &[String]) -> Vec<String> {
    let quote = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    texts.iter().map(quote).collect()
}

/// Matches greedily and goes back to the last `*` only: linear in text times pattern, whatever they are.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => {
                at += 1;
                read += 1;
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (at, read) = (*after + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

/// `storage.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// How long to wait for the file lock.
    pub lock_timeout: Duration,
    /// Whether to notice edits of the peers file while running.
    pub watch: bool,
    /// How long the file must be quiet before an edit is read.
    pub debounce: Duration,
    /// How long a change may wait before the file is rewritten.
    pub flush_interval: Duration,
    /// Whether changes are written to a journal first.
    pub journal: bool,
    /// How many older copies of the file are kept.
    pub backups: usize,
}

/// `admin.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminConfig {
    /// The unix socket for commands.
    pub socket: PathBuf,
    /// The socket's permission bits.
    pub mode: u32,
    /// The name or number of the group the socket belongs to; empty leaves it to the system.
    pub group: String,
    /// Where `/livez`, `/readyz` and `/metrics` are answered over HTTP; `None` answers nowhere.
    pub http: Option<SocketAddr>,
    /// Whether [`AdminConfig::http`] may be an address that other machines reach.
    pub http_insecure: bool,
    /// Reload when the configuration file changes.
    pub reload_on_change: bool,
}

/// `logging.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggingConfig {
    /// How much.
    pub level: LogLevel,
    /// How it looks.
    pub format: LogFormat,
    /// Whether it has colours.
    pub color: LogColor,
    /// Levels of single parts, such as `btcfed_network=debug,libp2p=warn`: they go before `level`.
    pub filter: String,
    /// Where it goes; standard error without a file.
    pub file: Option<PathBuf>,
    /// Whether each message to and from peers is logged, whatever the level.
    pub trace_messages: bool,
}

impl LoggingConfig {
    fn values(&self) -> [(&'static str, String); 6] {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        [
            ("logging.level", self.level.as_str().to_owned()),
            ("logging.format", self.format.as_str().to_owned()),
            ("logging.color", self.color.as_str().to_owned()),
            ("logging.filter", self.filter.clone()),
            ("logging.file", file.unwrap_or_default()),
            ("logging.trace_messages", self.trace_messages.to_string()),
        ]
    }
}

impl Default for NodeConfig {
    /// The documented defaults, with every file in the current directory.
    fn default() -> Self {
        Self {
            name: String::new(),
            federation: String::new(),
            bitcoin_network: BitcoinNetwork::Mainnet,
            network: NetworkConfig::default(),
            peers: PeersConfig {
                file: PathBuf::from("peers.yaml"),
                mode: PeersMode::Open,
                bootstrap: Vec::new(),
                deny_agents: Vec::new(),
                exchange_interval: Duration::from_secs(30),
                exchange_jitter: 0.2,
                stale_after: Duration::from_secs(24 * 3600),
                forget_after: Duration::from_secs(30 * 24 * 3600),
                connection_timeout: Duration::from_secs(10),
                bounds: SetBounds::default(),
                rate_limit: RateLimit::DEFAULT,
                ban: BanPolicy::DEFAULT,
            },
            storage: StorageConfig {
                lock_timeout: Duration::from_secs(5),
                watch: true,
                debounce: Duration::from_millis(250),
                flush_interval: Duration::from_secs(1),
                journal: true,
                backups: limits::MAX_BACKUPS,
            },
            admin: AdminConfig {
                socket: PathBuf::from("btcfed.sock"),
                mode: 0o660,
                group: String::new(),
                http: None,
                http_insecure: false,
                reload_on_change: false,
            },
            logging: LoggingConfig::default(),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for NetworkConfig {
    /// The documented defaults; listens on port 9000 of every interface.
    fn default() -> Self {
        use std::net::{Ipv4Addr, Ipv6Addr};
        Self {
            addresses: vec![
                PeerAddr::from_socket_addr((Ipv4Addr::UNSPECIFIED, 9000).into()),
                PeerAddr::from_socket_addr((Ipv6Addr::UNSPECIFIED, 9000).into()),
            ],
            announce: Vec::new(),
            port_retries: 5,
            port_fallback: 0,
            target_outbound: 8,
            max_connections: 128,
            max_inbound: 96,
            max_per_ip: 8,
            max_pending: 32,
            keepalive_interval: Duration::from_secs(15),
            keepalive_timeout: Duration::from_secs(10),
            keepalive_failures: 3,
            dns_timeout: Duration::from_secs(3),
            dns_max_ttl: Duration::from_secs(300),
            dns_negative_ttl: Duration::from_secs(10),
            dns_serve_stale: Duration::from_secs(3600),
            backoff: BackoffPolicy::default(),
            breaker: BreakerPolicy::default(),
        }
    }
}

/// The keys whose values take effect only when the node starts.
pub const RESTART_KEYS: [&str; 13] = [
    "admin.group",
    "admin.http",
    "admin.http_insecure",
    "admin.mode",
    "admin.socket",
    "network.port_fallback",
    "network.port_retries",
    "node.federation",
    "node.network",
    "node.private_key",
    "node.private_key_file",
    "peers.file",
    "storage.journal",
];

impl AdminConfig {
    /// The values of `admin.*`.
    fn values(&self) -> [(&'static str, String); 6] {
        [
            ("admin.socket", self.socket.display().to_string()),
            ("admin.mode", format!("{:04o}", self.mode)),
            ("admin.group", self.group.clone()),
            (
                "admin.http",
                self.http.map_or_else(String::new, |at| at.to_string()),
            ),
            ("admin.http_insecure", self.http_insecure.to_string()),
            ("admin.reload_on_change", self.reload_on_change.to_string()),
        ]
    }
}

impl NetworkConfig {
    /// The values of `network.dns.*`.
    fn dns_values(&self) -> [(&'static str, String); 4] {
        let net = self;
        [
            ("network.dns.timeout", format_duration(net.dns_timeout)),
            ("network.dns.max_ttl", format_duration(net.dns_max_ttl)),
            (
                "network.dns.negative_ttl",
                format_duration(net.dns_negative_ttl),
            ),
            (
                "network.dns.serve_stale",
                format_duration(net.dns_serve_stale),
            ),
        ]
    }
}

impl NodeConfig {
    /// Every value by its key in `conf.yaml`, in the spelling of that file. Secrets are not part of it.
    #[must_use]
    pub fn values(&self) -> BTreeMap<&'static str, String> {
        let (net, storage) = (&self.network, &self.storage);
        let mut values = BTreeMap::from([
            ("node.name", self.name.clone()),
            ("node.federation", self.federation.clone()),
            ("node.network", self.bitcoin_network.as_str().to_owned()),
            ("network.addresses", list(&net.addresses)),
            ("network.announce", list(&net.announce)),
            ("network.port_retries", net.port_retries.to_string()),
            ("network.port_fallback", net.port_fallback.to_string()),
            ("network.target_outbound", net.target_outbound.to_string()),
            (
                "network.limits.max_connections",
                net.max_connections.to_string(),
            ),
            ("network.limits.max_inbound", net.max_inbound.to_string()),
            ("network.limits.max_per_ip", net.max_per_ip.to_string()),
            ("network.limits.max_pending", net.max_pending.to_string()),
            (
                "network.keepalive.interval",
                format_duration(net.keepalive_interval),
            ),
            (
                "network.keepalive.timeout",
                format_duration(net.keepalive_timeout),
            ),
            (
                "network.keepalive.failures",
                net.keepalive_failures.to_string(),
            ),
            (
                "network.backoff.initial",
                format_duration(net.backoff.initial()),
            ),
            ("network.backoff.max", format_duration(net.backoff.max())),
            ("network.backoff.factor", net.backoff.factor().to_string()),
            ("network.backoff.jitter", net.backoff.jitter().to_string()),
            ("network.breaker.failures", net.breaker.failures.to_string()),
            (
                "network.breaker.cooldown",
                format_duration(net.breaker.cooldown),
            ),
            (
                "storage.lock_timeout",
                format_duration(storage.lock_timeout),
            ),
            ("storage.watch", storage.watch.to_string()),
            ("storage.debounce", format_duration(storage.debounce)),
            (
                "storage.flush_interval",
                format_duration(storage.flush_interval),
            ),
            ("storage.journal", storage.journal.to_string()),
            ("storage.backups", storage.backups.to_string()),
            ("shutdown.timeout", format_duration(self.shutdown_timeout)),
        ]);
        values.extend(self.admin.values());
        values.extend(self.peers.values());
        values.extend(self.peers.rate_limit.values());
        values.extend(self.peers.ban.values());
        values.extend(self.logging.values());
        values.extend(net.dns_values());
        values
    }

    /// What differs between this configuration and `new`, key by key, in the order of the keys.
    #[must_use]
    pub fn diff(&self, new: &Self) -> Vec<KeyChange> {
        let (old, new) = (self.values(), new.values());
        old.into_iter()
            .zip(new.into_values())
            .filter(|((_, old), new)| old != new)
            .map(|((key, old), new)| KeyChange {
                key,
                old,
                new,
                needs_restart: RESTART_KEYS.contains(&key),
            })
            .collect()
    }
}

/// One key whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The dotted key.
    pub key: &'static str,
    /// The value in force.
    pub old: String,
    /// The value asked for.
    pub new: String,
    /// True when the new value takes effect only at the next start.
    pub needs_restart: bool,
}

/// Where a configuration comes from.
pub trait ConfigSource: Send + Sync + fmt::Debug {
    /// Reads, parses and converts. Changes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    fn load(&self) -> Result<NodeConfig, ConfigError>;
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that is wrong; never empty.
    pub problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// What to do about it: an operator must act.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file, or the name of the environment variable or flag.
    pub origin: String,
    /// 1-based line, where it is known.
    pub line: Option<usize>,
    /// The dotted key, where one is at fault.
    pub key: Option<String>,
    /// What is wrong. Never contains a secret.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.reason)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut text = String::from("[");
    for (index, item) in items.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        write!(text, "{separator}{item}").unwrap_or_default();
    }
    text.push(']');
    text
}

/// A duration in the spelling of `conf.yaml`: `500ms`, `30s`, `1m30s`, `24h`. Below a millisecond it is cut.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let (total, millis) = (duration.as_secs(), duration.subsec_millis());
    let parts = [
        (total / 3600, "h"),
        (total / 60 % 60, "m"),
        (total % 60, "s"),
        (u64::from(millis), "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
