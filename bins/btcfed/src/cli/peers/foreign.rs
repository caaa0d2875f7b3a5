//! `peers import` of the documents of other programs.

use std::path::Path;

use btcfed_core::key::PeerKey;
use btcfed_core::set::{PeerSet, PeerView};
use btcfed_peer_store::Sections;
use btcfed_peer_store::import::{self, Format, Imported};
use btcfed_peer_store::json::{self, Contents};
use serde_json::{Value, json};

use super::backend::wall_now;
use crate::cli::args::ImportFormat;
use crate::exit::{CliError, Exit};

/// How many peers or bans go into one request: with a UUID, a place and counters they take a quarter of what it may hold.
const CHUNK: usize = 32;

/// Which other program's form a file has: the one that is named, else the one that it shows.
pub(super) fn form(bytes: &[u8], named: ImportFormat, is_named: bool) -> Option<Format> {
    match named {
        ImportFormat::Registry => Some(Format::Registry),
        ImportFormat::State => Some(Format::State),
        _ if is_named => None,
        _ => std::str::from_utf8(bytes).ok().and_then(import::detect),
    }
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Foreign(Imported);

pub(super) fn parse(bytes: &[u8], form: Format, path: &Path) -> Result<Foreign, CliError> {
    let bad = |reason: String| {
        let error = CliError::new(
            Exit::Data,
            "config",
            format!("{reason}; nothing was changed"),
        );
        error.file(path.display())
    };
    let text = std::str::from_utf8(bytes).map_err(|_| bad("this is no UTF-8 text".to_owned()))?;
    let imported = import::read(text, form, wall_now()).map_err(|error| {
        let mut shown = bad(error.reason);
        (shown.line, shown.key) = (Some(error.line), Some(error.key));
        shown
    })?;
    Ok(Foreign(imported))
}

impl Foreign {
    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.0
            .contents
            .peers
            .iter()
            .map(|record| record.key)
            .collect()
    }

    pub(super) const fn sections(&self) -> &Sections {
        &self.0.contents.sections
    }

    /// What is said beside the changes.
    pub(super) fn found(&self) -> [(String, Value); 2] {
        let keyless: Vec<_> = self.0.keyless.iter().map(|place| &place.address).collect();
        let notes = self
            .0
            .notes
            .iter()
            .map(|(line, note)| format!("line {line}: {note}"));
        [
            ("keyless".to_owned(), json!(keyless)),
            ("notes".to_owned(), json!(notes.collect::<Vec<_>>())),
        ]
    }

    /// Peers and bans as requests of a bounded size.
    pub(super) fn requests(&self) -> Vec<Value> {
        let set = &self.0.contents.peers;
        let request = |peers: PeerSet| {
            let contents = Contents {
                peers,
                ..Contents::default()
            };
            json!({ "document": json::write(&contents) })
        };
        let records: Vec<_> = set.views().map(PeerView::to_packed).collect();
        let bans: Vec<_> = set.bans().cloned().collect();
        let peers = records.chunks(CHUNK);
        let peers = peers.map(|records| PeerSet::from_packed(records.iter().cloned(), [], []));
        let bans = bans
            .chunks(CHUNK)
            .map(|bans| PeerSet::from_packed([], bans.iter().cloned(), []));
        peers.chain(bans).map(request).collect()
    }
}

/// What a person is told of it.
pub(super) fn told(answer: &Value) -> Vec<String> {
    let texts = |key: &str| -> Vec<String> {
        let texts = answer[key].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut lines = texts("notes");
    let keyless = texts("keyless");
    if !keyless.is_empty() {
        let count = keyless.len();
        lines.push(format!(
            "left out, because no key is known for them: {count}"
        ));
        lines.push("  (`peers.bootstrap` of conf.yaml takes them)".to_owned());
        lines.extend(keyless.into_iter().map(|address| format!("    {address}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::MAX_REQUEST_BYTES;
    use btcfed_core::testing::test_key;

    #[test]
    fn the_form_is_the_named_one_or_shows_itself() {
        let registry = br#"[{"ip": "::1", "port": 1}]"#;
        assert_eq!(
            form(registry, ImportFormat::Json, false),
            Some(Format::Registry)
        );
        assert_eq!(form(registry, ImportFormat::Json, true), None);
        assert_eq!(form(b"x", ImportFormat::State, true), Some(Format::State));
        assert_eq!(form(b"\xff", ImportFormat::Yaml, false), None);
        let error = parse(b"\xff", Format::State, Path::new("f")).unwrap_err();
        assert_eq!((error.exit, error.line), (Exit::Data, None));
        let error = parse(b"[\n{}]", Format::Registry, Path::new("f")).unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (Some(2), Some("[0]")));
    }

    #[test]
    fn requests_are_bounded_and_hold_every_peer_and_ban() {
        let entry = |n: u16| {
            let key = test_key(n);
            json!({ "id": format!("{n:036}"), "ip": format!("10.0.{}.{}", n / 256, n % 256), "port": 1, "public_key": key.to_string(),
                "status": if n.is_multiple_of(2) { "Banned" } else { "Valid" }, "note": "x".repeat(200) })
        };
        let text = Value::from((1..=100).map(entry).collect::<Vec<_>>()).to_string();
        let foreign = parse(text.as_bytes(), Format::Registry, Path::new("f")).unwrap();
        let requests = foreign.requests();
        assert_eq!((foreign.keys().len(), requests.len()), (100, 4 + 2));
        assert!(
            requests
                .iter()
                .all(|request| request.to_string().len() < MAX_REQUEST_BYTES)
        );
        assert!(told(&json!({})).is_empty() && foreign.sections().is_empty());
    }
}
