//! Whatever a file holds, reading it ends soon and without a panic.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::common::{Folder, problems};

/// Far more than any of these take, far less than what grows with the square of the length.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn long_repetitions_end_soon() {
    for unit in [
        "[",
        "{",
        "- ",
        "a: ",
        "\"",
        "'",
        "&a ",
        "*a ",
        "!a ",
        "? ",
        "[\n",
        "- [",
        "\t",
        "#",
        ":",
        "{a: ",
        "| ",
        "\\",
        "a:\n",
        "- a\n",
        "---\n",
        "...\n",
        "%a\n",
        "a: b: ",
        ", ",
        "\r",
        "\u{85}",
        "\u{2028}[",
        ">\n ",
        "a: [",
        "[]: ",
        "- - ",
        "? - ",
        ": - ",
        "&a *a",
        "\n\n",
        "'' ",
        "\"\" ",
        "é",
    ] {
        let begun = Instant::now();
        let text = unit.repeat(65_536 / unit.len());
        let _ = Folder::new().write(&text).load();
        assert!(
            begun.elapsed() < SOON,
            "{unit:?} took {:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn deep_nesting_is_refused_soon() {
    let begun = Instant::now();
    let block: String = (0..700)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(problems(&block)[0].contains("nested too deeply"));
    assert!(
        problems(&format!("a: {}{}", "[".repeat(900), "]".repeat(900)))[0]
            .contains("nested too deeply")
    );
    assert!(problems(&"[".repeat(65_536))[0].contains("opening brackets"));
    assert!(begun.elapsed() < SOON);
}

#[test]
fn alias_bombs_are_refused_soon() {
    let begun = Instant::now();
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(problems(&laughs)[0].contains("anchors and aliases"));
    let items = "  - /ip4/192.0.2.1/tcp/1\n".repeat(10_000);
    let users = "  - *a\n".repeat(10_000);
    assert!(problems(&format!("a: &a\n{items}b:\n{users}"))[0].contains("anchors and aliases"));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_file_of_the_largest_size_ends_soon() {
    let begun = Instant::now();
    let line = "  - /ip4/192.0.2.1/tcp/1\n";
    let text = format!(
        "peers:\n bootstrap:\n{}",
        line.repeat((btcfed_config::MAX_CONFIG_BYTES - 30) / line.len())
    );
    assert!(problems(&text)[0].contains("addresses are too many"));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Pieces of which files are made, whole and broken.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "node:",
        "network:",
        "peers:",
        "limits:",
        "addresses:",
        "exchange_interval:",
        "file:",
        "name:",
        "version:",
        "private_key:",
        "max_inbound:",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "\n  - ",
        " ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "#",
        "\"",
        "'",
        "|",
        ">",
        "&a",
        "*a",
        "!t",
        "<<: ",
        "---",
        "...",
        "%",
        "\t",
        "\r\n",
        "30s",
        "0",
        "-1",
        "1.5",
        "true",
        "~",
        "/ip4/0.0.0.0/tcp/1",
        "0660",
        "\u{feff}",
        "\u{85}",
        "\\",
        "é",
    ];
    prop_oneof![4 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Folder::new().write(&bytes).load();
    }

    #[test]
    fn arbitrary_arrangements_never_panic_and_lines_stay_within_the_file(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(error) = Folder::new().write(&text).load() {
            prop_assert!(!error.problems.is_empty());
            let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
            for problem in error.problems {
                prop_assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
                prop_assert!(!problem.to_string().contains(['\n', '\u{1b}']), "{problem}");
            }
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_own_line_wherever_it_stands(
        before in prop::collection::vec(prop::sample::select(vec![
            "# remark", "", "node:", "  name: \"a: b # c\"", "  federation: x y", "   # deep remark",
        ]), 0..3),
        indent in 1_usize..9,
        comment in prop::bool::ANY,
        quoted in prop::bool::ANY,
    ) {
        // Only whole sections stand before the wrong value.
        let mut text: String = if before.contains(&"node:") {
            "node:\n  name: \"a: b # c\"\n\n  federation: >\n    x:\n    y\n".replace("x:\n    y", "x y")
        } else {
            before.iter().filter(|line| !line.starts_with("  n") && !line.starts_with("  f")).map(|line| format!("{line}\n")).collect()
        };
        let remark = if comment { " # 30s" } else { "" };
        let key = if quoted { "\"exchange_interval\"" } else { "exchange_interval" };
        text.push_str(&format!("peers:{remark}\n{}{key}: 30{remark}\n", " ".repeat(indent)));
        let expected = text.lines().count();
        let error = Folder::new().write(&text).load().unwrap_err();
        let found: Vec<_> = error.problems.iter().filter(|problem| problem.key.as_deref() == Some("peers.exchange_interval")).collect();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].line, Some(expected), "{}", text);
    }
}
