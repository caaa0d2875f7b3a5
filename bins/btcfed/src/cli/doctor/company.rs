//! What the peers say: the time, the software they run, and whether they found the way here.

use serde_json::Value;

use super::finding::Finding;
use crate::view::VERSION;

/// Clocks that differ by less are fine: records and expiries are told in seconds.
const CLOCK_SLACK_MS: u64 = 5_000;

/// From so many peers on the middle of their clocks is trusted more than this machine's.
const ENOUGH_CLOCKS: usize = 3;

/// Most peers named in one finding.
const MAX_NAMED: usize = 5;

/// What one peer says about itself.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) who: String,
    /// How far its clock is ahead of this machine's.
    pub(super) clock_offset_ms: Option<i64>,
    /// Its software; escaped.
    pub(super) agent: Option<String>,
    /// It called this node from another machine.
    pub(super) came_here: bool,
}

impl Word {
    /// What the daemon knows of a peer that is connected.
    pub(super) fn of(who: &str, connection: &Value) -> Self {
        let agent = connection["agent"].as_str();
        let address = connection["address"].as_str().unwrap_or_default();
        let here = ["/ip4/127.", "/ip6/::1/"];
        Self {
            who: who.to_owned(),
            clock_offset_ms: connection["clock_offset_ms"].as_i64(),
            agent: agent.map(|agent| agent.escape_debug().collect()),
            came_here: connection["direction"] == "inbound"
                && !here.iter().any(|start| address.starts_with(start)),
        }
    }
}

/// Whose clock is wrong: with enough peers the one far from the middle, else one of two.
pub(super) fn clocks(words: &[Word]) -> Vec<Finding> {
    let mut offsets: Vec<i64> = words
        .iter()
        .filter_map(|word| word.clock_offset_ms)
        .collect();
    offsets.sort_unstable();
    let Some(middle) = offsets.get(offsets.len() / 2).copied() else {
        return vec![Finding::ok(
            "clock",
            "agrees with the files; no peer could be asked",
        )];
    };
    let enough = offsets.len() >= ENOUGH_CLOCKS;
    let own_fix = "set the clock and keep it set (chrony, systemd-timesyncd); `timedatectl` shows how it is kept";
    if enough && middle.unsigned_abs() > CLOCK_SLACK_MS {
        let text = format!(
            "this machine's clock is {} the clocks of {} peers, by the one in the middle",
            apart(-middle),
            offsets.len()
        );
        return vec![Finding::fail("clock", text, own_fix)];
    }
    let reference = if enough { middle } else { 0 };
    let mut findings: Vec<Finding> = words
        .iter()
        .filter_map(|word| Some((word, word.clock_offset_ms?)))
        .filter(|(_, offset)| offset.saturating_sub(reference).unsigned_abs() > CLOCK_SLACK_MS)
        .take(MAX_NAMED)
        .map(|(word, offset)| {
            let text = format!(
                "the clock of {} is {} this machine's",
                word.who,
                apart(offset)
            );
            if enough {
                let fix = format!(
                    "this machine agrees with the others: tell the operator of {}",
                    word.who
                );
                return Finding::warn("clock", text, fix);
            }
            let fix = format!("one of the two is wrong; if it is this one: {own_fix}");
            Finding::warn("clock", text, fix)
        })
        .collect();
    if findings.is_empty() {
        let text = format!("agrees with the files and with {} peers", offsets.len());
        findings.push(Finding::ok("clock", text));
    }
    findings
}

/// `3600.0 s ahead of`.
fn apart(offset_ms: i64) -> String {
    let (whole, tenth) = (
        offset_ms.unsigned_abs() / 1000,
        offset_ms.unsigned_abs() % 1000 / 100,
    );
    let side = if offset_ms > 0 { "ahead of" } else { "behind" };
    format!("{whole}.{tenth} s {side}")
}

/// Whose software is of another release, by the numbers that may change what is understood.
pub(super) fn versions(words: &[Word], daemon: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(daemon) = daemon.filter(|daemon| *daemon != VERSION) {
        let text = format!(
            "the daemon runs {}, this command is {VERSION}",
            daemon.escape_debug()
        );
        findings.push(Finding::warn(
            "version",
            text,
            "restart the daemon after an upgrade",
        ));
    }
    let Some(own) = release(VERSION) else {
        return findings;
    };
    let (mut newer, mut older, mut same) = (Vec::new(), Vec::new(), 0);
    for word in words {
        let agent = word.agent.as_deref().unwrap_or_default();
        let version = agent
            .strip_prefix("btcfed/")
            .and_then(|rest| rest.split(' ').next());
        match version.and_then(release) {
            Some(theirs) if theirs > own => newer.push(format!("{} ({agent})", word.who)),
            Some(theirs) if theirs < own => older.push(format!("{} ({agent})", word.who)),
            Some(_) => same += 1,
            // Somebody else's implementation has its own numbers.
            None => {}
        }
    }
    for (peers, fix) in [
        (
            &newer,
            "upgrade this node, so that it understands what they may begin to say",
        ),
        (
            &older,
            "ask their operators to upgrade; until then new features stay unused",
        ),
    ] {
        if !peers.is_empty() {
            let more = peers.len().saturating_sub(MAX_NAMED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let named: Vec<&str> = peers.iter().take(MAX_NAMED).map(String::as_str).collect();
            let text = format!(
                "this node runs {VERSION}, others do not: {}{more}",
                named.join(", ")
            );
            findings.push(Finding::warn("version", text, fix));
        }
    }
    if findings.is_empty() && same > 0 {
        findings.push(Finding::ok(
            "version",
            format!("{VERSION}, as {same} peers"),
        ));
    }
    findings
}

/// The numbers of a version that may change what is understood: the first, and the second before 1.0.
fn release(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, if major == 0 { minor } else { 0 }))
}

/// Whether others find the way here. The protocol has no question for that, so only who came by itself tells.
pub(super) fn way_here(words: &[Word], own: &str) -> Finding {
    let came = words.iter().filter(|word| word.came_here).count();
    if came > 0 {
        let text = format!("{came} connected peers called this node from other machines");
        return Finding::ok("reach", text);
    }
    Finding::ok(
        "reach",
        format!(
            "nobody from another machine called yet; peers cannot be asked to call back: have a member run\n\
             btcfed ping MULTIADDR/p2p/{own}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(who: &str, offset: i64, agent: &str) -> Word {
        Word {
            who: who.to_owned(),
            clock_offset_ms: Some(offset),
            agent: Some(agent.to_owned()),
            came_here: false,
        }
    }

    fn told(findings: &[Finding]) -> String {
        findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect()
    }

    #[test]
    fn the_limit_of_a_clock_is_fine_and_one_past_it_is_told() {
        let limit = i64::try_from(CLOCK_SLACK_MS).unwrap();
        for offset in [limit, -limit, 0] {
            let text = told(&clocks(&[word("bob", offset, "")]));
            assert!(text.starts_with("ok"), "{text}");
        }
        let text = told(&clocks(&[word("bob", limit + 1, "")]));
        assert!(
            text.starts_with("warn") && text.contains("one of the two"),
            "{text}"
        );
    }

    #[test]
    fn many_peers_outvote_this_clock_and_one_peer_does_not_outvote_many() {
        let hour = 3_600_000;
        let late = ["a", "b", "c"].map(|who| word(who, hour, ""));
        let text = told(&clocks(&late));
        assert!(
            text.starts_with("fail") && text.contains("3600.0 s behind"),
            "{text}"
        );
        let one = [word("a", 0, ""), word("b", 10, ""), word("c", -hour, "")];
        let text = told(&clocks(&one));
        assert!(
            text.starts_with("warn") && text.contains("operator of c"),
            "{text}"
        );
        let extreme = [
            word("a", i64::MAX, ""),
            word("b", -i64::MAX, ""),
            word("c", i64::MAX, ""),
        ];
        assert!(told(&clocks(&extreme)).starts_with("fail"));
    }

    #[test]
    fn versions_differ_when_they_may_not_understand_each_other() {
        assert_eq!(release("0.1.9"), release("0.1.0"));
        assert_ne!(release("0.1.0"), release("0.2.0"));
        assert_eq!(release("1.1.0"), release("1.2.0"));
        assert_eq!(release("nonsense"), None);
        let same = format!("btcfed/{VERSION}");
        assert!(told(&versions(&[word("a", 0, &same)], Some(VERSION))).starts_with("ok"));
        let newer = told(&versions(&[word("a", 0, "btcfed/99.0.0 ping")], None));
        assert!(newer.contains("upgrade this node"), "{newer}");
        let older = told(&versions(&[word("a", 0, "btcfed/0.0.1")], None));
        assert!(older.contains("ask their operators"), "{older}");
        assert!(versions(&[word("a", 0, "other/9.0")], None).is_empty());
        assert!(told(&versions(&[], Some("0.0.1"))).contains("restart the daemon"));
        let many: Vec<Word> = (0..=MAX_NAMED)
            .map(|n| word(&format!("p{n}"), 0, "btcfed/99.0.0"))
            .collect();
        assert!(told(&versions(&many, None)).contains("and 1 more"));
        assert!(!told(&versions(&many[1..], None)).contains("more"));
    }
}
