//! The other two lists of the file: `bans` and `forgotten`. One line each in the canonical spelling.

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::key::{PeerId, PeerKey};
use btcfed_core::peer::Forgotten;
use btcfed_core::time::Timestamp;
use serde_yaml::{Mapping, Value};

use crate::text::guard::{self, Refusal};
use crate::text::scalar::{self, FlowMap};
use crate::text::spell::Style;

/// Reads an element of `bans`. What a person leaves out gets a sensible meaning: by the operator, for ever, since now.
pub(crate) fn ban(text: &str, now: Timestamp) -> Result<Ban, Refusal> {
    let value = guard::item(text)?;
    let fields = mapping(text, &value)?;
    let refuse = |field: &str, expected: &str| {
        Refusal::at(text, field, format!("{field}: expected {expected}"))
    };
    let target = target(text, fields)?;
    let time = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(scalar::time_from);
            time.map(Some)
                .ok_or_else(|| refuse(field, "a time such as 2026-11-20T17:00:00Z"))
        }
    };
    let words = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => scalar::text_of(value)
            .map(Some)
            .ok_or_else(|| refuse(field, "text")),
    };
    Ok(Ban {
        target,
        reason: BanReason::from_text(&words("reason")?.unwrap_or_default()),
        since: time("since")?.unwrap_or(now),
        until: time("until")?,
        by: issuer(text, fields)?,
        evidence: words("evidence")?,
    })
}

/// Spells an element of `bans`.
pub(crate) fn ban_text(ban: &Ban, style: Style) -> String {
    let (kind, target) = match &ban.target {
        BanTarget::Peer(key) => ("peer", key.to_string()),
        BanTarget::Ip(ip) => ("ip", scalar::string(&ip.to_string())),
        BanTarget::Cidr(net) => ("cidr", scalar::string(&net.to_string())),
    };
    let mut map = FlowMap::default();
    map.field(kind, Some(target))
        .field("reason", Some(scalar::string(ban.reason.as_str())))
        .field("since", Some(scalar::time_text(ban.since)))
        .field("until", ban.until.map(scalar::time_text))
        .field("by", Some(ban.by.as_str()))
        .field("evidence", ban.evidence.as_deref().map(scalar::string));
    line(&map, style)
}

/// Reads an element of `forgotten`.
pub(crate) fn forgotten(text: &str) -> Result<(PeerKey, Forgotten), Refusal> {
    let value = guard::item(text)?;
    let fields = mapping(text, &value)?;
    let key = fields
        .get("key")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key =
        identity(key).ok_or_else(|| Refusal::at(text, "key", "key: expected a public key"))?;
    let seq = match fields.get("seq") {
        None | Some(Value::Null) => 0,
        Some(seq) => seq
            .as_u64()
            .ok_or_else(|| Refusal::at(text, "seq", "seq: expected a whole number"))?,
    };
    Ok((
        key,
        Forgotten {
            seq,
            by: issuer(text, fields)?,
        },
    ))
}

/// Spells an element of `forgotten`.
pub(crate) fn forgotten_text(key: &PeerKey, mark: Forgotten, style: Style) -> String {
    let mut map = FlowMap::default();
    map.field("key", Some(key.to_string()))
        .field("seq", Some(mark.seq.to_string()))
        .field("by", Some(mark.by.as_str()));
    line(&map, style)
}

fn line(map: &FlowMap, Style { indent, eol }: Style) -> String {
    format!("{:indent$}- {}{eol}", "", map.finish().unwrap_or_default())
}

fn mapping<'a>(text: &str, value: &'a Value) -> Result<&'a Mapping, Refusal> {
    value
        .as_mapping()
        .ok_or_else(|| Refusal::at(text, "", "expected {...}"))
}

fn identity(text: &str) -> Option<PeerKey> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<PeerId>().ok().map(PeerId::key))
}

fn issuer(text: &str, fields: &Mapping) -> Result<Issuer, Refusal> {
    match fields.get("by").map(Value::as_str) {
        None => Ok(Issuer::Operator),
        Some(Some("operator")) => Ok(Issuer::Operator),
        Some(Some("node")) => Ok(Issuer::Node),
        Some(_) => Err(Refusal::at(text, "by", "by: expected operator or node")),
    }
}

fn target(text: &str, fields: &Mapping) -> Result<BanTarget, Refusal> {
    let named = |field: &str| {
        fields
            .get(field)
            .map(|value| value.as_str().unwrap_or_default())
    };
    let refuse =
        |field: &str, reason: String| Refusal::at(text, field, format!("{field}: {reason}"));
    match (named("peer"), named("ip"), named("cidr")) {
        (Some(peer), None, None) => identity(peer)
            .map(BanTarget::Peer)
            .ok_or_else(|| refuse("peer", "expected a public key or peer id".into())),
        (None, Some(ip), None) => match ip.parse::<std::net::IpAddr>() {
            Ok(ip) => Ok(BanTarget::Ip(ip.to_canonical())),
            Err(error) => Err(refuse("ip", error.to_string())),
        },
        (None, None, Some(cidr)) => cidr
            .parse()
            .map(BanTarget::Cidr)
            .map_err(|error: btcfed_core::ParseError| refuse("cidr", error.reason)),
        _ => Err(Refusal::at(
            text,
            "",
            "expected exactly one of peer, ip and cidr",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn every_ban_and_mark_reads_back() {
        let targets = [
            BanTarget::Peer(test_key(1)),
            BanTarget::Ip("1.2.3.4".parse().unwrap()),
            BanTarget::Ip("fd00::1".parse().unwrap()),
            BanTarget::Cidr("10.0.0.0/8".parse().unwrap()),
        ];
        for (target, by, until) in targets.into_iter().flat_map(|target| {
            [
                (target, Issuer::Node, None),
                (target, Issuer::Operator, Some(Timestamp::from_secs(9))),
            ]
        }) {
            let reason = BanReason::Other("spam: \"lots\"\n#1".into());
            let ban = Ban {
                target,
                reason,
                since: Timestamp::from_millis(1234),
                until,
                by,
                evidence: Some("x".into()),
            };
            let text = ban_text(&ban, Style::default());
            assert_eq!(super::ban(&text, NOW), Ok(ban), "{text}");
        }
        let mark = Forgotten {
            seq: u64::MAX,
            by: Issuer::Node,
        };
        let text = forgotten_text(&test_key(2), mark, Style::default());
        assert_eq!(forgotten(&text), Ok((test_key(2), mark)), "{text}");
    }

    #[test]
    fn a_person_may_leave_things_out_and_name_peers_by_id() {
        let read = ban("- ip: ::ffff:1.2.3.4\n", Timestamp::from_secs(7)).unwrap();
        assert_eq!(read.target, BanTarget::Ip("1.2.3.4".parse().unwrap()));
        assert_eq!(
            (read.by, read.since, read.until),
            (Issuer::Operator, Timestamp::from_secs(7), None)
        );
        let read = ban(&format!("- peer: {}\n", test_key(1).peer_id()), NOW).unwrap();
        assert_eq!(read.target, BanTarget::Peer(test_key(1)));
        let mark = Forgotten {
            seq: 0,
            by: Issuer::Operator,
        };
        assert_eq!(
            forgotten(&format!("- key: {}\n", test_key(1))),
            Ok((test_key(1), mark))
        );
    }

    #[test]
    fn nonsense_is_refused_with_its_field() {
        for (bad, expected) in [
            ("- 5\n", "expected {...}"),
            ("- {}\n", "exactly one of"),
            ("- {ip: 1.2.3.4, cidr: 1.0.0.0/8}\n", "exactly one of"),
            ("- ip: nonsense\n", "ip:"),
            ("- cidr: 1.2.3.4/99\n", "cidr:"),
            ("- peer: x\n", "peer:"),
            ("- {ip: 1.2.3.4, since: soon}\n", "since:"),
            ("- {ip: 1.2.3.4, reason: [x]}\n", "reason:"),
            ("- {ip: 1.2.3.4, by: me}\n", "by:"),
        ] {
            let refusal = ban(bad, NOW).unwrap_err();
            assert!(
                refusal.reason.contains(expected),
                "{bad}: {}",
                refusal.reason
            );
        }
        for bad in [
            "- {key: x}\n".to_owned(),
            "- {}\n".to_owned(),
            format!("- {{key: {}, seq: -1}}\n", test_key(1)),
        ] {
            assert!(forgotten(&bad).is_err(), "{bad}");
        }
    }
}
