//! Exit codes, and errors that people can act on.

use std::fmt;

use btcfed_core::config::{ConfigError, ConfigProblem};
use btcfed_core::error::ErrorKind;
use btcfed_core::patch::PatchError;
use btcfed_core::store::StoreError;
use serde_json::{Value, json};

/// How a command ends. The numbers are a promise (sysexits where one fits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The operation failed, or the node is unhealthy.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file or an argument holds bad data.
    Data = 65,
    /// The daemon cannot be reached, or an address is in use.
    Unavailable = 69,
    /// A bug in this program, or a task that died.
    Internal = 70,
    /// A file or directory cannot be created.
    CannotCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// Somebody else holds what is needed: try again.
    Busy = 75,
    /// Not permitted.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// Why a command failed, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// How to exit.
    pub exit: Exit,
    /// `config`, `fatal`, `peer`, `transient`, or `usage`.
    pub kind: &'static str,
    /// What went wrong. Never contains a secret.
    pub message: String,
    /// The file at fault.
    pub file: Option<String>,
    /// The 1-based line at fault.
    pub line: Option<usize>,
    /// The configuration key at fault.
    pub key: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Everything that is wrong with a configuration.
    pub problems: Vec<ConfigProblem>,
}

impl CliError {
    /// An error with only a message.
    pub fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            kind,
            message: message.into(),
            file: None,
            line: None,
            key: None,
            hint: None,
            problems: Vec::new(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the file at fault.
    #[must_use]
    pub fn file(mut self, file: impl fmt::Display) -> Self {
        self.file = Some(file.to_string());
        self
    }

    /// The stable JSON form: the value of `error`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "kind": self.kind,
            "code": self.exit as u8,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "hint": self.hint,
            "problems": self.problems.iter().map(problem_json).collect::<Vec<_>>(),
        })
    }

    /// The error a stable JSON form stands for.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let kind = [ErrorKind::Config, ErrorKind::Peer, ErrorKind::Transient]
            .into_iter()
            .map(ErrorKind::as_str)
            .find(|kind| value.get("kind").and_then(Value::as_str) == Some(kind))
            .unwrap_or("fatal");
        Self {
            exit: exit_from_code(value.get("code").and_then(Value::as_u64)),
            kind,
            message: text("message").unwrap_or_else(|| "the daemon gave no reason".to_owned()),
            file: text("file"),
            line: value
                .get("line")
                .and_then(Value::as_u64)
                .and_then(|line| usize::try_from(line).ok()),
            key: text("key"),
            hint: text("hint"),
            problems: value
                .get("problems")
                .and_then(Value::as_array)
                .map(|problems| problems.iter().map(problem_from_json).collect())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            if let Some(file) = &self.file
                && !self.message.contains(file.as_str())
            {
                write!(f, "{file}: ")?;
            }
            f.write_str(&self.message)?;
        } else {
            let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
            f.write_str(&lines.join("\n"))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let first = error.problems.first();
        let closed = first.is_some_and(|problem| is_not_permitted(&problem.reason));
        Self {
            exit: if closed {
                Exit::Permission
            } else {
                Exit::Config
            },
            kind: ErrorKind::Config.as_str(),
            message: error.to_string(),
            file: first.map(|problem| problem.origin.clone()),
            line: first.and_then(|problem| problem.line),
            key: first.and_then(|problem| problem.key.clone()),
            hint: closed.then(|| AS_OWNER.to_owned()),
            problems: error.problems,
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Io { reason, .. } if is_not_permitted(reason) => Exit::Permission,
            StoreError::Io { .. } => Exit::Io,
            StoreError::Locked { .. } => Exit::Busy,
            StoreError::Patch(PatchError::TooLong { .. } | PatchError::BadText { .. }) => {
                Exit::Data
            }
            _ => Exit::Failed,
        };
        let shown = Self::new(exit, error.kind().as_str(), error.to_string());
        if exit == Exit::Permission {
            shown.hint(AS_OWNER)
        } else {
            shown
        }
    }
}

/// What to do where the operating system says no.
pub(crate) const AS_OWNER: &str =
    "run as the daemon's user or as root; `ls -l` shows owner and mode of the file";

/// True when these words of the operating system, all that is left of its error, say EACCES or EPERM.
fn is_not_permitted(reason: &str) -> bool {
    ["(os error 13)", "(os error 1)"]
        .iter()
        .any(|end| reason.trim_end().ends_with(end))
}

/// One problem of a configuration as JSON.
#[must_use]
pub fn problem_json(problem: &ConfigProblem) -> Value {
    json!({
        "file": problem.origin,
        "line": problem.line,
        "key": problem.key,
        "message": problem.reason,
        "hint": problem.hint,
    })
}

fn problem_from_json(value: &Value) -> ConfigProblem {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    ConfigProblem {
        origin: text("file").unwrap_or_default(),
        line: value
            .get("line")
            .and_then(Value::as_u64)
            .and_then(|line| usize::try_from(line).ok()),
        key: text("key"),
        reason: text("message").unwrap_or_default(),
        hint: text("hint"),
    }
}

fn exit_from_code(code: Option<u64>) -> Exit {
    const KNOWN: [Exit; 9] = [
        Exit::Failed,
        Exit::Usage,
        Exit::Data,
        Exit::Unavailable,
        Exit::CannotCreate,
        Exit::Io,
        Exit::Busy,
        Exit::Permission,
        Exit::Config,
    ];
    KNOWN
        .into_iter()
        .find(|exit| Some(u64::from(*exit as u8)) == code)
        .unwrap_or(Exit::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_its_json_form() {
        let error = CliError {
            exit: Exit::Config,
            kind: "config",
            message: "conf.yaml:3: node.nmae: unknown key; did you mean name?".into(),
            file: Some("conf.yaml".into()),
            line: Some(3),
            key: Some("node.nmae".into()),
            hint: None,
            problems: vec![ConfigProblem {
                origin: "conf.yaml".into(),
                line: Some(3),
                key: Some("node.nmae".into()),
                reason: "unknown key".into(),
                hint: Some("did you mean name?".into()),
            }],
        };
        assert_eq!(CliError::from_json(&error.to_json()), error);
    }

    #[test]
    fn a_file_that_is_closed_is_a_matter_of_permission_and_any_other_failure_is_not() {
        let failed = |code| {
            let reason = std::io::Error::from_raw_os_error(code).to_string();
            let (operation, path) = ("lock", "peers.yaml.lock".to_owned());
            CliError::from(StoreError::Io {
                operation,
                path,
                reason,
            })
        };
        assert_eq!(failed(13).exit, Exit::Permission);
        assert_eq!(failed(1).exit, Exit::Permission);
        assert!(failed(13).hint.is_some());
        assert_eq!((failed(5).exit, failed(30).exit), (Exit::Io, Exit::Io));
    }

    #[test]
    fn a_nonsense_error_from_the_daemon_is_an_internal_error() {
        let error = CliError::from_json(&json!({"code": 3}));
        assert_eq!((error.exit, error.kind), (Exit::Internal, "fatal"));
    }

    #[test]
    fn the_text_form_names_the_file_once_and_ends_with_the_hint() {
        let error = CliError::new(Exit::Io, "transient", "read peers.yaml: no space")
            .file("peers.yaml")
            .hint("free some");
        assert_eq!(
            error.to_string(),
            "read peers.yaml: no space\nhint: free some"
        );
        let error = CliError::new(Exit::Io, "transient", "no space").file("peers.yaml");
        assert_eq!(error.to_string(), "peers.yaml: no space");
    }
}
