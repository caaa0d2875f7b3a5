use std::collections::BTreeSet;

use super::layout::Layout;
use super::merge::merge;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn define(section: &str, version: u64, ttl: Duration) -> SectionOp {
    let section = section.to_owned();
    SectionOp::Define {
        section,
        version,
        ttl,
    }
}

/// Tables with entries put at some second.
fn tables(puts: &[(&str, &str, &str, u64)]) -> Sections {
    let mut sections = Sections::default();
    for (section, key, value, second) in puts {
        let ops = [
            define(section, 1, 5 * MINUTE),
            put(section, key, value, None),
        ];
        sections.apply(&ops, at(*second)).unwrap();
    }
    sections
}

fn parse(text: &str) -> Layout {
    Layout::parse(text, &Layout::default(), at(1000))
}

#[test]
fn an_entry_is_there_at_four_fifty_nine_and_gone_at_five() {
    let mut sections = tables(&[("packages", "a", "1", 1000)]);
    sections
        .apply(&[put("packages", "b", "2", Some(MINUTE))], at(1000))
        .unwrap();
    let table = Arc::clone(sections.get("packages").unwrap());
    let has = |key: &str, second: u64| table.get(key, at(second)).is_some();
    assert!(has("a", 1299) && !has("a", 1300));
    assert!(table.get("a", Timestamp::from_millis(1_299_999)).is_some());
    assert!(
        has("b", 1059) && !has("b", 1060),
        "its own time to live counts"
    );
    assert!(has("a", 0), "a clock that went back makes nothing older");
    assert_eq!(table.iter_after(None, at(1100)).count(), 1);
    let mut later = sections.clone();
    assert!(!later.expire(at(1059)) && later.expire(at(1299)));
    assert_eq!(later.get("packages").unwrap().entries().len(), 1);
    assert!(later.expire(at(1300)) && later.get("packages").unwrap().entries().is_empty());
}

#[test]
fn a_time_of_the_future_is_now() {
    let mut sections = tables(&[("a", "k", "v", 1000)]);
    let op = |second| SectionOp::Put {
        section: "a".into(),
        key: "k".into(),
        value: "w".into(),
        ttl: None,
        at: Some(at(second)),
    };
    sections.apply(&[op(5000)], at(1000)).unwrap();
    assert_eq!(sections.get("a").unwrap().entries()["k"].at, at(1000));
    sections.apply(&[op(900)], at(1000)).unwrap();
    assert_eq!(sections.get("a").unwrap().entries()["k"].at, at(900));
    let text = "sections:\n  a:\n    entries:\n      k: {value: v, at: 2099-01-01T00:00:00Z}\n";
    assert_eq!(
        parse(text).sections().get("a").unwrap().entries()["k"].at,
        at(1000)
    );
}

#[test]
fn names_keys_values_and_times_to_live_have_bounds_and_nothing_changes_beyond_them() {
    let mut sections = tables(&[("a", "k", "v", 1)]);
    let before = sections.clone();
    let long = |len: usize| "x".repeat(len);
    let now = at(1);
    let too_long = |what, limit| SectionError::TooLong {
        what,
        len: limit + 1,
        limit,
    };
    for (op, error) in [
        (
            define(&long(MAX_SECTION_NAME_BYTES + 1), 1, MINUTE),
            too_long("name", MAX_SECTION_NAME_BYTES),
        ),
        (
            put("a", &long(MAX_SECTION_KEY_BYTES + 1), "", None),
            too_long("key", MAX_SECTION_KEY_BYTES),
        ),
        (
            put("a", "k", &long(MAX_SECTION_VALUE_BYTES + 1), None),
            too_long("value", MAX_SECTION_VALUE_BYTES),
        ),
        (
            put("b", "k", "v", None),
            SectionError::Undeclared("b".into()),
        ),
    ] {
        assert_eq!(sections.apply(&[op], now), Err(error));
    }
    let bad = [
        define("", 1, MINUTE),
        define("b", 1, MIN_TTL - Duration::from_millis(1)),
        define("b", 1, MAX_TTL + Duration::from_millis(1)),
        put("a", "", "v", None),
        put("a", "k", "v", Some(Duration::ZERO)),
    ];
    for op in bad {
        let error = sections.apply(&[op], now).unwrap_err();
        assert!(matches!(error, SectionError::Bad { .. }), "{error}");
    }
    assert_eq!(sections, before);
    let fine = [
        define(&long(MAX_SECTION_NAME_BYTES), 1, MIN_TTL),
        define("z", 1, MAX_TTL),
        put(
            "z",
            &long(MAX_SECTION_KEY_BYTES),
            &long(MAX_SECTION_VALUE_BYTES),
            Some(MIN_TTL),
        ),
    ];
    assert_eq!(sections.apply(&fine, now), Ok(true));
    let half = [put("z", "new", "v", None), put("nowhere", "k", "v", None)];
    let before = sections.clone();
    assert!(sections.apply(&half, now).is_err());
    assert_eq!(sections, before, "all or nothing");
}

#[test]
fn tables_entries_and_bytes_are_bounded_and_what_is_over_its_time_makes_room() {
    let mut sections = Sections::default();
    for number in 0..MAX_SECTIONS {
        sections
            .apply(&[define(&format!("s{number}"), 1, MINUTE)], at(1))
            .unwrap();
    }
    let full = |what, limit| Err(SectionError::Full { what, limit });
    assert_eq!(
        sections.apply(&[define("more", 1, MINUTE)], at(1)),
        full("sections", MAX_SECTIONS)
    );
    let puts: Vec<_> = (0..MAX_SECTION_ENTRIES)
        .map(|n| put("s0", &n.to_string(), "", None))
        .collect();
    sections.apply(&puts, at(1)).unwrap();
    let more = [put("s0", "more", "", None)];
    assert_eq!(
        sections.apply(&more, at(60)),
        full("entries", MAX_SECTION_ENTRIES)
    );
    assert_eq!(
        sections.apply(&[put("s0", "7", "x", None)], at(60)),
        Ok(true),
        "no new key"
    );
    assert_eq!(sections.apply(&more, at(61)), Ok(true));
    assert_eq!(sections.get("s0").unwrap().entries().len(), 2);

    let mut sections = tables(&[("a", "k", "v", 1)]);
    let value = "x".repeat(MAX_SECTION_VALUE_BYTES);
    let mut count = 0;
    let refused = loop {
        match sections.apply(&[put("a", &format!("{count:0256}"), &value, None)], at(1)) {
            Ok(_) => count += 1,
            Err(error) => break Err(error),
        }
    };
    assert_eq!(refused, full("bytes", MAX_SECTIONS_BYTES));
    let each = MAX_SECTION_KEY_BYTES + MAX_SECTION_VALUE_BYTES;
    assert_eq!(count, (MAX_SECTIONS_BYTES - 2) / each);
    let same = [put("a", &format!("{:0256}", 0), &value, None)];
    assert_eq!(
        sections.apply(&same, at(2)),
        Ok(true),
        "replacing takes no more room"
    );
    sections
        .apply(
            &[SectionOp::Drop {
                section: "a".into(),
            }],
            at(2),
        )
        .unwrap();
    assert_eq!(sections.bytes(), 0);
}

#[test]
fn a_table_keeps_its_entries_when_its_version_rises_and_refuses_an_older_program() {
    let mut sections = tables(&[("a", "k", "v", 1)]);
    assert_eq!(
        sections.apply(&[define("a", 1, 5 * MINUTE)], at(1)),
        Ok(false)
    );
    assert_eq!(sections.apply(&[define("a", 2, MINUTE)], at(1)), Ok(true));
    let table = sections.get("a").unwrap();
    assert_eq!(
        (table.version, table.ttl, table.entries().len()),
        (2, MINUTE, 1)
    );
    let error = sections
        .apply(&[define("a", 1, MINUTE)], at(1))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "section a has version 2, which is newer; upgrade the program"
    );
    let same = [put("a", "k", "v", None)];
    assert_eq!(sections.apply(&same, at(1)), Ok(false), "nothing changed");
    let gone = SectionOp::Remove {
        section: "a".into(),
        key: "x".into(),
    };
    assert_eq!(sections.apply(&[gone], at(1)), Ok(false));
    for (error, words) in [
        (
            SectionError::Undeclared("a\n".into()),
            "section a\\n is not declared",
        ),
        (
            SectionError::Full {
                what: "entries",
                limit: 3,
            },
            "full (3 entries)",
        ),
        (
            check_text("key", "", 1).unwrap_err(),
            "key of a section: expected text",
        ),
        (
            check_len("value", "xx", 1).unwrap_err(),
            "value is 2 bytes long; at most 1",
        ),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

const HAND_WRITTEN: &str = "sections:  # state\n  # of others\n  foreign: [1, 2]   # kept\n  \
    pkg:\n    # ours\n    ttl: 5m # short\n    owner: me\n    entries: # of it\n      # first\n      \
    a: {value: \"1\", at: 1970-01-01T00:16:39Z} # one\n      bad: {valu: 1}\n      \
    b: {value: x, at: 1970-01-01T00:16:00Z, ttl: 30s}\n    tail: 1\n  other: {k: v}\n";

#[test]
fn what_people_and_other_programs_wrote_stays_byte_for_byte() {
    let layout = parse(HAND_WRITTEN);
    let sections = layout.sections();
    assert_eq!(sections.len(), 1);
    assert_eq!(layout.write(&sections, "\n"), HAND_WRITTEN);
    assert_eq!(
        layout.unread(),
        BTreeSet::from(["foreign".into(), "other".into(), "pkg".into()])
    );
    let table = sections.get("pkg").unwrap();
    assert_eq!((table.version, table.ttl), (1, 5 * MINUTE));
    assert_eq!(table.entries()["a"].value, "1");
    assert_eq!(table.entries()["b"].ttl, Some(MINUTE / 2));

    let mut changed = sections.clone();
    let put_c = SectionOp::Put {
        section: "pkg".into(),
        key: "c: d".into(),
        value: "tab\there".into(),
        ttl: Some(MINUTE),
        at: Some(at(7)),
    };
    let new = define("new", 3, 2 * MINUTE);
    changed
        .apply(&[put_c, define("pkg", 2, MINUTE), new], at(1000))
        .unwrap();
    let text = layout.write(&changed, "\n");
    let expected = HAND_WRITTEN
        .replace("    ttl: 5m # short", "    version: 2\n    ttl: 1m # short")
        .replace("    tail: 1\n", "      \"c: d\": {value: \"tab\\there\", at: 1970-01-01T00:00:07Z, ttl: 1m}\n    tail: 1\n")
        + "  new:\n    version: 3\n    ttl: 2m\n    entries: {}\n";
    assert_eq!(text, expected);
    assert_eq!(Layout::parse(&text, &layout, at(1000)).sections(), changed);
    assert!(Layout::parse(&text, &layout, at(1000)).says(&changed, at(10)));

    let mut gone = sections;
    gone.apply(
        &[SectionOp::Drop {
            section: "pkg".into(),
        }],
        at(1),
    )
    .unwrap();
    let rest = layout.write(&gone, "\n");
    assert!(
        !rest.contains("pkg") && rest.contains("foreign: [1, 2]   # kept\n"),
        "{rest}"
    );
    assert!(!layout.says(&gone, at(1000)));
}

#[test]
fn nothing_becomes_a_table_and_a_table_nothing() {
    let some = tables(&[("a", "k", "v", 1000), ("a", "l", "w", 1000)]);
    for empty in [
        "",
        "sections: {}\n",
        "sections: {} # none\n",
        "sections:\n",
        "sections: ~",
    ] {
        let layout = parse(empty);
        assert!(layout.sections().is_empty() && layout.says(&Sections::default(), at(1)));
        let text = layout.write(&some, "\r\n");
        let remark = if empty.contains('#') { " # none" } else { "" };
        let expected = format!(
            "sections:{remark}\r\n  a:\r\n    version: 1\r\n    ttl: 5m\r\n    entries:\r\n      \
             k: {{value: v, at: 1970-01-01T00:16:40Z}}\r\n      l: {{value: w, at: 1970-01-01T00:16:40Z}}\r\n"
        );
        assert_eq!(text, expected);
        let back = parse(&text);
        assert_eq!(back.sections(), some);
        assert_eq!(back.write(&some, "\r\n"), text, "stable");
        assert_eq!(
            back.write(&Sections::default(), "\n"),
            format!("sections: {{}}{remark}\n")
        );
    }
}

#[test]
fn an_entry_without_a_time_was_put_when_it_was_first_read() {
    let text = "sections:\n  a:\n    entries:\n      k: v\n      n: 12\n      m: {value: w}\n";
    let layout = parse(text);
    assert!(layout.is_incomplete);
    let later = Layout::parse(&text.replace("12", "13"), &layout, at(2000));
    let sections = later.sections();
    let entries = sections.get("a").unwrap().entries();
    assert_eq!((entries["k"].at, entries["n"].at), (at(1000), at(2000)));
    assert!(
        !layout.says(&layout.sections(), at(1000)),
        "the time must be written"
    );
    let written = layout.write(&layout.sections(), "\n");
    assert!(
        written.contains("      \"n\": {value: \"12\", at: 1970-01-01T00:16:40Z}\n"),
        "{written}"
    );
    assert!(parse(&written).says(&layout.sections(), at(1000)));
}

#[test]
fn braces_are_read_and_written_line_by_line() {
    let text = "sections: {\"a\": {version: 4, \"ttl\": 1m, note: x, entries: {k: {value: v, at: 1970-01-01T00:16:40Z}}}, b: [1],\n c: {entries: ~}} # end\n";
    let layout = parse(text);
    let mut sections = layout.sections();
    let table = sections.get("a").unwrap();
    assert_eq!(
        (table.version, table.ttl, table.entries().len()),
        (4, MINUTE, 1)
    );
    assert_eq!(sections.get("c").unwrap().ttl, DEFAULT_TTL);
    sections
        .apply(&[put("a", "l", "w", None)], at(1000))
        .unwrap();
    let out = layout.write(&sections, "\n");
    assert!(
        out.contains("  b: [1]\n")
            && out.contains("    note: x\n")
            && out.starts_with("sections: # end\n"),
        "{out}"
    );
    assert_eq!(parse(&out).sections(), sections);
}

#[test]
fn what_cannot_be_read_is_kept_and_hides_no_table() {
    for (kept, is_unread) in [
        ("  a:\n    version: x\n    entries: {}\n", true),
        ("  a:\n    ttl: soon\n    entries: {}\n", true),
        ("  a:\n    ttl: 0s\n    entries: {}\n", true),
        ("  a:\n    entries: [1]\n", true),
        ("  a:\n    - b\n", true),
        ("  a: {entries: [1]}\n", true),
        ("  a: {ttl: x, entries: {}}\n", true),
        ("  a: \"open\n", true),
        ("  a:\n    entries:\n      k: {value: v, at: soon}\n", false),
        (
            "  a:\n    entries:\n      k: {value: v, ttl: soon}\n",
            false,
        ),
        ("  a:\n    entries:\n      k: {value: [1]}\n", false),
    ] {
        let text = format!("sections:\n{kept}");
        let layout = parse(&text);
        assert_eq!(layout.sections().is_empty(), is_unread, "{kept}");
        assert_eq!(layout.unread(), BTreeSet::from(["a".to_owned()]), "{kept}");
        assert_eq!(layout.write(&layout.sections(), "\n"), text);
        let memory = tables(&[("a", "k", "v", 1)]);
        let none = Sections::default();
        let merged = merge(
            &memory,
            &layout.sections(),
            &memory,
            &layout.unread(),
            false,
        );
        let entries = |sections: &Sections| sections.get("a").unwrap().entries().clone();
        assert_eq!(
            entries(&merged),
            entries(&memory),
            "an unreadable table deletes nothing"
        );
        let merged = merge(&none, &layout.sections(), &memory, &layout.unread(), false);
        assert_eq!(entries(&merged), entries(&memory));
    }
    let twice = "sections:\n  a:\n    entries:\n      k: {value: v, at: 1970-01-01T00:00:01Z}\n      \
                 k: {value: w, at: 1970-01-01T00:00:01Z}\n  a:\n    entries: {}\n";
    let layout = parse(twice);
    assert_eq!(
        layout.sections().get("a").unwrap().entries()["k"].value,
        "v"
    );
    assert_eq!(layout.write(&layout.sections(), "\n"), twice);
}

#[test]
fn merging_keeps_both_sides_and_takes_deletions() {
    let merged = |base: &Sections, file: &Sections, memory: &Sections| {
        merge(base, file, memory, &BTreeSet::new(), false)
    };
    let base = tables(&[
        ("a", "k", "v", 10),
        ("a", "l", "v", 10),
        ("b", "m", "v", 10),
    ]);
    let file = tables(&[("a", "k", "hand", 10), ("c", "new", "v", 10)]);
    let memory = tables(&[
        ("a", "k", "v", 10),
        ("a", "l", "later", 20),
        ("a", "n", "v", 20),
        ("b", "m", "v", 10),
    ]);
    let all = merged(&base, &file, &memory);
    let expected = tables(&[
        ("a", "k", "hand", 10),
        ("a", "l", "later", 20),
        ("a", "n", "v", 20),
        ("c", "new", "v", 10),
    ]);
    assert_eq!(all, expected);
    assert_eq!(merged(&base, &base, &memory), memory, "only memory changed");
    assert_eq!(merged(&base, &file, &base), file, "only the file changed");
    assert_eq!(merged(&all, &all, &all), all);
    let kept = merge(&base, &Sections::default(), &base, &BTreeSet::new(), true);
    assert_eq!(kept, base, "a damaged file deletes nothing");
    // Both put the same key: the later one, whoever merges.
    let (early, late) = (
        tables(&[("a", "k", "x", 11)]),
        tables(&[("a", "k", "y", 12)]),
    );
    let base = tables(&[("a", "k", "v", 10)]);
    assert_eq!(merged(&base, &early, &late), late);
    assert_eq!(merged(&base, &late, &early), late);
    // Dropped in memory: gone, unless the file changed it.
    let none = Sections::default();
    assert_eq!(merged(&base, &base, &none), none);
    assert_eq!(merged(&base, &late, &none), late);
    // Deleted by hand while memory put something new.
    assert_eq!(merged(&base, &none, &late), late);
    let mut redefined = base.clone();
    redefined.apply(&[define("a", 2, MINUTE)], at(10)).unwrap();
    assert_eq!(merged(&base, &redefined, &base), redefined);
    assert_eq!(merged(&base, &base, &redefined), redefined);
    assert_eq!(
        merged(&redefined, &base, &redefined),
        base,
        "a person may lower it"
    );
    assert_eq!(
        merged(&base, &none, &redefined).get("a").unwrap().version,
        2
    );
}
