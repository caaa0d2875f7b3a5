//! Bytes to the text that entries are split from: what is no text is replaced, and flow style outside of entries becomes
//! block style.

use std::borrow::Cow;

use crate::text::canonical::find;
use crate::text::piece::Damage;
use crate::text::split::{List, flow_elements, is_marker};

/// The text of a file. Bytes that are no text become one replacement character per run, and are reported.
pub(crate) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Vec<Damage>) {
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    if let Ok(text) = std::str::from_utf8(bytes)
        && (bytes.chunks(1024).all(is_usual) || text.chars().all(is_text))
    {
        return (Cow::Borrowed(text), Vec::new());
    }
    let (mut out, mut damage) = (String::with_capacity(bytes.len()), Vec::<Damage>::new());
    let mut line = 1;
    for c in String::from_utf8_lossy(bytes).chars() {
        if is_text(c) && c != char::REPLACEMENT_CHARACTER {
            line += usize::from(c == '\n');
            out.push(c);
        } else if !out.ends_with(char::REPLACEMENT_CHARACTER) {
            out.push(char::REPLACEMENT_CHARACTER);
            if damage.last().is_none_or(|last| last.line != line) {
                damage.push(Damage {
                    line,
                    what: "bytes that are no text".into(),
                });
            }
        }
    }
    (Cow::Owned(out), damage)
}

/// True when all bytes are printable ASCII, blanks or line ends. Every byte is looked at, which is faster than stopping.
fn is_usual(bytes: &[u8]) -> bool {
    let is_odd = |byte: u8| !matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    !bytes.iter().fold(false, |odd, byte| odd | is_odd(*byte))
}

/// Flow style outside of entries, such as a whole JSON document, rewritten in block style; entries keep their bytes.
pub(crate) fn block_style(text: &str) -> Cow<'_, str> {
    let is_front = |line: &&str| line.trim().is_empty() || line.starts_with('#') || is_marker(line);
    let front = text.split_inclusive('\n').take_while(is_front);
    let (front, body) = text.split_at(front.map(str::len).sum());
    let text = match body.trim_start().strip_prefix('{').and_then(flow_elements) {
        Some((members, rest)) => {
            Cow::Owned(front.to_owned() + &members.join("\n") + "\n" + rest.trim_start())
        }
        None => Cow::Borrowed(text),
    };
    if !has_flow_list(&text) {
        return text;
    }
    List::ALL
        .into_iter()
        .fold(text, |text, list| match unrolled(&text, list) {
            Some(unrolled) => Cow::Owned(unrolled),
            None => text,
        })
}

/// True when a list that is not empty may begin in flow style. The text is looked at once for all lists, and no line beyond
/// its first byte that cannot name one.
fn has_flow_list(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        let line = find(rest, b'\n').map_or(rest.len(), |end| end + 1);
        let may_name = matches!(first, b'p' | b'b' | b'f' | b'"' | b'\'');
        let is_open = |pair: &[u8]| pair.starts_with(b"[") && !pair.ends_with(b"]");
        let line_there = rest.get(..line).unwrap_or_default();
        if may_name && (line_there.ends_with(b"[") || line_there.windows(2).any(is_open)) {
            return true;
        }
        rest = rest.get(line..).unwrap_or_default();
    }
    false
}

/// The text with one list written as `list: [a, b]` unrolled; `None` when there is none such.
fn unrolled(text: &str, list: List) -> Option<String> {
    let mut start = 0;
    let (head, body) = text.split_inclusive('\n').find_map(|line| {
        let at = start;
        start += line.len();
        let rest = line
            .trim_start_matches(['"', '\''])
            .strip_prefix(list.as_str())?;
        let rest = rest
            .trim_start_matches(['"', '\''])
            .trim_start_matches(' ')
            .strip_prefix(':')?;
        let value = at + line.len() - rest.trim_start_matches(' ').len();
        text[value..].starts_with('[').then_some((at, value + 1))
    })?;
    let (elements, rest) = flow_elements(&text[body..])?;
    if elements.is_empty() {
        return None;
    }
    let mut out = format!("{}{}:\n", &text[..head], list.as_str());
    for element in elements {
        let dash = if element.starts_with('#') {
            "  "
        } else {
            "  - "
        };
        let lines: Vec<&str> = element.lines().map(str::trim_end).collect();
        out.push_str(dash);
        out.push_str(&lines.join("\n      "));
        out.push('\n');
    }
    let rest = rest.trim_start_matches(' ');
    out.push_str(if rest.starts_with(['\n', '\r']) {
        rest.trim_start_matches('\r').get(1..).unwrap_or("")
    } else {
        rest
    });
    Some(out)
}
