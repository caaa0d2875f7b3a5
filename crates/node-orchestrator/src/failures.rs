//! Failed dials in words.

use btcfed_core::addr::PeerAddr;
use btcfed_core::network::DialError;

/// Most attempts spelled out in one line.
const MAX_DESCRIBED: usize = 3;

/// One line that says what was tried and what happened.
pub(crate) fn describe(attempts: &[(PeerAddr, DialError)]) -> String {
    if attempts.is_empty() {
        return "no address to try".to_owned();
    }
    let mut parts: Vec<String> = attempts
        .iter()
        .take(MAX_DESCRIBED)
        .map(|(addr, error)| format!("{addr}: {error}"))
        .collect();
    if attempts.len() > MAX_DESCRIBED {
        parts.push(format!("and {} more", attempts.len() - MAX_DESCRIBED));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_dial_names_every_address_up_to_a_bound() {
        let attempt = |n: u8| {
            (
                format!("/ip4/10.0.0.{n}/tcp/1")
                    .parse::<PeerAddr>()
                    .unwrap(),
                DialError::Refused,
            )
        };
        assert_eq!(describe(&[]), "no address to try");
        assert_eq!(
            describe(&[attempt(1)]),
            "/ip4/10.0.0.1/tcp/1: connection refused"
        );
        let many: Vec<_> = (1..=5).map(attempt).collect();
        assert!(describe(&many).ends_with("; and 2 more"));
    }
}
