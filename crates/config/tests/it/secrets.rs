//! A private key is never repeated, wherever it was put.

use btcfed_config::{keys, load_or_generate_key, text_with};
use btcfed_core::SecretKey;

use crate::common::{Folder, yaml};

/// Long enough to be telling, short enough to be found in what was cut.
const TELLING: usize = 10;

/// The forms in which people hold a key.
fn forms() -> Vec<String> {
    let seed = [0xb3_u8; 32];
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = SecretKey::from_seed(seed).to_base64();
    vec![
        text.to_string(),
        "s7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7M=".to_owned(),
        hex,
        text[..50].to_owned(),
    ]
}

fn assert_hidden(told: &str, secret: &str, context: &str) {
    for start in 0..secret.len() - TELLING {
        let part = &secret[start..start + TELLING];
        assert!(!told.contains(part), "{context}: {part} is shown in {told}");
    }
}

#[test]
fn no_problem_repeats_a_key_that_stands_behind_any_key() {
    let folder = Folder::new();
    for secret in forms() {
        for key in keys() {
            for value in [
                secret.clone(),
                format!("\"{secret}\""),
                format!("[{secret}]"),
                format!("{{{secret}: {secret}}}"),
            ] {
                let told = match folder.write(yaml(key.name, &value)).load() {
                    Ok(loaded) => format!("{loaded:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                assert_hidden(&told, &secret, key.name);
            }
        }
    }
}

#[test]
fn no_problem_repeats_a_key_that_stands_where_a_name_belongs_or_outside_of_the_file() {
    let folder = Folder::new();
    for secret in forms() {
        for text in [
            format!("{secret}\n"),
            format!("{secret}: 1\n"),
            format!("node:\n  {secret}: 1\n"),
            format!("node:\n  private_key: {secret}: x\n"),
            format!("node:\n  private_key: \"{secret}\n"),
            format!("node:\n  private_key: @{secret}\n"),
            format!("node:\n  private_key: *{secret}\n"),
            format!("node:\n  private_key: !{secret}\n"),
            format!("node:\n  private_key: |\n    {secret}\n    x\n"),
            format!("node:\n\tprivate_key: {secret}\n"),
        ] {
            let error = folder.write(&text).load().unwrap_err();
            assert_hidden(&format!("{error} {error:?}"), &secret, &text);
        }
        for name in [
            "BTCFED_NODE__PRIVATE_KEY",
            "BTCFED_NODE__PRIVATE_KEY_FILE",
            "BTCFED_PEERS__BOOTSTRAP",
            "BTCFED_LOGGING__LEVEL",
        ] {
            let source = folder.write("").source(&[(name, &secret)], &[]);
            let result = source.load_full();
            assert_hidden(&format!("{result:?}"), &secret, name);
        }
        for key in ["node.private_key", "node.name", &secret] {
            let result = folder.source(&[], &[(key, &secret)]).load_full();
            let told = result.unwrap_err().problems[0].reason.clone();
            assert_hidden(&told, &secret, key);
        }
        assert!(
            text_with(&[btcfed_config::FlagValue::new(
                "--key",
                "node.private_key",
                &secret
            )])
            .is_err()
        );
    }
}

#[test]
fn no_error_of_the_key_file_repeats_its_content() {
    let folder = Folder::new();
    let path = folder.path("node.key");
    for secret in forms() {
        for content in [
            format!("{secret}x"),
            format!("x{secret}"),
            secret.repeat(2),
            secret.repeat(100),
            secret[..30].to_owned(),
        ] {
            std::fs::write(&path, &content).unwrap();
            let error = load_or_generate_key(&path).unwrap_err();
            assert_hidden(&format!("{error} {error:?}"), &secret, "key file");
        }
    }
}

#[test]
fn debug_output_shows_no_key() {
    let folder = Folder::new();
    let path = folder.path("node.key");
    let made = load_or_generate_key(&path).unwrap();
    let secret = made.key.to_base64();
    assert_hidden(&format!("{made:?}"), &secret, "loaded key");
    folder.write(format!("node: {{private_key: \"{}\"}}\n", *secret));
    let loaded = folder.load().unwrap();
    assert_hidden(
        &format!("{loaded:?} {:?} {:?}", loaded.config.values(), loaded.key),
        &secret,
        "loaded configuration",
    );
}
