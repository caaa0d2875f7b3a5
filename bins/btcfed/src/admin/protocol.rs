//! Requests and answers on the admin socket.

use serde_json::{Value, json};

use crate::exit::{CliError, Exit};

/// Longest request line, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Longest answer line, in bytes: the largest peer list fits many times over.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// JSON-RPC error codes used beside the node's own, which travel in `data`.
mod code {
    pub(super) const INVALID_PARAMS: i64 = -32602;
    pub(super) const INVALID_REQUEST: i64 = -32600;
    pub(super) const METHOD_NOT_FOUND: i64 = -32601;
    pub(super) const NODE_ERROR: i64 = -32000;
    pub(super) const PARSE_ERROR: i64 = -32700;
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Comes back with the answer.
    pub id: Value,
    /// What to do.
    pub method: String,
    /// With what.
    pub params: Value,
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// The answer to send instead.
    pub fn parse(line: &[u8]) -> Result<Self, Value> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            failure(
                &Value::Null,
                code::PARSE_ERROR,
                &format!("not JSON: {error}"),
                None,
            )
        })?;
        let id = value.get("id").cloned().unwrap_or(Value::Null);
        let Some(method) = value.get("method").and_then(Value::as_str) else {
            return Err(failure(
                &id,
                code::INVALID_REQUEST,
                "a request has a method",
                None,
            ));
        };
        let params = value.get("params").cloned().unwrap_or_else(|| json!({}));
        Ok(Self {
            id,
            method: method.to_owned(),
            params,
        })
    }

    /// A request of this process to itself: a command that works on the files because no daemon runs.
    #[must_use]
    pub fn local(method: &str, params: Value) -> Self {
        Self {
            id: Value::Null,
            method: method.to_owned(),
            params,
        }
    }

    /// The line to send, without its end.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params })
    }

    /// A text parameter.
    ///
    /// # Errors
    /// It is missing or not a text.
    pub fn text(&self, name: &str) -> Result<&str, CliError> {
        self.params
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| {
                CliError::new(
                    Exit::Usage,
                    "config",
                    format!("{}: parameter {name} is missing", self.method),
                )
            })
    }

    /// A text parameter that may be missing.
    #[must_use]
    pub fn optional_text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// A parameter that is true or, when missing, false.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.params.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// A whole number that may be missing.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.params.get(name).and_then(Value::as_u64)
    }
}

/// The answer to a request that succeeded.
#[must_use]
pub fn success(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// A line that nobody asked for one by one: an event.
#[must_use]
pub fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// The answer to a request that failed.
#[must_use]
pub fn error(id: &Value, error: &CliError) -> Value {
    let code = if error.exit == Exit::Usage {
        code::INVALID_PARAMS
    } else {
        code::NODE_ERROR
    };
    failure(id, code, &error.message, Some(error.to_json()))
}

/// The answer to a request for something that does not exist.
#[must_use]
pub fn unknown_method(id: &Value, method: &str) -> Value {
    let shown: String = method.chars().take(64).collect();
    failure(
        id,
        code::METHOD_NOT_FOUND,
        &format!("no method {shown:?}"),
        None,
    )
}

/// The answer to a line that is too long.
#[must_use]
pub fn too_long() -> Value {
    let reason = format!("a request is at most {MAX_REQUEST_BYTES} bytes long");
    failure(&Value::Null, code::INVALID_REQUEST, &reason, None)
}

fn failure(id: &Value, code: i64, message: &str, data: Option<Value>) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": data } })
}

/// What an answer line says.
///
/// # Errors
/// The daemon's error, or that the line is no answer.
pub fn parse_answer(line: &[u8]) -> Result<Value, CliError> {
    let nonsense = |reason: String| CliError::new(Exit::Internal, "fatal", reason);
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        nonsense(format!(
            "the daemon answered something that is not JSON: {error}"
        ))
    })?;
    if let Some(error) = value.get("error") {
        return Err(match error.get("data") {
            Some(data) if !data.is_null() => CliError::from_json(data),
            _ => nonsense(
                error
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("unknown error")
                    .to_owned(),
            ),
        });
    }
    value
        .get("result")
        .cloned()
        .ok_or_else(|| nonsense("the daemon answered without a result".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answer_survive_the_line() {
        let request = Request {
            id: json!(7),
            method: "peers.show".into(),
            params: json!({ "peer": "alice" }),
        };
        let read = Request::parse(request.to_json().to_string().as_bytes()).unwrap();
        assert_eq!(read, request);
        assert_eq!(read.text("peer").unwrap(), "alice");
        assert_eq!(read.text("name").unwrap_err().exit, Exit::Usage);
        let answer = success(&request.id, &json!({ "a": 1 })).to_string();
        assert_eq!(parse_answer(answer.as_bytes()).unwrap(), json!({ "a": 1 }));
    }

    #[test]
    fn an_error_of_the_node_arrives_as_it_was() {
        let sent = CliError::new(Exit::Data, "config", "not a peer").hint("write KEY@HOST:PORT");
        let line = error(&json!(1), &sent).to_string();
        assert_eq!(parse_answer(line.as_bytes()).unwrap_err(), sent);
    }

    #[test]
    fn nonsense_is_answered_and_never_panics() {
        for line in [
            "",
            "{",
            "[]",
            "1",
            r#"{"id":1}"#,
            r#"{"method":5}"#,
            "\u{0}",
        ] {
            let answer = Request::parse(line.as_bytes()).unwrap_err();
            assert!(answer["error"]["code"].is_i64(), "{line:?}");
        }
        for line in [
            "",
            "{}",
            "[]",
            r#"{"error":{}}"#,
            r#"{"error":{"data":null}}"#,
        ] {
            assert_eq!(
                parse_answer(line.as_bytes()).unwrap_err().exit,
                Exit::Internal,
                "{line:?}"
            );
        }
        assert_eq!(
            parse_answer(unknown_method(&json!(1), "x").to_string().as_bytes())
                .unwrap_err()
                .exit,
            Exit::Internal
        );
    }
}
