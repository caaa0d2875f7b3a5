//! Whether this machine knows a way to the rest of the world, from the kernel's own tables.

use std::fs;

use btcfed_core::addr::{AddrScope, PeerAddr};

use super::finding::Finding;
use crate::cli::context::Loaded;

/// The flag of a route that is up.
const UP: u32 = 1;

/// Whether there is a default route, which is needed only by those who want to leave the local network.
pub(super) fn default_route(loaded: &Loaded) -> Finding {
    let read = |table: &str| fs::read_to_string(table).unwrap_or_default();
    let (v4, v6) = (
        v4(&read("/proc/net/route")),
        v6(&read("/proc/net/ipv6_route")),
    );
    let shown: Vec<String> = [("IPv4", v4), ("IPv6", v6)]
        .into_iter()
        .filter_map(|(family, interface)| Some(format!("{family} by {}", interface?)))
        .collect();
    if !shown.is_empty() {
        return Finding::ok("route", format!("to everywhere: {}", shown.join(", ")));
    }
    let config = &loaded.full.config;
    let mut wanted = config.peers.bootstrap.iter().map(|entry| &entry.addr);
    let text = "no default route: only this machine and its own networks can be reached";
    if wanted.any(leads_away) {
        let fix = "`ip route` shows what there is; bring the network up, or ask whoever runs it";
        return Finding::fail("route", text, fix);
    }
    Finding::ok("route", text)
}

fn leads_away(addr: &PeerAddr) -> bool {
    matches!(addr.scope(), AddrScope::Public)
}

/// The interface of the IPv4 default route.
fn v4(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let everywhere = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        (everywhere && flags & UP == UP).then(|| (*fields[0]).to_owned())
    })
}

/// The interface of the IPv6 default route; a route that leads to the loopback interface refuses packets.
fn v6(table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
        let everywhere =
            fields.first()?.bytes().all(|byte| byte == b'0') && *fields.get(1)? == "00";
        let interface = *fields.get(9)?;
        (everywhere && flags & UP == UP && interface != "lo").then(|| interface.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
";

    #[test]
    fn a_default_route_is_told_from_all_others() {
        assert_eq!(v4(V4).as_deref(), Some("eth1"));
        assert_eq!(v4(&V4.replace("0003", "0002")), None, "it is down");
        assert_eq!(v4(V4.split("eth1").next().unwrap()), None);
        let zero = "0".repeat(32);
        let line = |to: &str, device: &str| {
            format!("{to} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003 {device}\n")
        };
        assert_eq!(v6(&line(&zero, "eth0")).as_deref(), Some("eth0"));
        assert_eq!(v6(&line(&zero, "lo")), None);
        assert_eq!(v6(&line(&zero.replace("00", "fe"), "eth0")), None);
        for nonsense in ["", "x", "x y z\n\n"] {
            assert_eq!((v4(nonsense), v6(nonsense)), (None, None));
        }
    }
}
