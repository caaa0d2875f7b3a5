//! Every bound of every key: at the limit, and one past it.

use crate::common::{load, problem, yaml};
use btcfed_config::{Effect, keys};

/// A value as the configuration shows it after loading `text` for `key`.
fn shown(key: &str, text: &str) -> String {
    load(&yaml(key, text)).unwrap().config.values()[key].clone()
}

#[test]
fn durations_hold_their_bounds() {
    for (key, least, below, most, above) in [
        ("network.keepalive.interval", "1s", "999ms", "1h", "1h1ms"),
        ("network.keepalive.timeout", "100ms", "99ms", "5m", "5m1ms"),
        ("network.breaker.cooldown", "1s", "999ms", "24h", "24h1ms"),
        ("network.dns.timeout", "100ms", "99ms", "30s", "30s1ms"),
        ("network.dns.max_ttl", "1s", "999ms", "24h", "24h1ms"),
        ("network.dns.negative_ttl", "1s", "999ms", "1h", "1h1ms"),
        ("network.dns.serve_stale", "1s", "999ms", "168h", "168h1ms"),
        ("network.backoff.initial", "10ms", "9ms", "1h", "1h1ms"),
        ("network.backoff.max", "10ms", "9ms", "24h", "24h1ms"),
        ("peers.exchange_interval", "1s", "999ms", "24h", "24h1ms"),
        ("peers.connection_timeout", "100ms", "99ms", "5m", "5m1ms"),
        ("peers.stale_after", "1m", "59s999ms", "8760h", "8760h1ms"),
        (
            "peers.forget_after",
            "1h",
            "59m59s999ms",
            "8760h",
            "8760h1ms",
        ),
        ("peers.ban.duration", "1m", "59s999ms", "8760h", "8760h1ms"),
        ("storage.lock_timeout", "10ms", "9ms", "5m", "5m1ms"),
        ("storage.debounce", "10ms", "9ms", "1m", "1m1ms"),
        ("storage.flush_interval", "10ms", "9ms", "1h", "1h1ms"),
        ("shutdown.timeout", "100ms", "99ms", "10m", "10m1ms"),
    ] {
        assert_eq!(shown(key, least), least, "{key}");
        assert_eq!(shown(key, most), most, "{key}");
        let allowed = format!("allowed: {least} to {most}");
        for (value, why) in [
            (below, "is too short"),
            (above, "is too long"),
            ("0s", "is too short"),
            ("0", "has no unit"),
            ("-1", "is negative"),
            ("-1s", "is negative"),
            ("5", "has no unit"),
            ("5.5", "expected a duration"),
            ("1.5s", "fraction"),
            ("99999999999999999999d", "is too long"),
            ("99999999999999999999999999999999999999999999", "duration"),
            ("true", "expected a duration"),
            ("[1s]", "expected a duration"),
            ("{a: 1s}", "expected a duration"),
            ("\"\"", "is empty"),
        ] {
            let told = problem(&yaml(key, value));
            assert!(told.contains(why) && told.contains(&allowed), "{told}");
            assert!(told.contains(&format!(": {key}: ")), "{told}");
        }
    }
}

#[test]
fn numbers_hold_their_bounds() {
    for (key, least, most) in [
        ("network.target_outbound", 0, 128),
        ("network.limits.max_connections", 1, 10_000),
        ("network.limits.max_inbound", 0, 128),
        ("network.limits.max_per_ip", 1, 10_000),
        ("network.limits.max_pending", 1, 10_000),
        ("network.port_retries", 0, 8),
        ("network.port_fallback", 0, 100),
        ("network.keepalive.failures", 1, 100),
        ("network.breaker.failures", 1, 1000),
        ("peers.max_peers", 100, 10_000),
        ("peers.max_addresses_per_peer", 1, 8),
        ("peers.rate_limit.messages_per_minute", 60, 10_000),
        ("peers.rate_limit.records_per_minute", 60, 10_000),
        ("peers.rate_limit.burst", 64, 10_000),
        ("peers.ban.threshold", 40, 10_000),
        ("storage.backups", 0, 5),
    ] {
        assert_eq!(shown(key, &format!("{least}")), least.to_string(), "{key}");
        assert_eq!(shown(key, &format!("{most}")), most.to_string(), "{key}");
        assert!(problem(&yaml(key, &format!("{}", most + 1))).contains(key));
        let range = keys()
            .iter()
            .find(|found| found.name == key)
            .unwrap()
            .range();
        for (value, why) in [
            (format!("{}", least - 1), "is too small"),
            ("10001".to_owned(), "is too large"),
            ("99999999999999999999".to_owned(), "is too large"),
            ("1.0".to_owned(), "expected a whole number"),
            ("\"5\"".to_owned(), "expected a whole number, found text"),
            ("true".to_owned(), "expected a whole number"),
        ] {
            let told = problem(&yaml(key, &value));
            assert!(told.contains(why) && told.contains(&range), "{told}");
        }
    }
}

#[test]
fn fractions_hold_their_bounds() {
    for (key, least, below, most, above) in [
        ("peers.exchange_jitter", "0", "-0.001", "0.5", "0.501"),
        ("network.backoff.jitter", "0", "-0.001", "1", "1.001"),
        ("network.backoff.factor", "1", "0.999", "10", "10.001"),
    ] {
        assert_eq!(
            (shown(key, least), shown(key, most)),
            (least.to_owned(), most.to_owned()),
            "{key}"
        );
        for (value, why) in [
            (below, "too small"),
            (above, "too large"),
            (".inf", "too large"),
            ("-.inf", "too small"),
            (".nan", "not a number"),
            ("99999999999", "too large"),
            ("-99999999999", "too small"),
            ("\"0.2\"", "expected a number"),
            ("20%", "expected a number"),
        ] {
            let told = problem(&yaml(key, value));
            assert!(told.contains(why) && told.contains("allowed: "), "{told}");
        }
    }
    assert_eq!(shown("peers.exchange_jitter", "-0.0"), "0");
}

#[test]
fn words_and_switches_take_what_they_list() {
    for (key, words) in [
        ("node.network", &["mainnet", "regtest", "testnet"][..]),
        (
            "logging.level",
            &["error", "warn", "info", "debug", "trace"],
        ),
        ("logging.format", &["auto", "json", "text"]),
        ("peers.mode", &["open", "allowlist"]),
        ("storage.watch", &["true", "false"]),
        ("storage.journal", &["true", "false"]),
        ("logging.trace_messages", &["true", "false"]),
    ] {
        for word in words {
            assert_eq!(shown(key, word), *word);
        }
        assert!(problem(&yaml(key, "[]")).contains("found a list"));
        assert!(problem(&yaml(key, "7")).contains("found the number 7"));
    }
    assert!(problem(&yaml("node.network", "tesnet")).contains("did you mean testnet?"));
    assert!(problem(&yaml("logging.level", "INFO")).contains("did you mean info?"));
    assert!(
        problem(&yaml("storage.watch", "yes")).contains("expected true or false, found \"yes\"")
    );
}

#[test]
fn text_has_a_length_and_one_line() {
    for key in ["node.name", "node.federation"] {
        let longest = "x".repeat(64);
        assert_eq!(shown(key, &longest), longest);
        assert_eq!(shown(key, "\"\""), "");
        for (value, why) in [
            ("x".repeat(65), "65 bytes are too many, at most 64"),
            ("\"a\\nb\"".to_owned(), "control characters"),
            ("\"a\\eb\"".to_owned(), "control characters"),
            ("\" a\"".to_owned(), "white space"),
            ("007.5".to_owned(), ""),
            ("[a]".to_owned(), "expected text, found a list"),
        ] {
            if !why.is_empty() {
                let told = problem(&yaml(key, &value));
                assert!(told.contains(why), "{told}");
            }
        }
    }
}

#[test]
fn permission_bits_are_octal_and_let_the_owner_in() {
    for (value, expected) in [
        ("0600", "0600"),
        ("0660", "0660"),
        ("\"0770\"", "0770"),
        ("\"660\"", "0660"),
    ] {
        let loaded = load(&yaml("admin.mode", value)).unwrap();
        assert_eq!(loaded.config.values()["admin.mode"], expected);
        assert!(loaded.warnings.is_empty());
    }
    for value in [
        "660",
        "0o660",
        "0400",
        "0060",
        "01660",
        "0888",
        "\"00660\"",
        "rw",
        "\"\"",
        "[]",
    ] {
        let told = problem(&yaml("admin.mode", value));
        assert!(
            told.contains("write four octal digits such as 0660"),
            "{told}"
        );
    }
    let loaded = load(&yaml("admin.mode", "0666")).unwrap();
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("admin.mode: 0666 lets every user"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn http_is_off_and_only_for_this_machine_unless_somebody_says_otherwise() {
    assert_eq!(load("version: 1\n").unwrap().config.admin.http, None);
    for value in ["127.0.0.1:9100", "\"[::1]:9100\"", "127.255.0.1:0"] {
        let loaded = load(&yaml("admin.http", value)).unwrap();
        let told = loaded.config.values()["admin.http"].clone();
        assert_eq!(told, value.trim_matches('"'));
    }
    for value in ["0.0.0.0:9100", "192.0.2.1:9100", "\"[::]:9100\""] {
        let told = problem(&yaml("admin.http", value));
        assert!(
            told.contains("can be reached from other machines"),
            "{told}"
        );
        assert!(told.contains("admin.http_insecure: true"), "{told}");
        let allowed = format!("admin:\n  http: {value}\n  http_insecure: true\n");
        assert!(load(&allowed).unwrap().config.admin.http.is_some());
    }
    for value in [
        "9100",
        "localhost:9100",
        "127.0.0.1",
        "127.0.0.1:65536",
        "[]",
    ] {
        let told = problem(&yaml("admin.http", value));
        assert!(told.contains("write 127.0.0.1:9100"), "{told}");
    }
}

#[test]
fn lists_of_addresses_have_a_length_and_take_only_addresses() {
    for (key, max) in [
        ("network.addresses", 64),
        ("network.announce", 8),
        ("peers.bootstrap", 1024),
    ] {
        let list = |count: usize| {
            let items: Vec<_> = (0..count)
                .map(|index| format!("/ip4/192.0.2.1/tcp/{}", 1000 + index))
                .collect();
            yaml(key, &format!("[{}]", items.join(", ")))
        };
        assert!(load(&list(max)).is_ok());
        assert!(problem(&list(max + 1)).contains(&format!(
            "{} addresses are too many, at most {max}",
            max + 1
        )));
        assert_eq!(shown(key, "[]"), "[]");
        assert!(
            problem(&yaml(key, "/ip4/192.0.2.1/tcp/1"))
                .contains("expected a list of addresses, found text")
        );
        let items = "[5, {a: 1}, [x], ~, true]";
        assert_eq!(crate::common::problems(&yaml(key, items)).len(), 5);
        assert!(
            crate::common::problems(&yaml(key, items))[3]
                .contains(&format!("{key}[3]: expected an address"))
        );
    }
}

#[test]
fn patterns_of_software_have_a_length_and_a_number() {
    let key = "peers.deny_agents";
    let list = |count: usize, len: usize| {
        let pattern = format!("\"{}*\"", "a ".repeat(64)[..len - 1].replace(' ', "-"));
        yaml(key, &format!("[{}]", vec![pattern; count].join(", ")))
    };
    assert!(load(&list(64, 128)).is_ok());
    assert!(problem(&list(65, 1)).contains("65 patterns are too many, at most 64"));
    assert!(problem(&list(1, 129)).contains("129 bytes are too many, at most 128"));
    assert!(problem(&yaml(key, "[\"\"]")).contains("peers.deny_agents[0]: an empty pattern"));
    assert!(problem(&yaml(key, "x")).contains("expected a list of patterns"));
    assert!(problem(&yaml(key, "[5]")).contains("put it in quotes"));
    let quoted = "[\"old node/0.*\", \"*\"]";
    assert_eq!(shown(key, quoted), quoted);
}

#[test]
fn the_same_address_twice_is_refused_for_listeners_in_any_spelling_and_noted_elsewhere() {
    let two = "[\"/ip6/::1/tcp/9000\", \"/ip6/0:0:0:0:0:0:0:1/tcp/9000\"]";
    assert!(
        problem(&yaml("network.addresses", two))
            .contains("network.addresses[1]: the same address as element 0")
    );
    for key in ["network.announce", "peers.bootstrap"] {
        let loaded = load(&yaml(key, two)).unwrap();
        assert_eq!(loaded.config.values()[key], "[/ip6/::1/tcp/9000]");
        assert!(
            loaded.warnings[0]
                .to_string()
                .contains(&format!("{key}[1]: the same address"))
        );
    }
}

#[test]
fn file_names_are_names_of_files() {
    for key in ["node.private_key_file", "peers.file", "admin.socket"] {
        for (value, why) in [
            ("\"\"", "cannot be empty"),
            ("\" \"", "cannot be empty"),
            ("~/x", "not expanded"),
            ("$HOME/x", "not expanded"),
            ("\"a\\nb\"", "control characters"),
            ("dir/", "a folder"),
            (".", "a folder"),
            ("a/..", "a folder"),
            ("5", "expected a file name"),
            (
                "CAESQAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=",
                "this is a private key",
            ),
        ] {
            let told = problem(&yaml(key, value));
            assert!(told.contains(why) && !told.contains("BwcHBw"), "{told}");
        }
        assert!(problem(&yaml(key, &format!("/{}", "x".repeat(4095)))).contains("too "));
    }
}

#[test]
fn every_key_may_be_left_empty() {
    for key in keys() {
        let loaded = load(&yaml(key.name, "")).unwrap();
        assert_eq!(
            loaded.origins[key.name],
            btcfed_config::Origin::Default,
            "{key}"
        );
        assert!(matches!(
            key.effect,
            Effect::Live | Effect::Rebind | Effect::Restart
        ));
    }
}

#[test]
fn a_key_that_is_left_out_on_purpose_says_why_and_what_to_do() {
    for (key, value, why, hint) in [
        (
            "network.announce_private",
            "true",
            "private networks",
            "network.announce",
        ),
        (
            "peers.fanout",
            "3",
            "who is connected",
            "network.target_outbound",
        ),
        (
            "storage.fsync",
            "false",
            "on the disk, always",
            "storage.flush_interval",
        ),
    ] {
        let told = problem(&yaml(key, value));
        assert!(told.contains(why) && told.contains(hint), "{told}");
        assert!(
            told.contains(&format!("{key}: not a key of this program")),
            "{told}"
        );
    }
    let told = problem(&yaml("peers.fanot", "3"));
    assert!(told.contains("unknown key"), "{told}");
}
