//! The text of `conf.yaml` as a tree of plain values, before anything is known of their meaning.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// Said instead of reading a file whose aliases stand for more than the file itself holds.
const TOO_MANY_VALUES: &str = "aliases multiply its values";

/// A YAML value. Mappings keep their order and their duplicates; text is wiped on drop, as it may be a key.
pub(crate) enum Raw {
    Flag(bool),
    Integer(i128),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Null,
    Number(f64),
    Text(Zeroizing<String>),
}

impl Raw {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Zeroizing::new(text.to_owned()))
    }

    /// What kind of value this is, for "expected ..., found ...". Never repeats text.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Flag(flag) => format!("{flag}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a section".to_owned(),
            Self::Null => "nothing".to_owned(),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(_) => "text".to_owned(),
        }
    }
}

/// What a text holds.
pub(crate) struct Documents {
    /// The first document; nothing when the text is empty.
    pub(crate) first: Raw,
    /// True when more documents follow.
    pub(crate) more: bool,
}

/// Why a text is no YAML. Holds no part of the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    pub(crate) reason: String,
}

/// Reads `text` as YAML. Work and memory stay proportional to its length, whatever its aliases say.
pub(crate) fn parse(text: &str) -> Result<Documents, SyntaxError> {
    // Every value takes a byte, except those that an alias repeats.
    let budget = Cell::new(text.len() + 1);
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let first = match documents.next() {
        Some(document) => RawSeed { budget: &budget }
            .deserialize(document)
            .map_err(|error| explain(&error))?,
        None => Raw::Null,
    };
    Ok(Documents {
        first,
        more: documents.next().is_some(),
    })
}

fn explain(error: &serde_yaml::Error) -> SyntaxError {
    let place = error.location();
    let text = error.to_string();
    let reason = if text.contains("invalid type: enum") {
        "tags (!name) are not supported"
    } else if text.contains(TOO_MANY_VALUES)
        || text.contains("repetition limit")
        || text.contains("unknown anchor")
    {
        "anchors and aliases (&name, *name) are not supported"
    } else if text.contains("recursion limit") {
        "nested too deeply"
    } else {
        // libyaml's own messages name what it expected, never what it read.
        text.split(" at line ").next().unwrap_or_default()
    };
    SyntaxError {
        line: place.as_ref().map(serde_yaml::Location::line),
        column: place.as_ref().map(serde_yaml::Location::column),
        reason: reason.to_owned(),
    }
}

#[derive(Clone, Copy)]
struct RawSeed<'a> {
    budget: &'a Cell<usize>,
}

impl RawSeed<'_> {
    fn spend<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self
            .budget
            .get()
            .checked_sub(1)
            .ok_or_else(|| E::custom(TOO_MANY_VALUES))?;
        self.budget.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for RawSeed<'_> {
    type Value = Raw;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RawSeed<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(Zeroizing::new(value)))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(self)? {
            if matches!(key, Raw::List(_) | Raw::Map(_)) {
                return Err(A::Error::custom("a list or section cannot be a key"));
            }
            map.push((key, entries.next_value_seed(self)?));
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> String {
        parse(text).unwrap().first.describe()
    }

    fn reason(text: &str) -> String {
        parse(text).err().unwrap().reason
    }

    #[test]
    fn every_kind_of_value_is_told_apart() {
        for (text, expected) in [
            ("", "nothing"),
            ("# only a remark\n", "nothing"),
            ("~", "nothing"),
            ("true", "true"),
            ("-5", "the number -5"),
            ("18446744073709551615", "the number 18446744073709551615"),
            ("99999999999999999999", "the number 99999999999999999999"),
            ("1.5", "the number 1.5"),
            ("[a]", "a list"),
            ("a: b", "a section"),
            ("0660", "text"),
            ("yes", "text"),
            ("\"1\"", "text"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mapping_keeps_its_order_and_its_duplicates() {
        let Raw::Map(entries) = parse("b: 1\na: 2\nb: 3\n").unwrap().first else {
            panic!("a mapping")
        };
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn further_documents_are_noticed() {
        assert!(!parse("---\na: 1\n...\n").unwrap().more);
        assert!(parse("a: 1\n---\nb: 2\n").unwrap().more);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n";
        assert!(reason(bomb).contains("aliases"), "{}", reason(bomb));
        assert!(reason("a: *nowhere\n").contains("aliases"));
        assert!(reason("a: !secret x\n").contains("tags"));
        assert!(reason("? [a]\n: b\n").contains("cannot be a key"));
        assert!(reason(&"- ".repeat(200)).contains("nested too deeply"));
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").err().unwrap();
        assert_eq!((error.line, error.column), (Some(3), Some(2)), "{error:?}");
        assert!(!error.reason.is_empty());
    }
}
