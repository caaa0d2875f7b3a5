//! Any bytes as `conf.yaml`: no panic, the same answer twice, and no problem without words.
#![no_main]

use std::cell::RefCell;
use std::fs;

use btcfed_config::{Environment, FileSource, Location, Overrides, is_there};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static FOLDER: RefCell<TempDir> = RefCell::new(
        TempDir::new_in(if fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm" } else { "." })
            .expect("a folder"),
    );
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with_borrow(|folder| {
        let path = folder.path().join("conf.yaml");
        fs::write(&path, bytes).expect("a file");
        let env = Environment::default();
        let location = Location::search(Some(&path), &env, is_there);
        let overrides = Overrides {
            env,
            flags: Vec::new(),
        };
        let source = FileSource::new(location, folder.path().to_owned(), overrides);
        match (source.load_full(), source.load_full()) {
            (Ok(one), Ok(two)) => assert_eq!(one.config, two.config),
            (Err(one), Err(two)) => {
                assert_eq!(one, two);
                assert!(!one.problems.is_empty());
                assert!(
                    one.problems
                        .iter()
                        .all(|problem| !problem.reason.is_empty())
                );
            }
            (one, two) => panic!("{one:?} and then {two:?}"),
        }
    });
});
