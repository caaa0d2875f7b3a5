//! Addresses in lists, with a hint for every usual mistake.

use std::net::{Ipv6Addr, SocketAddr};

use btcfed_core::addr::AddrError;
use btcfed_core::{AddrWithId, PeerAddr};

use crate::quote::{looks_secret, quote};
use crate::value::Remark;

/// An address to listen on.
pub(crate) fn listen(text: &str) -> Result<PeerAddr, Remark> {
    let any = |addr: &PeerAddr| {
        let port = addr.port().unwrap_or(9000);
        format!("write /ip4/0.0.0.0/tcp/{port} here and the name into network.announce")
    };
    let addr: PeerAddr = text.parse().map_err(|error| {
        explain(text, &error, |meant| match meant.addr.ip() {
            Some(_) => format!("write {}", meant.addr),
            None => any(&meant.addr),
        })
    })?;
    if addr.is_listenable() {
        return Ok(addr);
    }
    let shown = quote(text);
    Err(match addr.ip() {
        None => Remark::new(
            format!("{shown} is a name; listening takes an IP address"),
            Some(any(&addr)),
        ),
        Some(_) => Remark::new(format!("{shown} is no address of one host"), None),
    })
}

/// An address to tell others.
pub(crate) fn announce(text: &str) -> Result<PeerAddr, Remark> {
    let parsed = text.parse();
    let addr: PeerAddr =
        parsed.map_err(|error| explain(text, &error, |meant| format!("write {}", meant.addr)))?;
    dialable(&addr, text).map(|()| addr)
}

/// An address to dial.
pub(crate) fn bootstrap(text: &str) -> Result<AddrWithId, Remark> {
    let parsed = text.parse();
    let addr: AddrWithId =
        parsed.map_err(|error| explain(text, &error, |meant| format!("write {meant}")))?;
    dialable(&addr.addr, text).map(|()| addr)
}

fn dialable(addr: &PeerAddr, text: &str) -> Result<(), Remark> {
    if addr.is_dialable() {
        return Ok(());
    }
    let hint = "write an address under which one host is reached, such as /ip4/192.0.2.1/tcp/9000";
    Err(Remark::new(
        format!("{} cannot be dialled", quote(text)),
        Some(hint.to_owned()),
    ))
}

/// What is wrong with `text`; `hint` says what to write instead, given what was probably meant.
fn explain(text: &str, error: &AddrError, hint: impl Fn(&AddrWithId) -> String) -> Remark {
    let shown = quote(text);
    if looks_secret(text) {
        return Remark::new(format!("{shown} is no address"), None);
    }
    let hint = meant(text).map(|meant| hint(&meant));
    match error {
        AddrError::Unsupported { .. } => {
            let hint =
                hint.or_else(|| Some("write an address such as /ip4/0.0.0.0/tcp/9000".to_owned()));
            Remark::new(format!("only TCP is supported, not {shown}"), hint)
        }
        AddrError::Malformed(parse) => {
            let reason = if text.trim() != text {
                format!("{shown} has white space around it")
            } else if text.starts_with('/') || hint.is_none() {
                parse.reason.clone()
            } else if text.contains("/tcp/") {
                format!("{shown} does not begin with a slash")
            } else {
                format!("{shown} is not written as a multiaddr")
            };
            Remark::new(reason, hint)
        }
    }
}

/// The address that was probably meant: a UDP port as TCP, a forgotten slash added, `HOST:PORT` spelled out.
fn meant(text: &str) -> Option<AddrWithId> {
    let text = text.trim();
    let with_slash = format!("/{}", text.trim_start_matches('/'));
    if let Ok(addr) = with_slash.parse() {
        return Some(addr);
    }
    let mut parts = with_slash.split('/').skip(1);
    if let (Some(family), Some(host), Some(_), Some(port)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    {
        return format!("/{family}/{host}/tcp/{port}").parse().ok();
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(PeerAddr::from_socket_addr(socket).into());
    }
    let (host, port) = text.rsplit_once(':')?;
    let family = if host.parse::<Ipv6Addr>().is_ok() {
        "ip6"
    } else {
        "dns"
    };
    format!("/{family}/{host}/tcp/{port}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: Result<PeerAddr, Remark>) -> String {
        let Remark { reason, hint, .. } = result.unwrap_err();
        format!("{reason}; {}", hint.unwrap_or_default())
    }

    #[test]
    fn listen_addresses_are_ip_addresses_of_any_port() {
        for good in [
            "/ip4/0.0.0.0/tcp/9000",
            "/ip6/::/tcp/0",
            "/ip4/127.0.0.1/tcp/1",
        ] {
            assert_eq!(listen(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn usual_mistakes_get_their_hint() {
        for (bad, reason, hint) in [
            (
                "/ip4/0.0.0.0/udp/9000/quic-v1",
                "only TCP is supported",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "/ip4/0.0.0.0/udp/9000",
                "only TCP is supported",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "/ip4/0.0.0.0/tcp/9000/ws",
                "only TCP is supported",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "/unix/%2Ftmp%2Fx",
                "only TCP is supported",
                "such as /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "ip4/0.0.0.0/tcp/9000",
                "does not begin with a slash",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "0.0.0.0:9000",
                "not written as a multiaddr",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            (
                "[::]:9000",
                "not written as a multiaddr",
                "write /ip6/::/tcp/9000",
            ),
            (
                "node1.example.com:9000",
                "not written as a multiaddr",
                "write /ip4/0.0.0.0/tcp/9000 here",
            ),
            (
                "/dns4/node1.example.com/tcp/9001",
                "is a name",
                "write /ip4/0.0.0.0/tcp/9001 here",
            ),
            ("/dnsaddr/example.com", "is a name", "/tcp/9000 here"),
            ("/ip4/224.0.0.1/tcp/9000", "no address of one host", ""),
            ("/ip4/0.0.0.0/tcp/70000", "70000", ""),
            (
                "/ip4/0.0.0.0/tcp/9000 ",
                "white space around",
                "write /ip4/0.0.0.0/tcp/9000",
            ),
            ("/ip4/300.0.0.1/tcp/9000", "not an IP address", ""),
            ("nonsense", "nonsense", ""),
            ("", "", ""),
        ] {
            let told = told(listen(bad));
            assert!(
                told.contains(reason) && told.contains(hint),
                "{bad}: {told}"
            );
        }
    }

    #[test]
    fn what_is_told_to_others_or_dialled_must_be_dialable() {
        assert!(announce("/dns4/node1.example.com/tcp/9000").is_ok());
        assert!(told(announce("/ip4/0.0.0.0/tcp/9000")).contains("cannot be dialled"));
        assert!(told(announce("/ip4/192.0.2.1/tcp/0")).contains("cannot be dialled"));
        let id = btcfed_core::SecretKey::from_seed([7; 32]).peer_id();
        let with_id = told(announce(&format!("/ip4/192.0.2.1/tcp/9000/p2p/{id}")));
        assert!(
            with_id.ends_with("; write /ip4/192.0.2.1/tcp/9000"),
            "{with_id}"
        );
        assert!(
            told(announce("node1.example.com:9000"))
                .ends_with("write /dns/node1.example.com/tcp/9000")
        );
        assert_eq!(
            bootstrap(&format!("/ip4/192.0.2.1/tcp/9000/p2p/{id}"))
                .unwrap()
                .peer_id,
            Some(id)
        );
        assert_eq!(bootstrap("/ip4/192.0.2.1/tcp/9000").unwrap().peer_id, None);
        assert!(
            bootstrap("/ip4/192.0.2.1/tcp/0").is_err()
                && bootstrap("/ip4/192.0.2.1/udp/9/quic-v1").is_err()
        );
    }

    #[test]
    fn a_private_key_among_the_addresses_is_not_repeated() {
        let key = btcfed_core::SecretKey::from_seed([7; 32]).to_base64();
        for text in [
            key.to_string(),
            format!("/ip4/{}/tcp/1", *key),
            format!("/{}", *key),
        ] {
            assert!(!told(listen(&text)).contains(&key[5..12]), "{text}");
        }
    }
}
