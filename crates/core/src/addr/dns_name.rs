//! DNS names in their one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use super::quote;
use crate::error::ParseError;

/// RFC 1035: a name has at most 253 characters in text form, a label at most 63.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A DNS name: lower case, without a trailing dot, labels of letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with this text, which was taken from a name.
    pub(super) fn of_known(text: &str) -> Self {
        Self(text.into())
    }

    /// The name that is spelled exactly so. Takes only what [`FromStr`] takes as it is, in one pass.
    pub(super) fn from_canonical(text: &str) -> Option<Self> {
        let (mut label, mut is_number) = (0, true);
        for byte in text.bytes() {
            match byte {
                b'.' if label > 0 => (label, is_number) = (0, true),
                b'0'..=b'9' => label += 1,
                b'a'..=b'z' | b'-' | b'_' => (label, is_number) = (label + 1, false),
                _ => return None,
            }
            if label > MAX_LABEL {
                return None;
            }
        }
        let ends_in_number = || {
            let last = text.len().checked_sub(label).and_then(|at| text.get(at..));
            last.is_none_or(is_number_text)
        };
        let is_name = label > 0 && text.len() <= MAX_NAME && !is_number && !ends_in_number();
        is_name.then(|| Self(text.into()))
    }
}

impl FromStr for DnsName {
    type Err = ParseError;

    /// Folds case and one trailing dot. Refuses IP literals, also the short forms (`127.1`) that some resolvers read as
    /// addresses: a name that is secretly an address would escape every check of its scope.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |reason: &str| {
            Err(ParseError::new(
                "dns name",
                format!("{}: {reason}", quote(text)),
            ))
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return refuse("empty");
        }
        if name.len() > MAX_NAME {
            return refuse("longer than 253 characters");
        }
        if !name.is_ascii() {
            return refuse("not ASCII; write international names in punycode (xn--...)");
        }
        if name.contains(':') {
            let bare = name.trim_matches(['[', ']']);
            return refuse(if bare.parse::<IpAddr>().is_ok() {
                "an IP address; use /ip6/"
            } else {
                "contains ':'"
            });
        }
        let mut last = "";
        for label in name.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return refuse("each label needs 1 to 63 characters");
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return refuse("only letters, digits, '-' and '_' may stand between the dots");
            }
            last = label;
        }
        if name.parse::<Ipv4Addr>().is_ok() {
            return refuse("an IP address; use /ip4/");
        }
        if is_number_text(last) {
            return refuse("ends in a number, which resolvers read as an IP address; use /ip4/");
        }
        let is_lower = !name.bytes().any(|b| b.is_ascii_uppercase());
        Ok(Self(match is_lower {
            true => name.into(),
            false => name.to_ascii_lowercase().into(),
        }))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({self})")
    }
}

/// True for a decimal or `0x` hexadecimal number. No top-level domain is one (RFC 3696).
fn is_number_text(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_trailing_dot_fold_to_one_spelling() {
        for text in [
            "node1.example.com",
            "NODE1.Example.COM",
            "node1.example.com.",
        ] {
            assert_eq!(
                text.parse::<DnsName>().unwrap().as_str(),
                "node1.example.com"
            );
        }
        for text in [
            "localhost",
            "_dnsaddr.bootstrap.libp2p.io",
            "xn--bcher-kva.example",
            "a-b_c.1a",
        ] {
            assert_eq!(text.parse::<DnsName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn lengths_are_accepted_up_to_their_limits_only() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(longest.parse::<DnsName>().is_ok());
        assert!(format!("{longest}.").parse::<DnsName>().is_ok());
        assert!(format!("{longest}b").parse::<DnsName>().is_err());
        assert!(format!("{label}a.example").parse::<DnsName>().is_err());
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for (bad, hint) in [
            ("", "empty"),
            (".", "empty"),
            ("a..b", "1 to 63"),
            ("a.b..", "1 to 63"),
            ("bücher.example", "punycode"),
            ("192.168.1.1", "/ip4/"),
            ("127.1", "/ip4/"),
            ("2130706433", "/ip4/"),
            ("0x7f.0x1", "/ip4/"),
            ("x.0X", "/ip4/"),
            ("::1", "/ip6/"),
            ("[2001:db8::1]", "/ip6/"),
            ("host:80", "':'"),
            ("a b.example", "letters"),
            ("a\0b", "letters"),
            ("a%62", "letters"),
        ] {
            let refusal = bad.parse::<DnsName>().unwrap_err().to_string();
            assert!(refusal.contains(hint), "{bad}: {refusal}");
        }
    }
}
