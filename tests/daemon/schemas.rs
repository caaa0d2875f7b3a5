//! The shape of every document: which keys it has, and of which types. Kept in `schemas/*.json`; a key that goes away or
//! changes its type fails a test. New keys are taken in with `BTCFED_WRITE_SCHEMAS=1 cargo test -p btcfed --test daemon`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The types seen at every path.
type Shape = BTreeMap<String, BTreeSet<String>>;

/// Objects whose keys are data: configuration keys.
const MAPS: &[&str] = &["config.values", "values"];

/// Lists whose items are of several kinds: these keys all of them have, the others depend on the kind.
const OF_KINDS: &[(&str, &[&str])] = &[("events[].", &["at", "event", "seq"])];

/// What was seen of every schema.
#[derive(Debug, Default)]
pub(crate) struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    /// Takes a document in, which must say what it is.
    pub(crate) fn see(&mut self, document: &Value) {
        let schema = document["schema"].as_str().unwrap();
        let name = schema.strip_prefix("btcfed.").unwrap().replace('/', "-");
        walk(document, String::new(), self.0.entry(name).or_default());
    }

    /// Compares with what is kept; says everything that differs.
    pub(crate) fn compare(&self) {
        let mut problems = Vec::new();
        for (name, seen) in &self.0 {
            let file = folder().join(format!("{name}.json"));
            let kept = fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
            let mut kept: Shape = read(&kept);
            if std::env::var_os("BTCFED_WRITE_SCHEMAS").is_some() {
                for (path, types) in seen {
                    kept.entry(path.clone()).or_default().extend(types.clone());
                }
                let types = |types: &BTreeSet<String>| Vec::from_iter(types.clone()).join(" or ");
                let text: BTreeMap<_, _> =
                    kept.iter().map(|(path, of)| (path, types(of))).collect();
                let text = serde_json::to_string_pretty(&serde_json::json!(text)).unwrap();
                fs::write(&file, text + "\n").unwrap();
            } else {
                problems.extend(
                    differences(&kept, seen)
                        .into_iter()
                        .map(|what| format!("{name}: {what}")),
                );
            }
        }
        assert!(
            problems.is_empty(),
            "schemas differ:\n{}",
            problems.join("\n")
        );
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/daemon/schemas")
}

fn read(text: &str) -> Shape {
    let kept: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
    let types = |types: String| types.split(" or ").map(str::to_owned).collect();
    kept.into_iter()
        .map(|(path, of)| (path, types(of)))
        .collect()
}

fn walk(value: &Value, path: String, shape: &mut Shape) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    shape
        .entry(path.clone())
        .or_default()
        .insert(kind.to_owned());
    match value {
        Value::Array(items) => {
            for item in items {
                walk(item, format!("{path}[]"), shape);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if MAPS.contains(&path.as_str()) {
                    "*"
                } else {
                    key
                };
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, format!("{path}{dot}{key}"), shape);
            }
        }
        _ => {}
    }
}

/// Where a key stands: in which object.
fn parent(path: &str) -> &str {
    path.rsplit_once(['.', '['])
        .map_or("", |(parent, _)| parent)
}

fn differences(kept: &Shape, seen: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    for (path, types) in seen {
        match kept.get(path) {
            None => found.push(format!("{path:?} is new: take it in")),
            // What was always null is not known any better.
            Some(known) if known.len() == 1 && known.contains("null") => {}
            Some(known) if !types.is_subset(known) => {
                found.push(format!("{path:?} was {known:?} and is {types:?}"));
            }
            Some(_) => {}
        }
    }
    // A list may be empty and an object may be null today; what is there has all its keys.
    for path in kept
        .keys()
        .filter(|path| !path.is_empty() && !path.ends_with("[]"))
    {
        let depends = OF_KINDS.iter().any(|(list, common)| {
            path.strip_prefix(list)
                .is_some_and(|key| !common.contains(&key))
        });
        let has_parent = !depends
            && seen
                .get(parent(path))
                .is_some_and(|types| types.contains("object"));
        if has_parent && !seen.contains_key(path) {
            found.push(format!("{path:?} is gone"));
        }
    }
    found
}

#[test]
fn a_key_that_is_gone_is_new_or_is_of_another_type_is_noticed() {
    let shape = |value: Value| {
        let mut shape = Shape::new();
        walk(&value, String::new(), &mut shape);
        shape
    };
    let kept = shape(serde_json::json!({ "a": 1, "list": [{ "b": "x", "c": null }] }));
    let differ = |value: Value| differences(&kept, &shape(value)).len();
    assert_eq!(
        differ(serde_json::json!({ "a": 2, "list": [] })),
        0,
        "an empty list tells nothing"
    );
    assert_eq!(
        differ(serde_json::json!({ "a": 2, "list": [{ "b": "y", "c": null }] })),
        0
    );
    assert_eq!(differ(serde_json::json!({ "list": [] })), 1, "gone");
    assert_eq!(
        differ(serde_json::json!({ "a": "2", "list": [] })),
        1,
        "another type"
    );
    assert_eq!(
        differ(serde_json::json!({ "a": 2, "d": 3, "list": [] })),
        1,
        "new"
    );
    assert_eq!(
        differ(serde_json::json!({ "a": 2, "list": [{ "b": "y" }] })),
        1,
        "gone deep inside"
    );
}
