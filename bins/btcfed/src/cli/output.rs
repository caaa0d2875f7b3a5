//! Results to standard output, talk to standard error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::exit::CliError;
use crate::view::with_schema;

/// Where answers go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// True when programs read the answer.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// True unless people want quiet.
    pub(super) const fn talks(self) -> bool {
        !self.quiet
    }

    /// The answer of a command: the document, or the text made from it.
    pub(super) fn result(self, document: &Value, text: impl FnOnce(&Value) -> String) {
        let answer = if self.json {
            format!("{document:#}")
        } else {
            text(document)
        };
        self.line(&answer);
    }

    /// One line of result.
    pub(super) fn line(self, text: &str) {
        write_line(&mut io::stdout().lock(), text);
    }

    /// Something worth saying beside the result.
    pub(super) fn talk(self, text: &str) {
        if !self.quiet {
            write_line(&mut io::stderr().lock(), text);
        }
    }

    /// A question, on the same line as its answer. Asked however quiet people want it.
    pub(super) fn ask(self, question: &str) {
        let mut to = io::stderr().lock();
        let asked = write!(to, "{question}").and_then(|()| to.flush());
        if let Err(error) = asked {
            tracing::debug!(%error, "a question was not asked");
        }
    }

    /// Why a command failed. Programs find it on standard output as well.
    pub(super) fn error(self, error: &CliError) {
        if self.json {
            let document = with_schema("error", json!({ "error": error.to_json() }));
            self.line(&format!("{document:#}"));
        }
        write_line(&mut io::stderr().lock(), &format!("btcfed: {error}"));
    }
}

/// Set when a result could not be written: the command then fails, whatever it did.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// True when a result of this process could not be written.
pub(super) fn result_is_lost() -> bool {
    RESULT_LOST.load(Ordering::Relaxed)
}

/// Writes a line. A reader that has gone away wants no more of it, so that is no failure.
fn write_line(to: &mut impl Write, text: &str) {
    let written = writeln!(to, "{text}").and_then(|()| to.flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        RESULT_LOST.store(true, Ordering::Relaxed);
    }
}
