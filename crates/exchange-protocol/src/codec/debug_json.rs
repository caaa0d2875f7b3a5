//! The debug form of messages: one line of JSON each, for logs, test vectors and people. Never read back.

use std::fmt::Write as _;

use crate::message::{
    CellBlock, CellRange, Hello, Message, PeerRequest, RecordEntry, Stripe, Summary, Want,
};

impl Message {
    /// This message as one line of JSON. Bytes are hexadecimal; numbers that a 64-bit float cannot hold are hexadecimal
    /// text; whatever a remote wrote is escaped down to printable ASCII.
    ///
    /// ```
    /// use btcfed_exchange_protocol::message::Message;
    /// assert_eq!(Message::Ack.to_debug_json(), r#"{"message":"Ack"}"#);
    /// ```
    #[must_use]
    pub fn to_debug_json(&self) -> String {
        let mut json = Object::new();
        json.text("message", self.name());
        match self {
            Self::Ack => {}
            Self::Announcement(message) => {
                json.records("records", &message.records);
                if !message.ids.is_empty() {
                    json.raw("ids", &ids(&message.ids));
                }
                if message.prune {
                    json.raw("prune", "true");
                }
            }
            Self::Error(message) => {
                json.text("code", message.code.as_str());
                json.text("text", &message.message);
                json.number("retry_after_ms", message.retry_after_ms.into());
                json.number("version_min", message.version_min.into());
                json.number("version_max", message.version_max.into());
                json.records("alternatives", &message.alternatives);
            }
            Self::Request(message) => request(&mut json, message),
            Self::Response(message) => {
                json.raw("hello", &message.hello.as_ref().map_or_else(null, hello));
                json.records("records", &message.records);
                json.raw(
                    "next",
                    &message.next.map_or_else(null, |key| bytes(key.as_bytes())),
                );
                json.raw("equal", if message.equal { "true" } else { "false" });
                json.number("count", message.count.into());
                if let Some(block) = &message.cells {
                    json.raw("cells", &cells(block));
                }
            }
            Self::Update(message) => json.raw("record", &record(&message.record)),
        }
        json.end()
    }
}

fn request(json: &mut Object, message: &PeerRequest) {
    json.raw("hello", &message.hello.as_ref().map_or_else(null, hello));
    json.number("mode", message.mode.number().into());
    json.raw(
        "cursor",
        &message
            .cursor
            .map_or_else(null, |key| bytes(key.as_bytes())),
    );
    json.number("limit", message.limit.into());
    json.raw(
        "summary",
        &message.summary.as_ref().map_or_else(null, summary),
    );
    if let Some(asked) = &message.cells {
        json.raw("cells", &range(asked));
    }
    if let Some(wanted) = &message.want {
        json.raw("want", &want(wanted));
    }
    if let Some(part) = &message.stripe {
        json.raw("stripe", &stripe(part));
    }
}

fn stripe(stripe: &Stripe) -> String {
    let mut json = Object::new();
    json.raw("salt", &wide(stripe.salt));
    json.number("index", stripe.index.into());
    json.number("of", stripe.of.into());
    json.end()
}

fn range(range: &CellRange) -> String {
    let mut json = Object::new();
    json.raw("salt", &wide(range.salt));
    json.number("first", range.first.into());
    json.number("count", range.count.into());
    json.end()
}

fn cells(block: &CellBlock) -> String {
    let mut json = Object::new();
    json.raw("salt", &wide(block.salt));
    json.number("first", block.first.into());
    let cells: Vec<String> = block
        .cells
        .iter()
        .map(|cell| {
            let mut json = Object::new();
            json.raw("id", &wide(cell.id));
            json.number("check", cell.check.into());
            json.raw("count", &wide(cell.count.cast_unsigned()));
            json.end()
        })
        .collect();
    json.raw("cells", &format!("[{}]", cells.join(",")));
    json.end()
}

fn want(want: &Want) -> String {
    let mut json = Object::new();
    json.raw("salt", &wide(want.salt));
    json.raw("ids", &ids(&want.ids));
    json.end()
}

fn ids(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| wide(*id)).collect();
    format!("[{}]", ids.join(","))
}

fn hello(hello: &Hello) -> String {
    let mut json = Object::new();
    json.number("version_min", hello.version_min.into());
    json.number("version_max", hello.version_max.into());
    json.raw("network", &bytes(&hello.network));
    json.text("federation", &hello.federation);
    json.raw("features", &wide(hello.features));
    json.text("agent", &hello.agent);
    json.raw("record", &bytes(&hello.record));
    json.number("wall_ms", hello.wall_ms);
    json.end()
}

fn summary(summary: &Summary) -> String {
    let mut json = Object::new();
    json.raw("salt", &wide(summary.salt.into()));
    json.raw("root", &wide(summary.root));
    json.number("count", summary.count.into());
    json.end()
}

fn record(record: &RecordEntry) -> String {
    let mut json = Object::new();
    json.raw("envelope", &bytes(&record.envelope));
    json.number("age_s", record.age_s.into());
    json.end()
}

fn null() -> String {
    "null".to_owned()
}

fn wide(value: u64) -> String {
    format!("\"0x{value:016x}\"")
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 2);
    text.push('"');
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text.push('"');
    text
}

/// An object being written.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn raw(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        // Names are ours and need no escaping.
        write!(self.0, "\"{name}\":{value}").unwrap_or_default();
    }

    fn number(&mut self, name: &str, value: u64) {
        self.raw(name, &value.to_string());
    }

    fn text(&mut self, name: &str, value: &str) {
        let mut text = String::with_capacity(value.len() + 2);
        text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                ' '..='~' => text.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(text, "\\u{unit:04x}").unwrap_or_default();
                    }
                }
            }
        }
        text.push('"');
        self.raw(name, &text);
    }

    fn records(&mut self, name: &str, records: &[RecordEntry]) {
        let records: Vec<String> = records.iter().map(record).collect();
        self.raw(name, &format!("[{}]", records.join(",")));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ErrorCode, ErrorReply};

    #[test]
    fn whatever_a_remote_wrote_is_escaped_to_printable_ascii() {
        let message = Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "a\"b\\c\n\u{1b}[31m\u{202e}é\u{1f600}".to_owned(),
            retry_after_ms: 1,
            version_min: 0,
            version_max: 0,
            alternatives: vec![
                RecordEntry {
                    envelope: vec![0xab, 1],
                    age_s: 7,
                },
                RecordEntry::default(),
            ],
        });
        let json = message.to_debug_json();
        assert!(json.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(
            json,
            concat!(
                r#"{"message":"Error","code":"BUSY","text":"a\"b\\c\u000a\u001b[31m\u202e\u00e9\ud83d\ude00","#,
                r#""retry_after_ms":1,"version_min":0,"version_max":0,"#,
                r#""alternatives":[{"envelope":"ab01","age_s":7},{"envelope":"","age_s":0}]}"#
            )
        );
    }
}
