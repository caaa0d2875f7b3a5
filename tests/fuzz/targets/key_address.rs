//! Any text as a key, an id or an address: no panic, and one spelling each.
#![no_main]

use btcfed_core::addr::AddrWithId;
use btcfed_core::{PeerAddr, PeerId, PeerKey};
use libfuzzer_sys::fuzz_target;

/// What was read is written in a spelling that means the same and is not written differently again.
fn one_spelling<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str)
where
    T::Err: std::fmt::Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let spelled = value.to_string();
        let again: T = spelled.parse().expect("its own spelling");
        assert_eq!(again, value);
        assert_eq!(again.to_string(), spelled);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    one_spelling::<PeerKey>(&text);
    one_spelling::<PeerId>(&text);
    one_spelling::<PeerAddr>(&text);
    one_spelling::<AddrWithId>(&text);
});
