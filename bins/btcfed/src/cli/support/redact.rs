//! What must not leave the machine: private keys always, addresses where people want it so.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use btcfed_core::identity::SecretKey;

/// What stands in the place of a secret.
const REDACTED: &str = "<redacted>";

/// Shortest name of a host that is looked for everywhere, in characters: shorter ones are parts of other words.
const SHORTEST_HOST: usize = 4;

/// Most hosts that get a code of their own.
const MAX_HOSTS: usize = 100_000;

/// Makes texts fit to be shown.
#[derive(Debug)]
pub(super) struct Redactor {
    secrets: Vec<String>,
    codes: RandomState,
    /// Hosts and their codes; `None` leaves addresses as they are.
    hosts: Option<BTreeMap<String, String>>,
}

impl Redactor {
    /// For a node with this key. Codes differ from bundle to bundle.
    pub(super) fn new(secret: Option<&SecretKey>, anonymous: bool) -> Self {
        Self {
            secrets: secret.map(spellings).unwrap_or_default(),
            codes: RandomState::new(),
            hosts: anonymous.then(BTreeMap::new),
        }
    }

    /// Takes note of the hosts in the multiaddrs and the plain IP addresses of a text, so that they are found in all texts.
    pub(super) fn learn(&mut self, text: &str) {
        let Some(hosts) = &mut self.hosts else {
            return;
        };
        let mut add = |host: &str| {
            if host.len() >= SHORTEST_HOST && hosts.len() < MAX_HOSTS && !is_nobody(host) {
                let code = format!("host-{:08x}", self.codes.hash_one(host) & 0xffff_ffff);
                hosts.insert(host.to_owned(), code);
            }
        };
        for start in ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/"] {
            for (at, _) in text.match_indices(start) {
                let rest = &text[at + start.len()..];
                let end = rest.find(|c: char| !is_host(c)).unwrap_or(rest.len());
                add(&rest[..end]);
            }
        }
        for word in text.split(|c: char| !is_host(c)) {
            let bare = word.trim_matches([':', '.']);
            let host = match bare.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
                _ => bare,
            };
            if host.parse::<std::net::IpAddr>().is_ok() {
                add(host);
            }
        }
    }

    /// The text without what must not be seen.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), REDACTED);
        }
        let mut clean = String::with_capacity(text.len());
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let mut rest = text.as_str();
        while let Some(start) = rest.find(is_word) {
            let (before, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
            clean.push_str(before);
            // Public keys in their raw form are shorter.
            let is_key = word.len() > 64 && word.parse::<SecretKey>().is_ok();
            clean.push_str(if is_key { REDACTED } else { word });
            rest = after;
        }
        clean.push_str(rest);
        for (host, code) in self.hosts.iter().flatten().rev() {
            clean = clean.replace(host.as_str(), code);
        }
        clean
    }
}

const fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_')
}

/// Addresses that say nothing about anybody.
fn is_nobody(host: &str) -> bool {
    let ip: Option<std::net::IpAddr> = host.parse().ok();
    ip.is_some_and(|ip| ip.is_unspecified() || ip.is_loopback()) || host == "localhost"
}

/// Every way in which people and programs write a key.
fn spellings(secret: &SecretKey) -> Vec<String> {
    let hex: String = secret
        .seed()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let long = secret.to_base64().as_str().to_owned();
    // Without the padding it is the same key.
    let bare = long.trim_end_matches('=').to_owned();
    vec![long, bare, hex.to_uppercase(), hex, base64(secret.seed())]
}

/// Standard base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..=chunk.len() {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or_default();
            text.push(char::from(DIGITS[index]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_spelling_also_one_of_somebody_else() {
        let own = SecretKey::from_seed([7; 32]);
        let other = SecretKey::from_seed([8; 32]);
        let redactor = Redactor::new(Some(&own), false);
        for spelling in spellings(&own) {
            let text = format!("key=\"{spelling}\", rest");
            let clean = redactor.clean(&text);
            assert!(
                !clean.contains(&spelling) && clean.contains(REDACTED),
                "{clean}"
            );
        }
        let text = format!("a {} b", other.to_base64().as_str());
        assert_eq!(redactor.clean(&text), "a <redacted> b");
        let public = format!("{} {}", own.public(), own.peer_id());
        assert_eq!(redactor.clean(&public), public);
        assert_eq!(base64(b"ab"), "YWI");
        assert_eq!(base64(b"abc"), "YWJj");
    }

    #[test]
    fn one_host_has_one_code_in_all_texts_and_is_nowhere_else() {
        let mut redactor = Redactor::new(None, true);
        let text = "/dns4/node1.example.com/tcp/9000 /ip4/203.0.113.7/tcp/1 /ip4/0.0.0.0/tcp/9000 [2001:db8::7]:1";
        redactor.learn(text);
        let clean = redactor.clean(text);
        let said = redactor
            .clean("node1.example.com does not resolve; 203.0.113.7:1 refuses 198.51.100.1");
        for host in ["node1.example.com", "203.0.113.7", "2001:db8::7"] {
            assert!(
                !clean.contains(host) && !said.contains(host),
                "{clean} {said}"
            );
        }
        assert!(
            clean.contains("0.0.0.0") && said.contains("198.51.100.1"),
            "only what was learned"
        );
        let code = clean.split('/').nth(2).unwrap();
        assert!(
            code.starts_with("host-") && said.starts_with(code),
            "{said}"
        );
    }
}
