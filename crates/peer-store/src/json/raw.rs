//! JSON values with the lines where they stand.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_yaml::Value;

use crate::json::JsonError;

/// A document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a>(pub(crate) &'a str);

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    source: Source<'a>,
    raw: &'a str,
    /// Its place in the document.
    pub(crate) key: String,
}

impl<'a> Source<'a> {
    pub(crate) fn root(self) -> Result<Node<'a>, JsonError> {
        let raw = serde_json::from_str::<&RawValue>(self.0);
        let raw = raw.map_err(|error| refusal(error.line(), String::new(), &error))?;
        Ok(Node {
            source: self,
            raw: raw.get(),
            key: String::new(),
        })
    }

    /// The 1-based line where a part of the document begins.
    fn line_of(self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize);
        let before = self.0.as_bytes().get(..offset).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl<'a> Node<'a> {
    pub(crate) fn line(&self) -> usize {
        self.source.line_of(self.raw)
    }

    /// The line of the value where `needle` first stands.
    pub(crate) fn line_with(&self, needle: &str) -> usize {
        let within = self.raw.find(needle).filter(|_| !needle.is_empty());
        self.source
            .line_of(within.map_or(self.raw, |at| &self.raw[at..]))
    }

    pub(crate) fn is_list(&self) -> bool {
        self.raw.starts_with('[')
    }

    pub(crate) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    pub(crate) fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub(crate) fn refuse(&self, reason: impl fmt::Display) -> JsonError {
        refusal(self.line(), self.key.clone(), &reason)
    }

    fn read<T: Deserialize<'a>>(&self) -> Result<T, JsonError> {
        serde_json::from_str(self.raw).map_err(|error| {
            let line = self.line() + error.line().saturating_sub(1);
            refusal(line, self.key.clone(), &error)
        })
    }

    fn child(&self, raw: &'a RawValue, key: String) -> Self {
        Node {
            source: self.source,
            raw: raw.get(),
            key,
        }
    }

    /// The members of an object, none of them twice.
    pub(crate) fn members(&self) -> Result<Vec<(String, Self)>, JsonError> {
        if !self.is_object() {
            return Err(self.refuse("expected {...}"));
        }
        let Members(members) = self.read()?;
        let name = |name: &str| match self.key.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.key),
        };
        let node = |(key, raw): (String, &'a RawValue)| {
            let place = name(&key);
            (key, self.child(raw, place))
        };
        Ok(members.into_iter().map(node).collect())
    }

    /// The elements of a list.
    pub(crate) fn elements(&self) -> Result<Vec<Self>, JsonError> {
        if !self.is_list() {
            return Err(self.refuse("expected [...]"));
        }
        let raws: Vec<&'a RawValue> = self.read()?;
        let node = |(at, raw)| self.child(raw, format!("{}[{at}]", self.key));
        Ok(raws.into_iter().enumerate().map(node).collect())
    }

    pub(crate) fn value(&self) -> Result<Value, JsonError> {
        self.read()
    }

    /// The same value as JSON on one line, members in their order.
    pub(crate) fn compact(&self) -> Result<String, JsonError> {
        let value = self.value()?;
        serde_json::to_string(&value).map_err(|error| self.refuse(error))
    }

    pub(crate) fn text(&self) -> Result<String, JsonError> {
        match self.value()? {
            Value::String(text) => Ok(text),
            _ => Err(self.refuse("expected text")),
        }
    }

    pub(crate) fn count(&self) -> Result<u64, JsonError> {
        let count = self.value()?.as_u64();
        count.ok_or_else(|| self.refuse("expected a whole number"))
    }
}

fn refusal(line: usize, key: String, reason: &dyn fmt::Display) -> JsonError {
    let reason = reason.to_string();
    // The library counts lines from the start of the part.
    let end = reason.rfind(" at line ").unwrap_or(reason.len());
    JsonError {
        line,
        key,
        reason: reason[..end].to_owned(),
    }
}

/// Members in the order in which they stand.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut names = std::collections::HashSet::new();
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("{name:?} stands here twice")));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}
