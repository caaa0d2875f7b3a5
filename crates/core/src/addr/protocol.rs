//! The multiaddr protocols that are recognised but not dialled, so that addresses using them are kept, not refused.

/// The value that follows a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// So many bytes in binary form, any text in text form.
    Fixed(usize),
    /// None at all.
    None,
    /// The rest of the text; length-prefixed in binary form.
    Path,
    /// A port: two bytes, or a decimal number.
    Port,
    /// Any text; length-prefixed in binary form.
    Variable,
}

/// One protocol of the multiformats table.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) name: &'static str,
    pub(super) code: u64,
    pub(super) value: Value,
}

/// Codes of the protocols this federation speaks, from
/// <https://github.com/multiformats/multiaddr/blob/master/protocols.csv>.
pub(super) const IP4: u64 = 0x04;
pub(super) const TCP: u64 = 0x06;
pub(super) const IP6: u64 = 0x29;
pub(super) const DNS: u64 = 0x35;
pub(super) const DNS4: u64 = 0x36;
pub(super) const DNS6: u64 = 0x37;
pub(super) const DNSADDR: u64 = 0x38;
pub(super) const P2P: u64 = 0x01a5;

const fn other(name: &'static str, code: u64, value: Value) -> Other {
    Other { name, code, value }
}

/// Everything else in that table which libp2p implementations read.
static OTHERS: [Other; 34] = [
    other("certhash", 0x01d2, Value::Variable),
    other("dccp", 0x21, Value::Port),
    other("garlic32", 0x01bf, Value::Variable),
    other("garlic64", 0x01be, Value::Variable),
    other("http", 0x01e0, Value::None),
    other("http-path", 0x01e1, Value::Variable),
    other("https", 0x01bb, Value::None),
    other("ip6zone", 0x2a, Value::Variable),
    other("ipcidr", 0x2b, Value::Fixed(1)),
    other("memory", 0x0309, Value::Fixed(8)),
    other("noise", 0x01c6, Value::None),
    other("onion", 0x01bc, Value::Fixed(12)),
    other("onion3", 0x01bd, Value::Fixed(37)),
    other("p2p-circuit", 0x0122, Value::None),
    other("p2p-stardust", 0x0115, Value::None),
    other("p2p-webrtc-direct", 0x0114, Value::None),
    other("p2p-webrtc-star", 0x0113, Value::None),
    other("p2p-websocket-star", 0x01df, Value::None),
    other("quic", 0x01cc, Value::None),
    other("quic-v1", 0x01cd, Value::None),
    other("sctp", 0x84, Value::Port),
    other("sni", 0x01c1, Value::Variable),
    other("tls", 0x01c0, Value::None),
    other("udp", 0x0111, Value::Port),
    other("udt", 0x012d, Value::None),
    other("unix", 0x0190, Value::Path),
    other("utp", 0x012e, Value::None),
    other("webrtc", 0x0119, Value::None),
    other("webrtc-direct", 0x0118, Value::None),
    other("webtransport", 0x01d1, Value::None),
    other("ws", 0x01dd, Value::None),
    other("wss", 0x01de, Value::None),
    other("x-parity-ws", 0x12a2, Value::Variable),
    other("x-parity-wss", 0x12ac, Value::Variable),
];

/// The recognised protocol of that name.
pub(super) fn by_name(name: &str) -> Option<&'static Other> {
    OTHERS.iter().find(|other| other.name == name)
}

/// The recognised protocol of that code.
pub(super) fn by_code(code: u64) -> Option<&'static Other> {
    OTHERS.iter().find(|other| other.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_neither_names_nor_codes_repeat() {
        assert!(OTHERS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let ours = [IP4, TCP, IP6, DNS, DNS4, DNS6, DNSADDR, P2P];
        let mut codes: Vec<u64> = OTHERS.iter().map(|other| other.code).chain(ours).collect();
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(
            by_name("udp").map(|o| o.code),
            by_code(0x0111).map(|o| o.code)
        );
    }
}
