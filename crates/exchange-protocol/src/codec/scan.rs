//! Checks every count, length and wire type of a frame before anything is allocated for it.
//!
//! A protobuf decoder grows vectors as it reads. This pass walks the same bytes without allocating and refuses what
//! exceeds a bound, so that a frame can never cost more than a small multiple of its own size.

use btcfed_core::limits::MAX_FRAME_BYTES;

use crate::codec::DecodeError;
use crate::limits;

/// What may stand in a field.
#[derive(Clone, Copy)]
enum Rule {
    /// A varint.
    Varint,
    /// Four bytes.
    Fixed32,
    /// Eight bytes.
    Fixed64,
    /// At most so many bytes, of text or otherwise.
    Bytes(usize),
    /// A message.
    Message(&'static [Field]),
}

/// A known field of a message.
struct Field {
    number: u32,
    name: &'static str,
    rule: Rule,
    /// How often it may occur.
    most: usize,
}

const fn field(number: u32, name: &'static str, rule: Rule) -> Field {
    Field {
        number,
        name,
        rule,
        most: 1,
    }
}

const fn list(number: u32, name: &'static str, most: usize, of: &'static [Field]) -> Field {
    Field {
        number,
        name,
        rule: Rule::Message(of),
        most,
    }
}

const KEY_BYTES: usize = 32;

static HELLO: [Field; 8] = [
    field(1, "hello.version_min", Rule::Varint),
    field(2, "hello.version_max", Rule::Varint),
    field(3, "hello.network", Rule::Fixed32),
    field(
        4,
        "hello.federation",
        Rule::Bytes(limits::MAX_FEDERATION_BYTES),
    ),
    field(5, "hello.features", Rule::Varint),
    field(6, "hello.agent", Rule::Bytes(limits::MAX_AGENT_BYTES)),
    field(7, "hello.record", Rule::Bytes(limits::MAX_RECORD_BYTES)),
    field(8, "hello.wall_ms", Rule::Varint),
];

static SUMMARY: [Field; 3] = [
    field(1, "summary.salt", Rule::Fixed32),
    field(2, "summary.root", Rule::Fixed64),
    field(3, "summary.count", Rule::Varint),
];

static RECORD: [Field; 2] = [
    field(1, "record.envelope", Rule::Bytes(limits::MAX_RECORD_BYTES)),
    field(2, "record.age_s", Rule::Varint),
];

static CELLS: [Field; 4] = [
    field(1, "cells.salt", Rule::Fixed64),
    field(2, "cells.first", Rule::Varint),
    field(3, "cells.count", Rule::Varint),
    field(4, "cells.cells", Rule::Bytes(limits::MAX_CELL_BYTES)),
];

static WANT: [Field; 2] = [
    field(1, "want.salt", Rule::Fixed64),
    field(2, "want.ids", Rule::Bytes(8 * limits::MAX_WANTED)),
];

static STRIPE: [Field; 3] = [
    field(1, "stripe.salt", Rule::Fixed64),
    field(2, "stripe.index", Rule::Varint),
    field(3, "stripe.of", Rule::Varint),
];

static REQUEST: [Field; 8] = [
    field(1, "request.hello", Rule::Message(&HELLO)),
    field(2, "request.mode", Rule::Varint),
    field(3, "request.cursor", Rule::Bytes(KEY_BYTES)),
    field(4, "request.limit", Rule::Varint),
    field(5, "request.summary", Rule::Message(&SUMMARY)),
    field(6, "request.cells", Rule::Message(&CELLS)),
    field(7, "request.want", Rule::Message(&WANT)),
    field(8, "request.stripe", Rule::Message(&STRIPE)),
];

static RESPONSE: [Field; 6] = [
    field(1, "response.hello", Rule::Message(&HELLO)),
    list(
        2,
        "response.records",
        limits::MAX_RECORDS_PER_FRAME,
        &RECORD,
    ),
    field(3, "response.next", Rule::Bytes(KEY_BYTES)),
    field(4, "response.equal", Rule::Varint),
    field(5, "response.count", Rule::Varint),
    field(6, "response.cells", Rule::Message(&CELLS)),
];

static ANNOUNCEMENT: [Field; 3] = [
    list(
        1,
        "announcement.records",
        limits::MAX_RECORDS_PER_ANNOUNCEMENT,
        &RECORD,
    ),
    field(
        2,
        "announcement.ids",
        Rule::Bytes(8 * limits::MAX_IDS_PER_ANNOUNCEMENT),
    ),
    field(3, "announcement.prune", Rule::Varint),
];

static UPDATE: [Field; 1] = [field(1, "update.record", Rule::Message(&RECORD))];

static ERROR: [Field; 6] = [
    field(1, "error.code", Rule::Varint),
    field(
        2,
        "error.message",
        Rule::Bytes(limits::MAX_ERROR_TEXT_BYTES),
    ),
    field(3, "error.retry_after_ms", Rule::Varint),
    field(4, "error.version_min", Rule::Varint),
    field(5, "error.version_max", Rule::Varint),
    list(6, "error.alternatives", limits::MAX_ALTERNATIVES, &RECORD),
];

static COMPRESSED: [Field; 2] = [
    field(1, "compressed.size", Rule::Varint),
    field(2, "compressed.frame", Rule::Bytes(MAX_FRAME_BYTES)),
];

static ENVELOPE: [Field; 6] = [
    field(1, "request", Rule::Message(&REQUEST)),
    field(2, "response", Rule::Message(&RESPONSE)),
    field(3, "announcement", Rule::Message(&ANNOUNCEMENT)),
    field(4, "update", Rule::Message(&UPDATE)),
    field(5, "error", Rule::Message(&ERROR)),
    field(6, "compressed", Rule::Message(&COMPRESSED)),
];

/// Checks a whole frame. `Ok(false)` when it carries no message this version knows.
pub(crate) fn check_frame(frame: &[u8]) -> Result<bool, DecodeError> {
    let known = check_message(frame, &ENVELOPE)?;
    match known {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed {
            reason: "more than one message in a frame",
        }),
    }
}

/// Checks one message; returns how many known fields it has. The depth of the recursion is the depth of the tables.
fn check_message(mut bytes: &[u8], fields: &'static [Field]) -> Result<usize, DecodeError> {
    // Every message has at most 8 known fields, so the counters need no allocation.
    let mut counts = [0_usize; 8];
    let mut known = 0;
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).unwrap_or(0);
        if number == 0 || key > u64::from(u32::MAX) {
            return malformed("field number out of range");
        }
        let value = take_value(&mut bytes, key & 7)?;
        let Some((field, count)) = fields
            .iter()
            .zip(&mut counts)
            .find(|(field, _)| field.number == number)
        else {
            continue;
        };
        *count += 1;
        known += 1;
        if *count > field.most {
            return if field.most > 1 {
                Err(DecodeError::TooLarge {
                    what: field.name,
                    limit: field.most,
                })
            } else {
                malformed("a field occurs twice")
            };
        }
        check_value(value, field)?;
    }
    Ok(known)
}

fn check_value(value: Value<'_>, field: &Field) -> Result<(), DecodeError> {
    match (field.rule, value) {
        (Rule::Varint, Value::Varint)
        | (Rule::Fixed32, Value::Fixed32)
        | (Rule::Fixed64, Value::Fixed64) => Ok(()),
        (Rule::Bytes(most), Value::Bytes(bytes)) if bytes.len() > most => {
            Err(DecodeError::TooLarge {
                what: field.name,
                limit: most,
            })
        }
        (Rule::Bytes(_), Value::Bytes(_)) => Ok(()),
        (Rule::Message(fields), Value::Bytes(bytes)) => check_message(bytes, fields).map(drop),
        _ => malformed("wrong wire type"),
    }
}

/// A value as it stands on the wire.
enum Value<'a> {
    Varint,
    Fixed32,
    Fixed64,
    Bytes(&'a [u8]),
}

fn take_value<'a>(bytes: &mut &'a [u8], wire_type: u64) -> Result<Value<'a>, DecodeError> {
    match wire_type {
        0 => take_varint(bytes).map(|_| Value::Varint),
        1 => take(bytes, 8).map(|_| Value::Fixed64),
        2 => {
            let len = usize::try_from(take_varint(bytes)?).unwrap_or(usize::MAX);
            take(bytes, len).map(Value::Bytes)
        }
        5 => take(bytes, 4).map(|_| Value::Fixed32),
        // Groups nest without a bound and nobody has used them since 2008.
        _ => malformed("unknown wire type"),
    }
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let Some((head, tail)) = bytes.split_at_checked(len) else {
        return malformed("cut short");
    };
    *bytes = tail;
    Ok(head)
}

/// An unsigned varint of at most ten bytes whose value fits 64 bits.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, tail)) = bytes.split_first() else {
            return malformed("cut short");
        };
        *bytes = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    malformed("number of more than 64 bits")
}

fn malformed<T>(reason: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Malformed { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_has_more_fields_than_there_are_counters() {
        let tables: [&[Field]; 13] = [
            &HELLO,
            &SUMMARY,
            &CELLS,
            &WANT,
            &STRIPE,
            &RECORD,
            &REQUEST,
            &RESPONSE,
            &ANNOUNCEMENT,
            &UPDATE,
            &ERROR,
            &COMPRESSED,
            &ENVELOPE,
        ];
        assert!(tables.iter().all(|table| table.len() <= 8));
    }

    #[test]
    fn varints_are_read_up_to_64_bits_and_not_beyond() {
        let read = |bytes: &[u8]| take_varint(&mut &*bytes);
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0x80, 0x00]), Ok(0));
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Ok(u64::MAX)
        );
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(read(&[0x80; 11]).is_err());
        assert!(read(&[0x80]).is_err());
        assert!(read(&[]).is_err());
    }

    #[test]
    fn groups_and_field_zero_are_refused_and_unknown_fields_are_skipped() {
        assert!(check_frame(&[0x0b, 0x0c]).is_err(), "a group");
        assert!(check_frame(&[0x00, 0x00]).is_err(), "field 0");
        assert_eq!(check_frame(&[0x78, 0x01]), Ok(false), "field 15, varint");
        assert_eq!(
            check_frame(&[0x7d, 1, 2, 3, 4, 0x0a, 0x00]),
            Ok(true),
            "field 15, fixed32, then a request"
        );
        assert_eq!(
            check_frame(&[0x79, 1, 2, 3, 4, 5, 6, 7, 8]),
            Ok(false),
            "field 15, fixed64"
        );
        assert!(
            check_frame(&[0x0a, 0x00, 0x12, 0x00]).is_err(),
            "two messages"
        );
        assert!(
            check_frame(&[0xf8, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00]).is_err(),
            "a field number beyond 29 bits"
        );
    }
}
