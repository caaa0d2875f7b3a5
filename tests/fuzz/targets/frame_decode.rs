//! Any bytes as a frame: no panic; what is understood is written and read back the same.
#![no_main]

use btcfed_core::record::UnverifiedRecord;
use btcfed_exchange_protocol::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    if let Ok(message) = codec::decode(frame) {
        let again = codec::decode(&codec::encode(&message)).expect("what was written can be read");
        assert_eq!(message, again);
    }
    if let Ok(record) = UnverifiedRecord::decode(frame) {
        drop(record);
    }
});
