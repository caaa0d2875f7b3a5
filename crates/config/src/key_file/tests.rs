use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use btcfed_core::ErrorKind;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn public(bytes: &[u8]) -> Result<String, String> {
    parse(bytes).map(|key| key.public().to_string())
}

#[test]
fn a_key_is_made_once_in_a_private_file_and_directory() {
    let dir = folder();
    let path = dir.path().join("state/deep/node.key");
    let first = load_or_generate_key(&path).unwrap();
    assert!(first.generated && first.warning.is_none());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", *first.key.to_base64()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (
            mode(&path),
            mode(&dir.path().join("state/deep")),
            mode(&dir.path().join("state"))
        ),
        (0o600, 0o700, 0o700)
    );
    let second = load_or_generate_key(&path).unwrap();
    assert!(!second.generated);
    assert_eq!(second.key.public(), first.key.public());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn two_keys_are_never_the_same() {
    let dir = folder();
    let make = |name| {
        load_or_generate_key(&dir.path().join(name))
            .unwrap()
            .key
            .public()
    };
    assert_ne!(make("a"), make("b"));
}

#[test]
fn many_that_start_at_once_end_with_one_key() {
    let dir = folder();
    for round in 0..20 {
        let path = dir.path().join(format!("{round}/node.key"));
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_generate_key(&path).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(keys.iter().filter(|loaded| loaded.generated).count(), 1);
        assert!(
            keys.iter()
                .all(|loaded| loaded.key.public() == keys[0].key.public())
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

#[test]
fn every_usual_form_of_a_key_is_read() {
    let key = SecretKey::from_seed([0xa7; 32]);
    let text = key.to_base64();
    for bytes in [
        text.as_bytes().to_vec(),
        format!("{}\n", *text).into_bytes(),
        format!("\r\n  {}\r\n\n", *text).into_bytes(),
        STANDARD.encode([0xa7; 32]).into_bytes(),
        vec![0xa7; 32],
    ] {
        assert_eq!(public(&bytes), Ok(key.public().to_string()));
    }
}

#[test]
fn what_is_no_key_is_refused_without_being_repeated() {
    let text = SecretKey::from_seed([7; 32]).to_base64();
    for (bytes, why) in [
        (b"".to_vec(), "empty"),
        (b" \n\t\r\n".to_vec(), "empty"),
        (vec![0; 32], "only zeros"),
        (vec![0; 93], "only zeros"),
        (vec![b'x'; 32], "no private key"),
        (vec![0xff; 31], "no private key"),
        (vec![0xff; 33], "no private key"),
        (text.as_bytes()[..60].to_vec(), "no private key"),
        (
            format!("{} {}", *text, *text).into_bytes(),
            "no private key",
        ),
        (
            SecretKey::from_seed([7; 32])
                .public()
                .to_string()
                .into_bytes(),
            "public key",
        ),
        (b"-----BEGIN PRIVATE KEY-----\n".to_vec(), "no private key"),
    ] {
        let refusal = public(&bytes).unwrap_err();
        assert!(refusal.contains(why), "{refusal}");
        assert!(!refusal.contains(&text[8..20]), "{refusal}");
    }
}

#[test]
fn a_bad_file_stays_as_it_is_and_says_so() {
    let dir = folder();
    let path = dir.path().join("node.key");
    for content in ["", "garbage", &"x".repeat(5000)] {
        fs::write(&path, content).unwrap();
        let error = load_or_generate_key(&path).unwrap_err();
        assert!(matches!(error, KeyError::Invalid { .. }) && error.kind() == ErrorKind::Config);
        assert!(
            error.to_string().starts_with(&path.display().to_string()),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn what_is_no_file_is_left_alone() {
    let dir = folder();
    assert!(
        load_or_generate_key(dir.path())
            .unwrap_err()
            .to_string()
            .contains("a directory")
    );
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(
        load_or_generate_key(&link)
            .unwrap_err()
            .to_string()
            .contains("does not exist")
    );
    assert!(!dir.path().join("nowhere").exists());
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(
        load_or_generate_key(&pipe)
            .unwrap_err()
            .to_string()
            .contains("a pipe")
    );
}

#[test]
fn a_link_to_a_key_is_followed() {
    let dir = folder();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    let made = load_or_generate_key(&real).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    assert_eq!(
        load_or_generate_key(&link).unwrap().key.public(),
        made.key.public()
    );
}

#[test]
fn a_file_others_can_read_is_used_with_a_warning() {
    let dir = folder();
    let path = dir.path().join("node.key");
    load_or_generate_key(&path).unwrap();
    for (mode, warned) in [
        (0o600, false),
        (0o400, false),
        (0o640, true),
        (0o604, true),
        (0o620, true),
        (0o644, true),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_or_generate_key(&path).unwrap();
        assert_eq!(loaded.warning.is_some(), warned, "{mode:o}");
        assert!(
            loaded
                .warning
                .is_none_or(|warning| warning.to_string().contains("chmod 600"))
        );
    }
}

#[test]
fn reading_alone_makes_nothing() {
    let dir = folder();
    let path = dir.path().join("node.key");
    let error = load_key(&path).unwrap_err();
    assert!(matches!(error, KeyError::Read { .. }) && error.kind() == ErrorKind::Fatal);
    assert!(!path.exists());
    let made = load_or_generate_key(&path).unwrap();
    assert_eq!(load_key(&path).unwrap().key.public(), made.key.public());
}

#[test]
fn a_place_where_no_file_can_be_made_is_told_by_kind() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = load_or_generate_key(&file.join("node.key")).unwrap_err();
    assert!(
        matches!(error, KeyError::Create { .. } | KeyError::Read { .. }),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    for error in [
        KeyError::create(&file, denied()),
        KeyError::read(&file, denied()),
    ] {
        assert!(
            matches!(error, KeyError::Permission { .. }) && error.kind() == ErrorKind::Config,
            "{error}"
        );
    }
    let full = KeyError::create(&file, io::ErrorKind::StorageFull.into());
    assert!(matches!(full, KeyError::Create { .. }), "{full}");
}

#[test]
fn a_byte_order_mark_before_the_key_is_passed_over() {
    let key = SecretKey::from_seed([7; 32]);
    let text = format!("\u{feff}{}\n", *key.to_base64());
    assert_eq!(public(text.as_bytes()), Ok(key.public().to_string()));
}
