//! Reaching a peer step by step: name, TCP, Noise, protocol. Every step has a deadline.

mod talk;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use btcfed_core::addr::{Host, PeerAddr};
use btcfed_core::key::PeerKey;
use serde_json::{Value, json};

pub(super) use talk::{Caller, Greeting};

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step<T> {
    /// It worked, and took so long.
    Done(T, Duration),
    /// It failed.
    Failed(String),
    /// It was not needed, or an earlier one failed.
    Skipped,
}

impl<T> Step<T> {
    fn measured(result: Result<T, String>, started: Instant) -> Self {
        match result {
            Ok(value) => Self::Done(value, started.elapsed()),
            Err(reason) => Self::Failed(reason),
        }
    }

    const fn value(&self) -> Option<&T> {
        match self {
            Self::Done(value, _) => Some(value),
            Self::Failed(_) | Self::Skipped => None,
        }
    }

    const fn took(&self) -> Option<Duration> {
        match self {
            Self::Done(_, took) => Some(*took),
            Self::Failed(_) | Self::Skipped => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Done(_, took) => json!({ "ok": true, "ms": millis(*took), "error": null }),
            Self::Failed(reason) => json!({ "ok": false, "ms": null, "error": reason }),
            Self::Skipped => Value::Null,
        }
    }
}

/// Milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// What reaching an address was like.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) addr: PeerAddr,
    pub(super) dns: Step<Vec<SocketAddr>>,
    pub(super) tcp: Step<SocketAddr>,
    pub(super) noise: Step<PeerKey>,
    pub(super) protocol: Step<Greeting>,
    silent: bool,
    expected: Option<PeerKey>,
}

impl Probe {
    /// Takes every step; `expected` is who should answer.
    pub(super) fn run(
        addr: &PeerAddr,
        expected: Option<PeerKey>,
        caller: &Caller,
        timeout: Duration,
    ) -> Self {
        let mut probe = Self {
            addr: addr.clone(),
            dns: Step::Skipped,
            tcp: Step::Skipped,
            noise: Step::Skipped,
            protocol: Step::Skipped,
            silent: false,
            expected,
        };
        let socket = match (addr.socket_addr(), addr.host()) {
            (Some(socket), _) => Some(socket),
            (None, Host::Dnsaddr(_)) => None,
            (None, _) => {
                let started = Instant::now();
                probe.dns = Step::measured(resolve(addr, timeout), started);
                match probe.dns.value().and_then(|found| found.first()) {
                    Some(socket) => Some(*socket),
                    None => return probe,
                }
            }
        };
        if let Some(socket) = socket {
            let started = Instant::now();
            let connected = TcpStream::connect_timeout(&socket, timeout);
            let connected = connected.map(|_| socket).map_err(|error| {
                probe.silent = error.kind() == std::io::ErrorKind::TimedOut;
                error.to_string()
            });
            probe.tcp = Step::measured(connected, started);
            if probe.tcp.value().is_none() {
                return probe;
            }
        }
        let target = socket.map_or_else(|| addr.clone(), PeerAddr::from_socket_addr);
        (probe.noise, probe.protocol) = talk::talk(&target, expected, caller, timeout);
        // The handshake opened a connection of its own.
        if let (Step::Done(_, whole), Step::Done(_, tcp)) = (&mut probe.noise, &probe.tcp) {
            *whole = whole.saturating_sub(*tcp);
        }
        probe
    }

    /// What went wrong, in one line.
    pub(super) fn failure(&self) -> Option<String> {
        if let Step::Failed(reason) = &self.dns {
            return Some(format!("the name does not resolve: {reason}"));
        }
        if let Step::Failed(reason) = &self.tcp {
            return Some(format!("no TCP connection: {reason}"));
        }
        if let Step::Failed(reason) = &self.noise {
            return Some(format!(
                "something listens there, but the handshake failed: {reason}"
            ));
        }
        let wrong = self.noise.value().zip(self.expected);
        if let Some((found, expected)) = wrong.filter(|(found, expected)| *found != expected) {
            let (found, expected) = (found.peer_id(), expected.peer_id());
            return Some(format!(
                "another node answers there: {found} instead of {expected}"
            ));
        }
        match &self.protocol {
            Step::Failed(reason) => Some(format!("it proves its key, but {reason}")),
            Step::Done(..) | Step::Skipped => None,
        }
    }

    /// Nothing came back at all: neither an answer nor a refusal.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// What the peer said about itself.
    pub(super) const fn greeting(&self) -> Option<&Greeting> {
        self.protocol.value()
    }

    /// How long all steps took; `None` when one failed.
    pub(super) fn total_ms(&self) -> Option<f64> {
        if self.failure().is_some() {
            return None;
        }
        let took = [
            self.dns.took(),
            self.tcp.took(),
            self.noise.took(),
            self.protocol.took(),
        ];
        Some(millis(took.into_iter().flatten().sum()))
    }

    /// Every step.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "address": self.addr.to_string(),
            "ok": self.failure().is_none(),
            "resolved": self.dns.value().map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "dns": self.dns.to_json(),
            "tcp": self.tcp.to_json(),
            "noise": self.noise.to_json(),
            "protocol": self.protocol.to_json(),
            "answered_by": self.noise.value().map(|key| key.peer_id().to_string()),
            "agent": self.greeting().map(|greeting| greeting.agent.as_str()),
            "clock_offset_ms": self.greeting().map(|greeting| greeting.clock_offset_ms),
            "error": self.failure(),
        })
    }
}

/// The socket addresses a name stands for.
pub(super) fn resolve(addr: &PeerAddr, timeout: Duration) -> Result<Vec<SocketAddr>, String> {
    let (name, port) = match (addr.host(), addr.port()) {
        (Host::Dns(name) | Host::Dns4(name) | Host::Dns6(name), Some(port)) => {
            (name.as_str().to_owned(), port)
        }
        _ => return Err("not a name with a port".to_owned()),
    };
    // The system's resolver has no deadline, so it gets a thread that may be left behind.
    let (sender, receiver) = sync_channel(1);
    let spawned = std::thread::Builder::new().spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        drop(sender.send(found.map(Iterator::collect::<Vec<_>>)));
    });
    spawned.map_err(|error| error.to_string())?;
    let found = match receiver.recv_timeout(timeout) {
        Ok(found) => found.map_err(|error| error.to_string())?,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            return Err("no answer in time".to_owned());
        }
    };
    let fits = |found: &SocketAddr| match addr.host() {
        Host::Dns4(_) => found.is_ipv4(),
        Host::Dns6(_) => found.is_ipv6(),
        _ => true,
    };
    let found: Vec<SocketAddr> = found.into_iter().filter(fits).collect();
    if found.is_empty() {
        return Err("no address of the right family".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_step_says_what_failed_and_later_ones_are_not_taken() {
        let closed = Probe::run(
            &"/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            None,
            &Caller::default(),
            SECOND,
        );
        assert!(closed.failure().unwrap().contains("no TCP connection"));
        assert_eq!(closed.noise, Step::Skipped);
        let dead = Probe::run(
            &"/dns/does-not-exist.invalid/tcp/1".parse().unwrap(),
            None,
            &Caller::default(),
            SECOND,
        );
        assert!(dead.failure().unwrap().contains("does not resolve"));
        assert_eq!(dead.tcp, Step::Skipped);
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = PeerAddr::from_socket_addr(mute.local_addr().unwrap());
        let silent = Probe::run(&addr, None, &Caller::default(), Duration::from_millis(200));
        assert!(
            silent.failure().unwrap().contains("handshake failed"),
            "{silent:?}"
        );
    }
}
