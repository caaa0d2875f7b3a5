//! Tests inside a network of their own. Needs root and `unshare` and `ip`; elsewhere such a test says loudly that it was
//! left out.

use std::process::Command;

/// Set in the process that runs inside.
const INSIDE: &str = "BTCFED_TEST_INSIDE";

/// Runs the named test again, alone, in new namespaces, after `prepare` (shell commands). True in the process inside: go
/// on with the test there. False outside: the test was run inside and passed, or was skipped.
pub fn inside(test: &str, namespaces: &[&str], prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let probe = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", &format!("set -e; {prepare}")])
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            super::skipped(&format!(
                "{test}: no network of its own here: {}",
                why.trim()
            ));
            return false;
        }
        Err(error) => {
            super::skipped(&format!("{test}: unshare: {error}"));
            return false;
        }
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(namespaces)
        .args([
            "sh",
            "-c",
            &format!("set -e; {prepare}; exec \"$0\" \"$@\""),
        ])
        .arg(own)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test}, inside: {status}");
    false
}
