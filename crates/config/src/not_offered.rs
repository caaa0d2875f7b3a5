//! Keys that people look for and that do not exist on purpose: what to say instead of "unknown key".

/// A key that does not exist, why, and what to do.
struct NotOffered {
    name: &'static str,
    reason: &'static str,
    hint: &'static str,
}

const NOT_OFFERED: [NotOffered; 3] = [
    NotOffered {
        name: "network.announce_private",
        reason: "not a key of this program: addresses of private networks are told only to peers that are reached through one",
        hint: "remove the line; to tell one to everybody, write it into network.announce",
    },
    NotOffered {
        name: "peers.fanout",
        reason: "not a key of this program: whom news is passed on to follows from who is connected",
        hint: "remove the line; network.target_outbound says how many peers that are",
    },
    NotOffered {
        name: "storage.fsync",
        reason: "not a key of this program: what is answered as saved is on the disk, always",
        hint: "remove the line; storage.flush_interval says how long changes that nobody waits for may wait",
    },
];

/// Why there is no key of this name, and what to do, for a name that is known.
pub(crate) fn explain(name: &str) -> Option<(String, Option<String>)> {
    let found = NOT_OFFERED.iter().find(|known| known.name == name)?;
    Some((found.reason.to_owned(), Some(found.hint.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::key;

    #[test]
    fn a_key_is_offered_or_not_and_what_a_hint_names_is_offered() {
        for known in &NOT_OFFERED {
            assert!(key(known.name).is_none(), "{}", known.name);
            let named = known
                .hint
                .split([' ', ';', ','])
                .filter(|word| word.contains('.'));
            let named: Vec<_> = named.map(|word| word.trim_matches('.')).collect();
            assert!(!named.is_empty() && named.iter().all(|name| key(name).is_some()));
        }
        assert!(explain("peers.fan").is_none());
    }
}
