use super::*;

/// The lines at which `path` is found; `[n]` is an element.
fn lines_of(text: &str, path: &[&str]) -> Vec<usize> {
    let mut found = Lines::of(text);
    let place = path
        .iter()
        .fold(Place::ROOT, |place, step| match step.strip_prefix('[') {
            Some(index) => place.item(index.trim_end_matches(']').parse().unwrap()),
            None => place.key(step),
        });
    std::iter::from_fn(|| found.take(place)).collect()
}

#[test]
fn keys_of_nested_sections_are_found_at_any_indentation() {
    let text = "# remark\n\nnode:\n    name: a # x: y\nnetwork:\n limits:\n  max_inbound: 1\n\n  max_per_ip: 2\n keepalive:\n         interval: 1s\npeers: {}\n";
    for (path, line) in [
        (&["node"][..], 3),
        (&["node", "name"], 4),
        (&["network"], 5),
        (&["network", "limits"], 6),
        (&["network", "limits", "max_inbound"], 7),
        (&["network", "limits", "max_per_ip"], 9),
        (&["network", "keepalive", "interval"], 11),
        (&["peers"], 12),
    ] {
        assert_eq!(lines_of(text, path), [line], "{path:?}");
    }
    assert!(lines_of(text, &["node", "name", "x"]).is_empty());
}

#[test]
fn elements_are_found_indented_or_not_and_nested() {
    let text =
        "a:\n- x\n# r\n- y\nb:\n  - p\n  -\n    q\n  - - r\n    - s\n  - k: 1\n    l: 2\nc: 3\n";
    for (path, line) in [
        (&["a", "[0]"][..], 2),
        (&["a", "[1]"], 4),
        (&["b"], 5),
        (&["b", "[0]"], 6),
        (&["b", "[1]"], 7),
        (&["b", "[2]", "[0]"], 9),
        (&["b", "[2]", "[1]"], 10),
        (&["b", "[3]", "k"], 11),
        (&["b", "[3]", "l"], 12),
        (&["c"], 13),
    ] {
        assert_eq!(lines_of(text, path), [line], "{path:?}");
    }
}

#[test]
fn a_duplicate_is_found_behind_its_first() {
    assert_eq!(
        lines_of("a:\n  x: 1\nb: 2\na:\n  x: 3\n  x: 4\n", &["a"]),
        [1, 4]
    );
    assert_eq!(
        lines_of("a:\n  x: 1\nb: 2\na:\n  x: 3\n  x: 4\n", &["a", "x"]),
        [2, 5, 6]
    );
}

#[test]
fn text_over_several_lines_holds_no_keys() {
    let text = "a: |\n  x: 1\n\n  y: 2\nb: >-\n  z: 1\nc: plain\n  text goes\n  on\nd: \"quoted\n  x: 1\\\n\n  \\\" end\" # r\ne: 'it''s\n  x: 1'\nf: 6\n";
    for (key, line) in [
        ("a", 1),
        ("b", 5),
        ("c", 7),
        ("d", 10),
        ("e", 14),
        ("f", 16),
    ] {
        assert_eq!(lines_of(text, &[key]), [line], "{key}");
    }
    assert!(lines_of(text, &["x"]).is_empty() && lines_of(text, &["a", "x"]).is_empty());
}

#[test]
fn quoted_keys_urls_and_windows_line_ends_do_not_confuse() {
    let text = "\"a\": 1\r\n'b' : 2\r\nc: http://x:80/#y\r\nd: /ip6/::/tcp/9000\r\n\"e\\\"f\": 3\r\ng:\r\n  h: 1\r\n";
    for (path, line) in [
        (&["a"][..], 1),
        (&["b"], 2),
        (&["c"], 3),
        (&["d"], 4),
        (&["e\\\"f"], 5),
        (&["g", "h"], 7),
    ] {
        assert_eq!(lines_of(text, path), [line], "{path:?}");
    }
}

#[test]
fn brackets_and_braces_are_followed_over_lines() {
    let text = "a: [x, # r ]\n  y,\n  {k: 1,\n   l: [p,\n    q]}, 'z, ]']\nb: {m: /ip6/::/tcp/1, \"n\": {o: 2}\n }\nc: []\nd: 1\n";
    for (path, line) in [
        (&["a", "[0]"][..], 1),
        (&["a", "[1]"], 2),
        (&["a", "[2]"], 3),
        (&["a", "[2]", "k"], 3),
        (&["a", "[2]", "l"], 4),
        (&["a", "[2]", "l", "[1]"], 5),
        (&["a", "[3]"], 5),
        (&["b", "m"], 6),
        (&["b", "n", "o"], 6),
        (&["c"], 8),
        (&["d"], 9),
    ] {
        assert_eq!(lines_of(text, path), [line], "{path:?}");
    }
    assert_eq!(lines_of("{a: 1,\n b: 2}\n", &["b"]), [2]);
}

#[test]
fn anchors_aliases_and_tags_are_noticed_only_where_values_begin() {
    let marks = |text: &str| Lines::of(text).marks;
    assert_eq!(
        marks("a: &x 1\nb: *x\nc: !t\n  d: 1\n- &y z\n"),
        [(1, '&'), (2, '*'), (3, '!'), (5, '&')]
    );
    assert_eq!(
        marks("a: [*x, {b: &y 2}]\n&z k: 1\n"),
        [(1, '*'), (1, '&'), (2, '&')]
    );
    assert_eq!(
        marks("a: 2 * 3 & 4!\nb: \"*x\"\nc: |\n  *x\n# *x\nd: [a *b, '!']\n"),
        []
    );
}

#[test]
fn documents_and_tabs_are_noticed() {
    assert_eq!(
        Lines::of("%YAML 1.2\n---\na: 1\n...\n").second_document,
        None
    );
    assert_eq!(
        Lines::of("a: 1\n---\nb: 2\n---\nc: 3\n").second_document,
        Some(2)
    );
    assert_eq!(Lines::of("--- a\n--- b\n").second_document, Some(2));
    assert_eq!(lines_of("---\na: 1\n", &["a"]), [2]);
    assert_eq!(Lines::of("a:\n\tb: 1\n\t# r\n\t\n  \tc: 1\n").tabs, [2, 5]);
}

#[test]
fn broken_text_ends_the_pass_quietly() {
    for text in [
        "[",
        "{",
        "a: [",
        "\"",
        "'x",
        "\"\\",
        "- ",
        "-",
        "a:\n  \"b",
        "]",
        "[}]",
        "a: [\"",
        ": x",
        "? a\n: b",
        "é: [é",
        "&",
        "!é",
    ] {
        Lines::of(text);
    }
}

#[test]
fn long_hostile_text_takes_linear_time() {
    for unit in [
        "[", "{", "- ", "a: ", "\"", "'", "&a ", "? ", "[\n", "- [", "\t", " - a\n", "#", ":",
        "{a: ", "| ", "\\",
    ] {
        let begun = std::time::Instant::now();
        Lines::of(&unit.repeat(200_000 / unit.len()));
        assert!(
            begun.elapsed().as_secs() < 5,
            "{unit:?} took {:?}",
            begun.elapsed()
        );
    }
}
