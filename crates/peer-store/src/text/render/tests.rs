use super::*;
use btcfed_core::peer::PeerStatus;
use btcfed_core::testing::{test_key, test_record};
use btcfed_core::{Now, PeerOp, PeerPatch};

const STAMP: Stamp = Stamp {
    generation: 7,
    now: Timestamp::UNIX_EPOCH,
};

fn keys(source: &str) -> String {
    (1..=5).fold(source.to_owned(), |text, n| {
        text.replace(&format!("KEY{n}"), &test_key(n).to_string())
    })
}

fn read(source: &str) -> Document {
    Document::parse(
        keys(source).as_bytes(),
        &Document::default(),
        Timestamp::UNIX_EPOCH,
    )
}

fn text(document: &Document) -> String {
    String::from_utf8(document.bytes()).unwrap()
}

fn write(document: &Document, set: &PeerSet) -> String {
    let Rendered {
        document: written,
        content,
    } = render(document, set, STAMP);
    assert!(written.bytes() == content.to_vec());
    assert!(says(&written, set), "{}", text(&written));
    let again = Document::parse(
        &written.bytes(),
        &Document::default(),
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(
        again.checksum,
        crate::text::checksum::Checksum::Matches,
        "{}",
        text(&written)
    );
    assert_eq!(again.damage, [], "{}", text(&written));
    assert_eq!(again.skipped(), written.skipped());
    assert_eq!(again.generation, 7);
    if document.bad().next().is_none() {
        assert_eq!(&again.set(), set);
    }
    text(&written)
}

/// What is left of a written text without the lines that every save rewrites.
fn body(text: &str) -> String {
    let is_head = |line: &str| {
        Head::ALL
            .iter()
            .any(|head| line.starts_with(&format!("{}:", head.as_str())))
    };
    text.split_inclusive('\n')
        .filter(|line| !is_head(line))
        .collect()
}

#[test]
fn a_new_file_is_laid_out_as_documented_and_reads_back() {
    let set = PeerSet::default()
        .apply(&PeerPatch::create(test_record(1)), Now::default())
        .unwrap()
        .0;
    let out = write(&Document::default(), &set);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], [PREFACE, "version: 1"]);
    assert!(
        lines[2].starts_with("checksum: crc32:") && lines[3] == "generation: 7",
        "{out}"
    );
    assert_eq!(
        lines[4..6],
        ["last_modified: \"1970-01-01T00:00:00Z\"", "peers:"]
    );
    assert_eq!(
        lines[lines.len() - 3..],
        ["bans: []", "forgotten: []", "sections: {}"]
    );
    assert_eq!(
        write(&Document::default(), &PeerSet::default())
            .lines()
            .nth(5),
        Some("peers: []")
    );
}

const HAND: &str = "# mine\n\nversion: 1 # v\nzone: [a,\n  b]\npeers:   # list\n# one\n-   public_key: KEY1\n    note: |\n\
                    \x20     - public_key: not one\n\n    addresses: [ /ip4/10.0.0.1/tcp/1 ]\n  # between\n\n- addresses:\n  - \
                    /dns4/B.Example/tcp/2\n  public_key: 'KEY2'\n# after\n- {public_key: KEY3, addresses: []} # flow\n\
                    forgotten: # gone\n  - key: KEY4 # k\n# end";

#[test]
fn saving_leaves_every_line_of_a_hand_written_file_alone() {
    for eol in ["\n", "\r\n"] {
        let source = HAND.replace('\n', eol);
        let document = read(&source);
        assert_eq!(
            (document.skipped().len(), document.damage.len()),
            (0, 0),
            "{:?}",
            document.damage
        );
        assert_eq!(document.set().len(), 3);
        assert_eq!(text(&document), keys(&source));
        let mut out = write(&document, &document.set());
        for _ in 0..3 {
            let again = Document::parse(out.as_bytes(), &document, Timestamp::UNIX_EPOCH);
            out = write(&again, &again.set());
        }
        let expected = keys(&source).replace(&format!("version: 1 # v{eol}"), "");
        assert_eq!(body(&out), format!("{expected}{eol}sections: {{}}{eol}"));
        assert!(out.contains("version: 1 # v"), "{out}");
    }
}

#[test]
fn what_changes_in_memory_changes_its_own_entry_only() {
    let document = read(HAND);
    let key = test_key(1);
    let ops = [
        PeerOp::ContactFailed {
            key,
            addrs: Vec::new(),
        },
        PeerOp::Remove {
            key: test_key(2),
            by: btcfed_core::Issuer::Operator,
        },
        PeerOp::Create(Box::new(test_record(5))),
    ];
    let set = document
        .set()
        .apply(&ops.into_iter().collect(), Now::default())
        .unwrap()
        .0;
    let out = body(&write(&document, &set));
    let state =
        "    state: {status: inaccessible, since: 1970-01-01T00:00:00Z, failed: 1, streak: 1}\n";
    let one = "    addresses: [ /ip4/10.0.0.1/tcp/1 ]\n";
    assert!(out.contains(&format!("{one}{state}")), "{out}");
    assert!(
        !out.contains("B.Example") && out.contains("# after\n"),
        "{out}"
    );
    assert!(
        out.contains(&format!("\n- public_key: {}\n", test_key(5))),
        "{out}"
    );
    assert!(
        out.contains(&format!(
            "  - {{key: {}, seq: 0, by: operator}}\n",
            test_key(2)
        )),
        "{out}"
    );
    assert_eq!(set.get(&key).unwrap().status, PeerStatus::Inaccessible);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_bad_entry_stays_byte_for_byte_and_its_good_neighbours_load() {
    for (bad, line, reason) in [
        (
            "  - public_key: nonsense\n    name: x # keep\n",
            6,
            "public key",
        ),
        ("  - addresses: []\n", 6, "public_key is missing"),
        (
            "  - public_key: KEY2\n    addresses:\n      - /ip4/1.2.3.4/tcp/1\n      - nonsense\n",
            9,
            "multiaddr",
        ),
        (
            "  - public_key: KEY2\n    addresses: [/ip4/1.2.3.4/tcp/1/p2p/ID3]\n",
            7,
            "names another peer",
        ),
        (
            "  - public_key: KEY2\n    addresses: 5\n",
            7,
            "expected a list",
        ),
        (
            "  - public_key: KEY2\n    addresses: [5]\n",
            7,
            "expected text",
        ),
        (
            "  - public_key: KEY2\n    pinned: maybe\n",
            7,
            "true or false",
        ),
        (
            "  - public_key: KEY2\n    name: [x]\n",
            7,
            "name: expected text",
        ),
        (
            "  - public_key: KEY2\n    source: rumour\n",
            7,
            "source: expected",
        ),
        (
            "  - public_key: KEY2\n    state: {status: odd}\n",
            7,
            "unknown status",
        ),
        (
            "  - public_key: KEY2\n    state: {seen: soon}\n",
            7,
            "expected a time",
        ),
        (
            "  - public_key: KEY2\n    state: {ok: -1}\n",
            7,
            "whole number",
        ),
        (
            "  - public_key: KEY2\n    state: {rtt_ms: x}\n",
            7,
            "milliseconds",
        ),
        (
            "  - public_key: KEY2\n    state: {record: \"AAAA\"}\n",
            7,
            "record",
        ),
        (
            "  - public_key: KEY2\n    state: {record: \"?\"}\n",
            7,
            "record",
        ),
        ("  - public_key: KEY2\n    state: {addrs: 1}\n", 7, "addrs"),
        (
            "  - public_key: KEY2\n    state: {addrs: [{addr: x}]}\n",
            7,
            "addrs",
        ),
        (
            "  - public_key: KEY2\n    state: {addrs: [{addr: /ip4/1.2.3.4/tcp/1, by: me}]}\n",
            7,
            "by:",
        ),
        ("  - public_key: KEY2\n    state: 5\n", 7, "state: expected"),
        (
            "  - public_key: KEY2\n    hints: [{addr: /ip4/1.2.3.4/tcp/1, from: x}]\n",
            7,
            "hints",
        ),
        ("  - public_key: KEY2\n    hints: [x]\n", 7, "hints"),
        (
            "  - public_key: KEY2\n    5: x\n",
            6,
            "field names are text",
        ),
        ("  - public_key: 5\n", 6, "expected text"),
        (
            "  - public_key: KEY2\n    public_key: KEY2\n",
            6,
            "duplicate",
        ),
        (
            "  - public_key: KEY1\n",
            6,
            "second entry for the same peer",
        ),
        (
            "  - public_key: KEY2\n    name: \"open\n",
            7,
            "never closed",
        ),
        ("  - public_key: KEY2\n    name: [open\n", 7, "never closed"),
        ("  - public_key: KEY2\n\tname: x\n", 7, "tab"),
        ("  - public_key: &a KEY2\n", 6, "anchors"),
        ("  - just text\n", 6, "expected public_key"),
        ("  -\n", 6, "expected public_key"),
    ] {
        let bad = keys(bad).replace("ID3", &test_key(3).peer_id().to_string());
        let source = format!(
            "# c\nversion: 1\npeers:\n  - public_key: KEY1\n    name: one\n{bad}  # x\n  - public_key: KEY3\nbans: []\n"
        );
        let document = read(&source);
        let skipped = document.skipped();
        assert_eq!(skipped.len(), 1, "{bad}: {skipped:?}");
        assert!(skipped[0].reason.contains(reason), "{bad}: {skipped:?}");
        assert_eq!(skipped[0].line, line, "{bad}: {skipped:?}");
        assert_eq!(document.damage, [], "{bad}");
        assert!(
            document.set().contains(&test_key(1)) && document.set().contains(&test_key(3)),
            "{bad}"
        );
        let out = write(&document, &document.set());
        assert!(out.contains(&bad), "{bad} in {out}");
        let set = document
            .set()
            .apply(&PeerPatch::create(test_record(5)), Now::default())
            .unwrap()
            .0;
        assert!(write(&document, &set).contains(&bad));
    }
}

#[test]
fn a_quote_left_open_swallows_no_neighbour() {
    let source = "peers:\n  - public_key: KEY1\n    name: \"open\n  - public_key: KEY2\n    name: \"two\"\n\
                  \x20   - public_key: KEY3\nbans: []\nforgotten:\n- key: KEY4\n  by: \"operator\"\n";
    let document = read(source);
    assert_eq!(document.skipped().len(), 1, "{:?}", document.skipped());
    assert!(document.set().contains(&test_key(2)) && document.set().contains(&test_key(3)));
    assert_eq!(document.set().forgotten().count(), 1);
    assert_eq!(text(&document), keys(source));
}

#[test]
fn json_and_flow_style_are_understood_and_unrolled() {
    let json = "{\"version\": 1, \"peers\": [\n  {\"public_key\": \"KEY1\",\n   \"addresses\": [\"/ip4/1.2.3.4/tcp/1\"]},\n  \
                {\"public_key\": \"bad, ]\"}\n], \"zone\": {\"a\": [1]}}\n";
    let document = read(json);
    assert_eq!(
        (
            document.set().len(),
            document.skipped().len(),
            document.damage.len()
        ),
        (1, 1, 0),
        "{}",
        text(&document)
    );
    let out = write(&document, &document.set());
    assert!(
        out.contains("  - {\"public_key\": \"bad, ]\"}\n")
            && out.contains("\"zone\": {\"a\": [1]}\n"),
        "{out}"
    );
    let flow = "# c\npeers: [{public_key: KEY1}, # one\n  {public_key: KEY2}] # end\nbans: [{ip: 1.2.3.4}]\n";
    let document = read(flow);
    assert_eq!(
        (document.set().len(), document.set().bans().count()),
        (2, 1),
        "{}",
        text(&document)
    );
    assert!(
        write(&document, &document.set()).contains("# one"),
        "{}",
        text(&document)
    );
}

#[test]
fn damage_is_reported_and_every_whole_entry_is_kept() {
    let source =
        "\u{1}garbage\nversion: x\nversion: 1\npeers: 5\n  - public_key: KEY1\n nonsense\n";
    let document = read(source);
    assert_eq!(document.set().len(), 1);
    assert!(document.damage.len() >= 4, "{:?}", document.damage);
    let out = write(&document, &document.set());
    assert!(!out.contains("garbage"), "{out}");
    let mut torn =
        keys("peers:\n  - public_key: KEY1\n    name: a\n  - public_key: KEY2\n").into_bytes();
    let at = torn.iter().position(|byte| *byte == b'a').unwrap();
    torn.splice(at..at, [0xff, 0, 0]);
    let document = Document::parse(&torn, &Document::default(), Timestamp::UNIX_EPOCH);
    assert_eq!(document.damage.len(), 1, "{:?}", document.damage);
}

#[test]
fn entries_whose_list_lost_its_name_are_found_where_the_file_was_damaged() {
    let source =
        "checksum: x\n`eers:\n  - public_key: KEY1\n    name: a\n  - public_key: KEY2\nbans: []\n";
    let document = read(source);
    assert_eq!(
        (document.set().len(), document.damage.len()),
        (2, 1),
        "{:?}",
        document.damage
    );
    write(&document, &document.set());
    let named = read("peers: []\narchive:\n  - public_key: KEY1\n");
    assert_eq!((named.set().len(), named.damage.len()), (0, 0));
}

#[test]
fn a_blank_file_is_blank_and_its_comments_survive() {
    for source in ["", "\n", "# only\n\n  # comments", "\u{feff}"] {
        assert!(read(source).is_blank(), "{source:?}");
    }
    for source in ["peers: []\n", "x: 1\n", "garbage\n"] {
        assert!(!read(source).is_blank(), "{source:?}");
    }
    let out = write(&read("# only"), &PeerSet::default());
    assert!(
        out.starts_with("# only\nversion: 1\n") && out.ends_with("forgotten: []\nsections: {}\n"),
        "{out}"
    );
    let out = write(&read("\u{feff}# bom\n"), &PeerSet::default());
    assert!(out.starts_with("\u{feff}# bom\nversion"), "{out}");
}

#[test]
fn a_cut_off_end_is_noticed() {
    let set = PeerSet::default()
        .apply(&PeerPatch::create(test_record(1)), Now::default())
        .unwrap()
        .0;
    let whole = write(&Document::default(), &set);
    let cut = whole.find("/tcp").unwrap() + 5;
    let document = read(&whole[..cut]);
    let found = (
        document.set().len(),
        document.skipped().len(),
        document.damage.len(),
    );
    assert_eq!(
        found,
        (0, 2, 2),
        "and every damaged place is among what was skipped"
    );
    assert!(
        !text(&document).contains("/tcp"),
        "half an address never becomes one"
    );
    let edited = read(&whole.replace("tcp/", "tcp/1"));
    assert_eq!(
        (
            edited.set().len(),
            edited.skipped().len(),
            edited.damage.len()
        ),
        (1, 0, 0)
    );
    assert_eq!(edited.checksum, crate::text::checksum::Checksum::Differs);
}
