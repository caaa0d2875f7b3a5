//! One line of a diagnosis.

use std::fmt;

use serde_json::{Value, json};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    check: &'static str,
    verdict: &'static str,
    text: String,
    fix: String,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, "ok", text, "")
    }

    /// It works, but somebody should look.
    pub(super) fn warn(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, "warn", text, fix)
    }

    /// It does not work.
    pub(super) fn fail(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, "fail", text, fix)
    }

    /// It was wrong, and was put right.
    pub(super) fn fixed(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, "fixed", text, "")
    }

    fn new(
        check: &'static str,
        verdict: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            text: text.into(),
            fix: fix.into(),
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.verdict == "fail"
    }

    pub(super) fn is_warning(&self) -> bool {
        self.verdict == "warn"
    }

    pub(super) fn to_json(&self) -> Value {
        let fix = (!self.fix.is_empty()).then_some(&self.fix);
        json!({ "check": self.check, "verdict": self.verdict, "finding": self.text, "fix": fix })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.replace('\n', "\n                ");
        write!(f, "{:<5} {:<9} {text}", self.verdict, self.check)?;
        if !self.fix.is_empty() {
            write!(f, "\n             -> {}", self.fix)?;
        }
        Ok(())
    }
}
