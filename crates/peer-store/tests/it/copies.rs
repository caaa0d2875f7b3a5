//! The copies beside the peers file: what they bring back, and what they say about edits made while nothing ran.

use std::fs;

use btcfed_core::Issuer;
use btcfed_core::testing::test_key;
use btcfed_peer_store::{FilePeerStore, MAX_OLD_COPIES};

use crate::common::{Place, create, keys, knows, survives};

/// A file of three peers, closed, with its base.
fn closed() -> Place {
    let place = Place::new();
    let store = place.open();
    (1..=3).for_each(|number| assert!(create(&store, number)));
    store.close().unwrap();
    assert_eq!(
        fs::read(base(&place)).unwrap(),
        fs::read(&place.path).unwrap()
    );
    place
}

fn base(place: &Place) -> std::path::PathBuf {
    place.dir.path().join("peers.yaml.base")
}

fn known(place: &Place) -> Vec<u16> {
    let store = place.open();
    let known = (1..=9).filter(|number| knows(&store, *number)).collect();
    assert!(create(&store, 9), "{:?}", store.health());
    store.close().unwrap();
    let again = place.open();
    assert!(knows(&again, 9) && again.health().durable);
    known
}

/// Tears the entry of the second peer.
fn tear(path: &std::path::Path) {
    let text = fs::read_to_string(path).unwrap();
    let address = "/ip4/10.0.0.1/tcp/2\n";
    assert!(text.contains(address));
    fs::write(path, text.replace(address, "/ip4/10.0.0.1/tcp/2\0\0\n")).unwrap();
}

#[test]
fn every_combination_of_good_damaged_and_missing_file_and_base_starts_with_the_most() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 4] = [
        ("good", |_| {}),
        ("damaged", tear),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("missing", |path| fs::remove_file(path).unwrap()),
    ];
    for (file_is, harm_file) in harms {
        for (base_is, harm_base) in harms {
            let place = closed();
            harm_file(&place.path);
            harm_base(&base(&place));
            let damaged = fs::read(&place.path).unwrap_or_default();
            let expected: &[u16] = match (file_is, base_is) {
                ("good", _) | (_, "good") => &[1, 2, 3],
                ("damaged", _) => &[1, 3],
                _ => &[],
            };
            assert_eq!(known(&place), expected, "file {file_is}, base {base_is}");
            assert!(
                file_is != "damaged" || survives(place.dir.path(), &damaged),
                "file {file_is}, base {base_is}"
            );
            let now = fs::read_to_string(base(&place)).unwrap();
            assert_eq!(now, place.read(), "the base is whole again");
        }
    }
}

#[test]
fn what_was_edited_and_deleted_while_nothing_ran_is_known_as_such() {
    let place = closed();
    let text = place.read();
    let start = text
        .find(&format!("  - public_key: {}", test_key(2)))
        .unwrap();
    let end = text
        .find(&format!("  - public_key: {}", test_key(3)))
        .unwrap();
    let edited = format!("{}{}", &text[..start], &text[end..]);
    place.write(edited.replace("tcp/1\n", "tcp/1111\n"));
    let store = place.open();
    assert!(!knows(&store, 2));
    let set = store.snapshot();
    assert_eq!(
        set.forgotten_mark(&test_key(2)).unwrap().by,
        Issuer::Operator
    );
    let addr = &set.get(&test_key(1)).unwrap().addresses;
    assert_eq!(
        (addr.len(), addr[0].addr.to_string().as_str()),
        (1, "/ip4/10.0.0.1/tcp/1111")
    );
    store.close().unwrap();
    assert!(
        place
            .read()
            .contains(&keys("{key: KEY2, seq: 0, by: operator}"))
    );
    let before = fs::read_to_string(place.dir.path().join("peers.yaml.before")).unwrap();
    assert_eq!(before, text, "what it was before the edit is kept");
}

#[test]
fn an_edit_that_was_read_and_not_saved_is_never_the_base() {
    let place = closed();
    let before = fs::read(base(&place)).unwrap();
    let options = place.options().with_watch(false).with_journal(false);
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 4));
    let saved = place.read();
    fs::write(
        &place.path,
        saved.replace("peers:\n", "# by hand\npeers:\n"),
    )
    .unwrap();
    store.reload().unwrap();
    store.close().unwrap();
    assert!(
        place.read().contains("# by hand"),
        "nothing had to be saved"
    );
    let copy = fs::read(base(&place)).unwrap();
    assert!(copy == before || copy == saved.as_bytes());
    // With the next save it follows.
    let store = place.open();
    assert!(create(&store, 5));
    store.close().unwrap();
    assert_eq!(fs::read_to_string(base(&place)).unwrap(), place.read());
    assert!(place.read().contains("# by hand"));
}

#[test]
fn a_base_of_another_save_brings_back_what_cannot_be_read_and_deletes_nothing() {
    let place = closed();
    let old = fs::read(base(&place)).unwrap();
    let store = place.open();
    assert!(create(&store, 4));
    store.close().unwrap();
    fs::write(base(&place), old).unwrap();
    tear(&place.path);
    assert_eq!(known(&place), [1, 2, 3, 4]);
}

#[test]
fn a_vanished_file_comes_back_with_its_permissions() {
    let place = closed();
    chmod(&place, 0o600);
    let store = place.open();
    assert!(create(&store, 4));
    store.close().unwrap();
    fs::remove_file(&place.path).unwrap();
    assert_eq!(known(&place), [1, 2, 3, 4]);
    assert_eq!(mode(&place.path), mode(&base(&place)));
}

#[cfg(unix)]
fn chmod(place: &Place, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&place.path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    mode
}

#[cfg(not(unix))]
fn chmod(_: &Place, _: u32) {}

#[cfg(not(unix))]
fn mode(_: &std::path::Path) -> u32 {
    0
}

#[test]
fn without_backups_there_is_one_file_and_nothing_beside_it() {
    let place = Place::new();
    for number in 1..=2 {
        let options = place.options().with_backups(false);
        let store = FilePeerStore::open(options).unwrap();
        assert!(create(&store, number));
        store.close().unwrap();
    }
    let names = place.beside("peers.yaml").len();
    assert_eq!(names, 2, "the file and its lock");
    assert!(place.beside(".old-").len() <= MAX_OLD_COPIES);
}
