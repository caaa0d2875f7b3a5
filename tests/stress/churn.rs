//! Fifty peers that come and go, reloads, bans and edits, for as long as asked: nothing leaks, memory stays where it is,
//! newcomers find everybody.

use std::time::{Duration, Instant};

use btcfed_core::PeerId;
use btcfed_core::rng::SeededRng;
use btcfed_core::testing::test_key;
use rustix::process::Signal;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, tasks};
use crate::common::figures::{Figures, Number as _, quantile};
use crate::common::peers::Peers;
use crate::common::process::{self, entries, memory};
use crate::common::wait_for;
use crate::{alone, connected, panics, replace};

/// Connections held, and the identities that take turns at them.
const CONNECTIONS: u16 = 50;
const IDENTITIES: u16 = 80;

/// The short form, as everybody runs it.
const SHORT: Duration = Duration::from_secs(40);

/// How long a newcomer may take to know everybody.
const DISCOVERY: Duration = Duration::from_secs(10);

/// A peer that only edits of the file know.
const EDITED: u16 = 500;

struct Stress {
    node: Daemon,
    peers: Peers,
    rng: SeededRng,
    /// Who is banned at the moment, and until when this test leaves it at that.
    banned: Option<(u16, Instant)>,
    edited: bool,
    discovered: Vec<Duration>,
    missed: usize,
    /// Reloads, bans and edits made.
    made: [usize; 3],
    memory: Vec<u64>,
}

#[test]
fn fifty_peers_that_come_and_go_leave_nothing_behind() {
    let _alone = alone();
    let minutes = std::env::var("BTCFED_TEST_STRESS_MINUTES").ok();
    let lasting = minutes.as_ref().map_or(SHORT, |text| {
        Duration::from_secs(60 * text.parse::<u64>().expect("a number of minutes"))
    });
    let dir = tempfile::tempdir().unwrap();
    replace(&dir.path().join("conf.yaml"), &configuration(2, "info"));
    let node = Daemon::start(dir.path());
    let mut peers = Peers::at(&node.full_addr(), |_| {});
    let before = warmed_up(&node, &mut peers);
    let mut stress = Stress {
        node,
        peers,
        rng: SeededRng::from_seed(11),
        banned: None,
        edited: false,
        discovered: Vec::new(),
        missed: 0,
        made: [0; 3],
        memory: Vec::new(),
    };
    stress.fill();
    stress.run(lasting);
    stress.empty();
    stress.judge(minutes.is_some(), before);
}

/// What a node holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    tasks: u64,
}

impl Held {
    fn by(node: &Daemon) -> Self {
        Self {
            tasks: tasks(node),
            descriptors: entries(node.pid(), "fd"),
            threads: entries(node.pid(), "task"),
        }
    }

    /// Whatever is less of each.
    fn least(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
            tasks: self.tasks.min(other.tasks),
        }
    }

    fn is_above(self, other: Self) -> bool {
        self.descriptors > other.descriptors
            || self.threads > other.threads
            || self.tasks > other.tasks
    }
}

/// What a node holds that has met a peer and saved a change: the journal is open, libp2p's timer runs.
fn warmed_up(node: &Daemon, peers: &mut Peers) -> Held {
    peers.start(IDENTITIES);
    wait_for("the first peer", DISCOVERY, || {
        (connected(node) == 1).then_some(())
    });
    peers.stop(IDENTITIES);
    wait_for("the first peer gone", DISCOVERY, || {
        (connected(node) == 0).then_some(())
    });
    let id = test_key(EDITED + 1).peer_id().to_string();
    node.json(&["peers", "add", &format!("{id}@127.0.0.1:1")]);
    node.json(&["peers", "remove", &id]);
    // Replaced files stay open for two seconds; dials of the one who is gone come and go. The least is the baseline.
    let started = Instant::now();
    let mut least = Held::by(node);
    while started.elapsed() < Duration::from_secs(5) {
        least = least.least(Held::by(node));
        std::thread::sleep(Duration::from_millis(50));
    }
    least
}

fn configuration(interval: u32, level: &str) -> String {
    let limits = "  limits:\n    max_connections: 200\n    max_inbound: 150\n";
    let text = yaml(&[]).replace("2s", &format!("{interval}s"));
    text.replace("peers:\n", &format!("{limits}peers:\n"))
        + &format!("logging:\n  level: {level}\n")
}

impl Stress {
    fn fill(&mut self) {
        for number in 1..=CONNECTIONS {
            self.peers.start(number);
        }
        wait_for("everybody connected", Duration::from_secs(60), || {
            (connected(&self.node) == u64::from(CONNECTIONS)).then_some(())
        });
    }

    /// About one peer a second is replaced; in between reloads, bans and edits.
    fn run(&mut self, lasting: Duration) {
        let started = Instant::now();
        let mut turn = 0;
        while started.elapsed() < lasting {
            let begun = Instant::now();
            self.replace_one();
            match turn % 3 {
                0 => self.reload(),
                1 => self.ban_and_unban(),
                _ => self.edit(),
            }
            self.memory.push(memory(self.node.pid()));
            turn += 1;
            std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        }
    }

    /// One peer goes, another one comes and must find everybody who is there.
    fn replace_one(&mut self) {
        let running = self.peers.running();
        let gone = *self.rng.pick(&running).unwrap();
        self.peers.stop(gone);
        let banned = self.banned.map(|(number, _)| number);
        let free = |number: &u16| !running.contains(number) && Some(*number) != banned;
        let away: Vec<u16> = (1..=IDENTITIES).filter(free).collect();
        let newcomer = *self.rng.pick(&away).unwrap();
        let key = self.node_key();
        let others: Vec<u16> = self.peers.handshaken(&key);
        let handle = self.peers.start(newcomer);
        match self.peers.discovers(&handle, &key, &others, DISCOVERY) {
            (_, Some(took)) => self.discovered.push(took),
            _ => self.missed += 1,
        }
    }

    fn node_key(&self) -> btcfed_core::PeerKey {
        self.node.peer_id().parse::<PeerId>().unwrap().key()
    }

    fn reload(&mut self) {
        let interval = 2 + u32::try_from(self.rng.below(4)).unwrap();
        let level = *self.rng.pick(&["info", "warn", "debug"]).unwrap();
        replace(
            &self.node.dir.join("conf.yaml"),
            &configuration(interval, level),
        );
        self.node.signal(Signal::HUP);
        self.made[0] += 1;
    }

    /// Bans one who is connected, or lifts the ban when it has lasted a while.
    fn ban_and_unban(&mut self) {
        match self.banned {
            Some((number, until)) if until <= Instant::now() => {
                let id = test_key(number).peer_id().to_string();
                self.node.json(&["peers", "unban", &id]);
                self.banned = None;
            }
            Some(_) => {}
            None => {
                let number = *self.rng.pick(&self.peers.running()).unwrap();
                let id = test_key(number).peer_id().to_string();
                self.node.json(&["peers", "ban", &id]);
                wait_for("the banned one gone", DISCOVERY, || {
                    (!self.node.connected().contains(&id)).then_some(())
                });
                self.banned = Some((number, Instant::now() + Duration::from_secs(3)));
                self.made[1] += 1;
            }
        }
    }

    /// Adds an entry to the file with an editor, or takes it out again.
    fn edit(&mut self) {
        let path = self.node.dir.join("peers.yaml");
        let key = test_key(EDITED);
        let entry = format!(
            "  - public_key: {key}\n    addresses: [/ip4/127.0.0.1/tcp/1]\n    name: edited\n"
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let id = key.peer_id().to_string();
        let wanted = !self.edited;
        let Some(text) = edited(&text, wanted, &entry, &key.to_string()) else {
            return;
        };
        replace(&path, &text);
        wait_for("the edit noticed", DISCOVERY, || {
            (self.node.known().contains(&id) == wanted).then_some(())
        });
        self.edited = wanted;
        self.made[2] += 1;
    }

    fn empty(&mut self) {
        for number in self.peers.running() {
            self.peers.stop(number);
        }
        wait_for("everybody gone", Duration::from_secs(60), || {
            (connected(&self.node) == 0).then_some(())
        });
    }

    fn judge(self, is_long: bool, before: Held) {
        let mut figures = Figures::new("churn");
        let pid = self.node.pid();
        let settled = Instant::now();
        // Sockets of dials come and go, and threads for blocking work end by themselves after a while.
        let mut after = Held::by(&self.node);
        while settled.elapsed() < Duration::from_secs(30) && after.is_above(before) {
            std::thread::sleep(Duration::from_millis(50));
            after = Held::by(&self.node);
        }
        println!("threads: {}", process::threads(pid).join(", "));
        println!("files: {}", process::files(pid).join(", "));
        figures.at_most(
            "descriptors after",
            after.descriptors,
            before.descriptors,
            "",
        );
        figures.at_most("threads after", after.threads, before.threads, "");
        figures.at_most("tasks after", after.tasks, before.tasks, "");
        let third = self.memory.len() / 3;
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64;
        let (middle, last) = (
            mean(&self.memory[third..2 * third]),
            mean(&self.memory[2 * third..]),
        );
        for (index, part) in self
            .memory
            .chunks(self.memory.len().div_ceil(6))
            .enumerate()
        {
            let what = format!("memory, part {} of 6", index + 1);
            figures.seen(&what, mean(part) / 1024, "KiB");
        }
        // In the short form allocators still grow into their arenas.
        let most = if is_long { 1.02 } else { 1.15 };
        let growth = last.number() / middle.number();
        figures.at_most("memory, last third / middle third", growth, most, "");
        let mut discovered = self.discovered;
        let all = discovered.len() + self.missed;
        let found = discovered.len().number() / all.number();
        figures.seen("newcomers", all, "");
        figures.at_least(
            "newcomers that knew everybody within 10 s",
            found * 100.0,
            99.0,
            "%",
        );
        figures.seen("median of that", quantile(&mut discovered, 0.5), "s");
        figures.seen("99th percentile", quantile(&mut discovered, 0.99), "s");
        for (what, count) in ["reloads", "bans", "edits"].into_iter().zip(self.made) {
            figures.at_least(what, count, 1.0, "");
        }
        figures.exactly("panics", panics(&self.node), 0.0);
        let state = self.node.json(&["status"]);
        figures.exactly(
            "store state ok",
            u64::from(state["store"]["state"] == "ok"),
            1.0,
        );
        figures.finish();
    }
}

/// The text of the peers file with or without the entry; `None` when it cannot be edited now.
fn edited(text: &str, wanted: bool, entry: &str, key: &str) -> Option<String> {
    if wanted {
        let at = text.find("peers:\n")? + "peers:\n".len();
        return Some(format!("{}{entry}{}", &text[..at], &text[at..]));
    }
    let at = text.find(&format!("  - public_key: {key}\n"))?;
    let rest = &text[at + 4..];
    let end = rest
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("    "))
        .map(|line| line.len() + 1)
        .sum::<usize>()
        + rest.find('\n')?
        + 1;
    Some(format!("{}{}", &text[..at], &rest[end..]))
}
