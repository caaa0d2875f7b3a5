//! Every key of `conf.yaml`: the one table behind reading, suggestions, the default file and the reference.

use std::fmt;

use btcfed_core::config::{BitcoinNetwork, LogColor, LogFormat, LogLevel, PeersMode};

use crate::rule::{Kind, Rule};

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// On reload, at once.
    Live,
    /// On reload: new listeners are bound before the old ones go; connections stay.
    Rebind,
    /// At the next start.
    Restart,
}

impl Effect {
    /// The word used in the reference.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rebind => "rebind",
            Self::Restart => "restart",
        }
    }
}

/// One key of `conf.yaml`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// The dotted name, such as `peers.exchange_interval`.
    pub name: &'static str,
    /// The value in force when nothing is written, in the spelling of the file.
    pub default: &'static str,
    /// When a change takes effect.
    pub effect: Effect,
    /// What it is for, in one line.
    pub help: &'static str,
    pub(crate) rule: Rule,
}

impl Key {
    /// What may be written.
    #[must_use]
    pub fn range(&self) -> String {
        self.rule.range()
    }

    /// The kind of value, for programs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.rule.kind()
    }

    /// The section and the last part of the name; the section of a key at the top is empty.
    pub(crate) fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every key, in the order of the default file.
#[must_use]
pub fn keys() -> &'static [Key] {
    &KEYS
}

/// The key called `name`.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// True when `name` is a section, such as `network.limits`.
pub(crate) fn is_section(name: &str) -> bool {
    children(name).next().is_some()
}

/// The names directly below `section`, in order; the top is the empty name.
pub(crate) fn children(section: &str) -> impl Iterator<Item = &'static str> {
    let mut last = None;
    KEYS.iter().filter_map(move |key| {
        let below = if section.is_empty() {
            key.name
        } else {
            key.name.strip_prefix(section)?.strip_prefix('.')?
        };
        let child = below.split('.').next()?;
        (last.replace(child) != Some(child)).then_some(child)
    })
}

/// The version of the file's form that this crate reads and writes.
pub(crate) const VERSION: i128 = 1;

const NETWORKS: [&str; 3] = [
    BitcoinNetwork::ALL[0].as_str(),
    BitcoinNetwork::ALL[1].as_str(),
    BitcoinNetwork::ALL[2].as_str(),
];
const LEVELS: [&str; 5] = [
    LogLevel::ALL[0].as_str(),
    LogLevel::ALL[1].as_str(),
    LogLevel::ALL[2].as_str(),
    LogLevel::ALL[3].as_str(),
    LogLevel::ALL[4].as_str(),
];
const FORMATS: [&str; 3] = [
    LogFormat::ALL[0].as_str(),
    LogFormat::ALL[1].as_str(),
    LogFormat::ALL[2].as_str(),
];

const COLORS: [&str; 3] = [
    LogColor::ALL[0].as_str(),
    LogColor::ALL[1].as_str(),
    LogColor::ALL[2].as_str(),
];

const MODES: [&str; 2] = [PeersMode::ALL[0].as_str(), PeersMode::ALL[1].as_str()];

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Most connections of any kind: beyond it a process runs out of descriptors first.
const MAX_COUNT: u16 = 10_000;

const fn row(
    name: &'static str,
    default: &'static str,
    effect: Effect,
    help: &'static str,
    rule: Rule,
) -> Key {
    Key {
        name,
        default,
        effect,
        help,
        rule,
    }
}

const fn live(name: &'static str, default: &'static str, help: &'static str, rule: Rule) -> Key {
    row(name, default, Effect::Live, help, rule)
}

const fn restart(name: &'static str, default: &'static str, help: &'static str, rule: Rule) -> Key {
    row(name, default, Effect::Restart, help, rule)
}

// One row per key. The limits are part of the documented interface: widening one is an addition, narrowing one is not.
static KEYS: [Key; 63] = [
    restart("version", "1", "the form of this file", Rule::Version),
    restart(
        "node.private_key",
        "",
        "this node's identity; empty means private_key_file",
        Rule::Secret,
    ),
    restart(
        "node.private_key_file",
        "node.key",
        "the file that holds the identity, made at the first start if missing; not together with private_key",
        Rule::Path(|draft, value| draft.private_key_file = Some(value)),
    ),
    live(
        "node.name",
        "",
        "a label for people",
        Rule::Text(64, |draft, value| draft.config.name = value),
    ),
    restart(
        "node.federation",
        "",
        "peers of another federation are refused in the handshake",
        Rule::Text(64, |draft, value| draft.config.federation = value),
    ),
    restart(
        "node.network",
        "mainnet",
        "the Bitcoin network; peers of another one are refused in the handshake",
        Rule::Choice(&NETWORKS, |draft, index| {
            draft.config.bitcoin_network = BitcoinNetwork::ALL[index]
        }),
    ),
    row(
        "network.addresses",
        "[/ip4/0.0.0.0/tcp/9000, /ip6/::/tcp/9000]",
        Effect::Rebind,
        "where to listen; an empty list means dial only",
        Rule::Listen(|draft, value| draft.config.network.addresses = value),
    ),
    live(
        "network.announce",
        "[]",
        "what to tell others; empty means the listeners' own addresses",
        Rule::Announce(|draft, value| draft.config.network.announce = value),
    ),
    restart(
        "network.port_retries",
        "5",
        "how often a busy port is tried again at the start, with growing pauses, 1.6s in all by default",
        Rule::Count {
            min: 0,
            max: 8,
            set: |draft, value| draft.config.network.port_retries = value.into(),
        },
    ),
    restart(
        "network.port_fallback",
        "0",
        "how many of the following ports are tried at the start when one stays busy; 0 refuses to start",
        Rule::Count {
            min: 0,
            max: 100,
            set: |draft, value| draft.config.network.port_fallback = value,
        },
    ),
    live(
        "network.target_outbound",
        "8",
        "connections opened beyond the peers its operator chose: four, then one each 500 ms; at most max_connections",
        count(0, |draft, value| {
            draft.config.network.target_outbound = value.into()
        }),
    ),
    live(
        "network.limits.max_connections",
        "128",
        "all connections",
        count(1, |draft, value| {
            draft.config.network.max_connections = value.into()
        }),
    ),
    live(
        "network.limits.max_inbound",
        "96",
        "connections others opened; at most max_connections",
        count(0, |draft, value| {
            draft.config.network.max_inbound = value.into()
        }),
    ),
    live(
        "network.limits.max_per_ip",
        "8",
        "inbound connections from one IP address; loopback is exempt",
        count(1, |draft, value| {
            draft.config.network.max_per_ip = value.into()
        }),
    ),
    live(
        "network.limits.max_pending",
        "32",
        "connections not yet established, each way",
        count(1, |draft, value| {
            draft.config.network.max_pending = value.into()
        }),
    ),
    live(
        "network.keepalive.interval",
        "15s",
        "how often a peer is pinged",
        span(SECOND, HOUR, |draft, value| {
            draft.config.network.keepalive_interval = value
        }),
    ),
    live(
        "network.keepalive.timeout",
        "10s",
        "how long a ping may take",
        span(100, 5 * MINUTE, |draft, value| {
            draft.config.network.keepalive_timeout = value
        }),
    ),
    live(
        "network.keepalive.failures",
        "3",
        "missed pings in a row after which a peer counts as gone",
        Rule::Count {
            min: 1,
            max: 100,
            set: |draft, value| draft.config.network.keepalive_failures = value.into(),
        },
    ),
    live(
        "network.backoff.initial",
        "1s",
        "the first wait before a failed peer is dialled again; at most max",
        span(10, HOUR, |draft, value| draft.backoff.initial = value),
    ),
    live(
        "network.backoff.max",
        "5m",
        "the longest wait",
        span(10, 24 * HOUR, |draft, value| draft.backoff.max = value),
    ),
    live(
        "network.backoff.factor",
        "2",
        "how much longer each wait is than the one before",
        Rule::Fraction {
            min: 1.0,
            max: 10.0,
            set: |draft, value| draft.backoff.factor = value,
        },
    ),
    live(
        "network.backoff.jitter",
        "0.3",
        "the largest random share taken from a wait",
        Rule::Fraction {
            min: 0.0,
            max: 1.0,
            set: |draft, value| draft.backoff.jitter = value,
        },
    ),
    live(
        "network.breaker.failures",
        "8",
        "failures in a row after which a peer is left alone",
        Rule::Count {
            min: 1,
            max: 1000,
            set: |draft, value| draft.config.network.breaker.failures = value.into(),
        },
    ),
    live(
        "network.breaker.cooldown",
        "10m",
        "for how long it is left alone",
        span(SECOND, 24 * HOUR, |draft, value| {
            draft.config.network.breaker.cooldown = value
        }),
    ),
    live(
        "network.dns.timeout",
        "3s",
        "how long one question to a name server may take; it is asked twice",
        span(100, 30 * SECOND, |draft, value| {
            draft.config.network.dns_timeout = value
        }),
    ),
    live(
        "network.dns.max_ttl",
        "5m",
        "for how long the answer of a name server is used at most, whatever it says itself",
        span(SECOND, 24 * HOUR, |draft, value| {
            draft.config.network.dns_max_ttl = value
        }),
    ),
    live(
        "network.dns.negative_ttl",
        "10s",
        "for how long a name that does not exist is not asked for again at most",
        span(SECOND, HOUR, |draft, value| {
            draft.config.network.dns_negative_ttl = value
        }),
    ),
    live(
        "network.dns.serve_stale",
        "1h",
        "for how long the address a name last led to is dialled when the name does not resolve",
        span(SECOND, 168 * HOUR, |draft, value| {
            draft.config.network.dns_serve_stale = value
        }),
    ),
    live(
        "peers.exchange_interval",
        "30s",
        "the longest time between two synchronisations",
        span(SECOND, 24 * HOUR, |draft, value| {
            draft.config.peers.exchange_interval = value
        }),
    ),
    live(
        "peers.connection_timeout",
        "10s",
        "how long a dial may take, name resolution and handshake included",
        span(100, 5 * MINUTE, |draft, value| {
            draft.config.peers.connection_timeout = value
        }),
    ),
    live(
        "peers.exchange_jitter",
        "0.2",
        "random share added to or taken from every interval",
        Rule::Fraction {
            min: 0.0,
            max: 0.5,
            set: |draft, value| draft.config.peers.exchange_jitter = value,
        },
    ),
    live(
        "peers.mode",
        "open",
        "allowlist admits only peers you chose (peers.yaml, peers add, bootstrap); learned ones wait",
        Rule::Choice(&MODES, |draft, index| {
            draft.config.peers.mode = PeersMode::ALL[index]
        }),
    ),
    live(
        "peers.bootstrap",
        "[]",
        "whom to ask first",
        Rule::Bootstrap(|draft, value| draft.config.peers.bootstrap = value),
    ),
    live(
        "peers.deny_agents",
        "[]",
        "software to keep away, by the version text it tells; * stands for any text",
        Rule::Patterns(|draft, value| draft.config.peers.deny_agents = value),
    ),
    live(
        "peers.stale_after",
        "24h",
        "learned peers nobody has heard of for so long are dialled last; at most forget_after",
        span(MINUTE, 8760 * HOUR, |draft, value| {
            draft.config.peers.stale_after = value
        }),
    ),
    live(
        "peers.forget_after",
        "720h",
        "learned peers nobody has heard of for so long are forgotten; peers you chose never are",
        span(HOUR, 8760 * HOUR, |draft, value| {
            draft.config.peers.forget_after = value
        }),
    ),
    live(
        "peers.max_peers",
        "10000",
        "most peers that are kept; beyond it go peers you did not choose, hearsay first",
        Rule::Count {
            min: 100,
            max: 10_000,
            set: |draft, value| draft.config.peers.bounds.max_peers = value.into(),
        },
    ),
    live(
        "peers.max_addresses_per_peer",
        "8",
        "most addresses kept of one peer beside those you wrote; beyond it go the least trusted",
        Rule::Count {
            min: 1,
            max: 8,
            set: |draft, value| draft.config.peers.bounds.max_addresses = value.into(),
        },
    ),
    live(
        "peers.rate_limit.messages_per_minute",
        "3000",
        "messages a peer may send in the long run; more are refused and count as misbehaviour",
        Rule::Count {
            min: 60,
            max: 10_000,
            set: |draft, value| {
                draft.config.peers.rate_limit.messages_per_minute = value.into();
            },
        },
    ),
    live(
        "peers.rate_limit.records_per_minute",
        "1200",
        "new records a peer may send unasked in the long run; more are not taken",
        Rule::Count {
            min: 60,
            max: 10_000,
            set: |draft, value| {
                draft.config.peers.rate_limit.records_per_minute = value.into();
            },
        },
    ),
    live(
        "peers.rate_limit.burst",
        "1024",
        "new records a peer may send unasked at once; of messages a fifth of that, at least 32",
        Rule::Count {
            min: 64,
            max: 10_000,
            set: |draft, value| draft.config.peers.rate_limit.burst = value.into(),
        },
    ),
    live(
        "peers.ban.threshold",
        "100",
        "points of misbehaviour that ban a peer; half of them disconnect it, a point a second is forgiven",
        Rule::Count {
            min: 40,
            max: 10_000,
            set: |draft, value| draft.config.peers.ban.threshold = value.into(),
        },
    ),
    live(
        "peers.ban.duration",
        "24h",
        "how long a ban by the node lasts; running ones keep their end",
        span(MINUTE, 8760 * HOUR, |draft, value| {
            draft.config.peers.ban.duration = value
        }),
    ),
    restart(
        "peers.file",
        "peers.yaml",
        "where peers are kept",
        Rule::Path(|draft, value| draft.config.peers.file = value),
    ),
    live(
        "logging.level",
        "info",
        "how much is logged",
        Rule::Choice(&LEVELS, |draft, index| {
            draft.config.logging.level = LogLevel::ALL[index]
        }),
    ),
    live(
        "logging.format",
        "auto",
        "auto is text on a terminal and json otherwise",
        Rule::Choice(&FORMATS, |draft, index| {
            draft.config.logging.format = LogFormat::ALL[index]
        }),
    ),
    live(
        "logging.color",
        "auto",
        "colours of the text format on standard error; auto is on a terminal, unless NO_COLOR is set",
        Rule::Choice(&COLORS, |draft, index| {
            draft.config.logging.color = LogColor::ALL[index]
        }),
    ),
    live(
        "logging.filter",
        "",
        "levels of single parts, which go before logging.level: btcfed_network=debug,libp2p=warn",
        Rule::LogFilter(256, |draft, value| draft.config.logging.filter = value),
    ),
    live(
        "logging.file",
        "",
        "where the log goes instead of standard error; begun anew when it is moved away",
        Rule::OptionalPath(|draft, value| draft.config.logging.file = value),
    ),
    live(
        "logging.trace_messages",
        "false",
        "log each message to and from peers, whatever the level: kind, size, who and which request",
        Rule::Flag(|draft, value| draft.config.logging.trace_messages = value),
    ),
    live(
        "storage.lock_timeout",
        "5s",
        "how long to wait for the lock of the peers file",
        span(10, 5 * MINUTE, |draft, value| {
            draft.config.storage.lock_timeout = value
        }),
    ),
    live(
        "storage.watch",
        "true",
        "notice edits of the peers file while running",
        Rule::Flag(|draft, value| draft.config.storage.watch = value),
    ),
    live(
        "storage.debounce",
        "250ms",
        "how long the peers file must be quiet before an edit is read",
        span(10, MINUTE, |draft, value| {
            draft.config.storage.debounce = value
        }),
    ),
    live(
        "storage.flush_interval",
        "1s",
        "how long a change may wait before the peers file is rewritten",
        span(10, HOUR, |draft, value| {
            draft.config.storage.flush_interval = value
        }),
    ),
    live(
        "storage.backups",
        "5",
        "how many older copies of the peers file are kept, spread over their age; 0 keeps only the last save",
        Rule::Count {
            min: 0,
            max: 5,
            set: |draft, value| draft.config.storage.backups = value.into(),
        },
    ),
    restart(
        "storage.journal",
        "true",
        "keep changes in peers.yaml.journal until peers.yaml is written; false writes peers.yaml for every change",
        Rule::Flag(|draft, value| draft.config.storage.journal = value),
    ),
    restart(
        "admin.socket",
        "btcfed.sock",
        "the unix socket for commands",
        Rule::Path(|draft, value| draft.config.admin.socket = value),
    ),
    restart(
        "admin.mode",
        "0660",
        "the permission bits of the socket",
        Rule::Mode(|draft, value| draft.config.admin.mode = value),
    ),
    restart(
        "admin.group",
        "",
        "the name or number of the group that may use the socket; empty leaves it to the system",
        Rule::Text(64, |draft, value| draft.config.admin.group = value),
    ),
    restart(
        "admin.http",
        "",
        "where /livez, /readyz and /metrics are answered, such as 127.0.0.1:9100",
        Rule::Socket(|draft, value| draft.config.admin.http = value),
    ),
    restart(
        "admin.http_insecure",
        "false",
        "let admin.http be an address other machines reach: anybody there may read it",
        Rule::Flag(|draft, value| draft.config.admin.http_insecure = value),
    ),
    live(
        "admin.reload_on_change",
        "false",
        "reload when this file changes, as SIGHUP and `btcfed reload` do",
        Rule::Flag(|draft, value| draft.config.admin.reload_on_change = value),
    ),
    live(
        "shutdown.timeout",
        "5s",
        "how long a graceful shutdown may take",
        span(100, 10 * MINUTE, |draft, value| {
            draft.config.shutdown_timeout = value
        }),
    ),
];

const fn count(min: u16, set: fn(&mut crate::draft::Draft, u16)) -> Rule {
    Rule::Count {
        min,
        max: MAX_COUNT,
        set,
    }
}

const fn span(min: u64, max: u64, set: fn(&mut crate::draft::Draft, std::time::Duration)) -> Rule {
    Rule::Duration { min, max, set }
}

#[cfg(test)]
mod tests {
    use btcfed_core::NodeConfig;
    use btcfed_core::config::RESTART_KEYS;

    use super::*;

    #[test]
    fn the_table_has_every_key_of_the_configuration_with_its_default() {
        let values = NodeConfig::default().values();
        for (name, default) in &values {
            assert_eq!(
                key(name).map(|key| key.default),
                Some(default.as_str()),
                "{name}"
            );
        }
        let others: Vec<_> = keys()
            .iter()
            .map(|key| key.name)
            .filter(|name| !values.contains_key(name))
            .collect();
        assert_eq!(
            others,
            ["version", "node.private_key", "node.private_key_file"]
        );
    }

    #[test]
    fn keys_that_need_a_restart_are_those_of_the_core() {
        for key in keys().iter().filter(|key| key.name != "version") {
            assert_eq!(
                key.effect == Effect::Restart,
                RESTART_KEYS.contains(&key.name),
                "{key}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_sections_are_no_keys() {
        for (index, key) in keys().iter().enumerate() {
            assert!(
                !keys()[..index].iter().any(|other| other.name == key.name),
                "{key}"
            );
            assert!(!is_section(key.name), "{key}");
            assert!(
                is_section(key.split().0) && !key.help.is_empty() && !key.range().is_empty(),
                "{key}"
            );
        }
    }

    #[test]
    fn sections_list_their_own_names_once() {
        let top: Vec<_> = children("").collect();
        assert_eq!(
            top,
            [
                "version", "node", "network", "peers", "logging", "storage", "admin", "shutdown"
            ]
        );
        let network: Vec<_> = children("network").collect();
        assert_eq!(
            network,
            [
                "addresses",
                "announce",
                "port_retries",
                "port_fallback",
                "target_outbound",
                "limits",
                "keepalive",
                "backoff",
                "breaker",
                "dns"
            ]
        );
        assert!(!is_section("net") && !is_section("network.") && is_section("network.limits"));
    }
}
