//! A fault on demand, for tests of the program. Only in debug builds: the program that is shipped does not have it.

use std::future::{Future, pending};
use std::path::PathBuf;
use std::time::Duration;

/// `TASK=FILE`: as soon as the file is there, the task ends, or panics when the file says `panic`.
const VARIABLE: &str = "BTCFED_TEST_FAULT";

/// How often the file is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The task, which ends early when a test asks for that.
pub(super) async fn may_end(name: &'static str, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = asked(name) => {}
    }
}

async fn asked(name: &str) {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let Some(file) = wanted
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='))
    else {
        return pending().await;
    };
    let file = PathBuf::from(file);
    loop {
        if let Ok(says) = std::fs::read_to_string(&file) {
            assert_ne!(says, "panic", "asked for by a test");
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
