//! The smallest change of an entry's text that makes it say something else: lines nobody changed stay byte for byte.

use std::collections::BTreeSet;
use std::ops::Range;

use btcfed_core::key::PeerKey;

use crate::text::entry::{self, Listed, Peer, Trust};
use crate::text::scalar;
use crate::text::scan::{Line, LineKind, scan};
use crate::text::spell::{self, Style};

/// The text of an entry that says what `new` says, starting from `text`, which says what `old` says.
///
/// Falls back to the canonical spelling, with the comments of the old text after it, where the layout is too unusual.
pub(crate) fn amend(text: &str, old: &Peer, new: &Peer, style: Style) -> String {
    let wanted = Peer {
        record: spell::as_written(&new.record),
        state_extra: new.state_extra.clone(),
    };
    // Text in the store's own spelling, which almost all is, has no lines of people's own to be kept.
    if spell::entry(old, style) == text {
        return spell::entry(&wanted, style);
    }
    let amended = Layout::of(text).and_then(|layout| layout.amend(old, &wanted, style));
    match amended {
        Some(text) if entry::parse(&text, Trust::Ours).as_ref() == Ok(&wanted) => text,
        _ => rewrite(text, &wanted, style),
    }
}

fn rewrite(text: &str, wanted: &Peer, style: Style) -> String {
    let mut out = spell::entry(wanted, style);
    let seen = scan(text, &BTreeSet::new());
    // In flow style comments are continuation lines. One line too many, out of a block scalar, does no harm.
    for line in seen
        .lines
        .iter()
        .map(|line| line.text(text).trim_start())
        .filter(|line| line.starts_with('#'))
    {
        out.push_str(&" ".repeat(style.indent + 2));
        out.push_str(line);
        out.push_str(style.eol);
    }
    out
}

/// One `name: value` of an entry.
struct Field {
    name: String,
    /// Its lines, without the blanks and comments after it.
    lines: Range<usize>,
    /// Where the first line goes on after the colon.
    value: usize,
}

struct Layout<'a> {
    text: &'a str,
    lines: Vec<Line>,
    /// Blanks before the names of fields.
    indent: usize,
    fields: Vec<Field>,
}

/// A replacement of some lines.
type Edit = (Range<usize>, Vec<String>);

impl<'a> Layout<'a> {
    /// The layout of a block-style entry; `None` for flow style and anything else unusual.
    fn of(text: &'a str) -> Option<Self> {
        let lines = scan(text, &BTreeSet::new()).lines;
        let first = lines.first()?.text(text);
        let dash = first.find('-')?;
        let after = first[dash + 1..].trim_start_matches(' ');
        let column = first.len() - after.len();
        let has_inline = !after.is_empty() && !after.starts_with('#');
        let indent = match has_inline {
            true => column,
            false => {
                lines
                    .iter()
                    .skip(1)
                    .find(|line| line.kind == LineKind::Content)?
                    .indent
            }
        };
        let mut layout = Self {
            text,
            lines,
            indent,
            fields: Vec::new(),
        };
        for index in 0..layout.lines.len() {
            let starts = match index {
                0 => has_inline,
                _ => {
                    let line = &layout.lines[index];
                    let is_dash = layout.line(index)[line.indent..].starts_with("- ");
                    line.kind == LineKind::Content && line.indent == indent && !is_dash
                }
            };
            if starts {
                let name = name_at(layout.line(index), indent)?;
                layout.fields.push(Field {
                    name: name.0,
                    lines: index..index + 1,
                    value: name.1,
                });
            } else if matches!(
                layout.lines[index].kind,
                LineKind::Content | LineKind::Continuation
            ) && let Some(field) = layout.fields.last_mut()
            {
                field.lines.end = index + 1;
            }
        }
        Some(layout)
    }

    fn line(&self, index: usize) -> &'a str {
        self.lines[index].text(self.text)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn amend(&self, old: &Peer, new: &Peer, style: Style) -> Option<String> {
        let mut edits: Vec<Edit> = Vec::new();
        let (before, after) = (spell::fields(old), spell::fields(new));
        for (name, value) in &after {
            if before
                .iter()
                .any(|(known, spelled)| known == name && spelled == value)
            {
                continue;
            }
            edits.extend(self.set(name, value.as_deref())?);
        }
        for (name, _) in before
            .iter()
            .filter(|(name, _)| !after.iter().any(|(kept, _)| kept == name))
        {
            edits.extend(self.set(name, None)?);
        }
        if spell::listed(&old.record) != spell::listed(&new.record) {
            edits.push(self.set_addresses(&new.record.key, &spell::listed(&new.record))?);
        }
        Some(self.apply(edits, style.eol))
    }

    /// The edit that sets a field; `None` inside when there is nothing to do, `None` outside when it cannot be done.
    fn set(&self, name: &str, value: Option<&str>) -> Option<Option<Edit>> {
        let spelled = |value: &str| {
            format!(
                "{}{}: {value}",
                " ".repeat(self.indent),
                scalar::string(name)
            )
        };
        match (self.field(name), value) {
            (None, None) => Some(None),
            (None, Some(value)) => {
                let at = self.place_of(name);
                Some(Some((at..at, vec![spelled(value)])))
            }
            (Some(field), None) if field.lines.start == 0 => None,
            (Some(field), None) => Some(Some((field.lines.clone(), Vec::new()))),
            (Some(field), Some(value)) => {
                let line = self.line(field.lines.start);
                let head = line[..field.value].trim_end();
                let remark = remark(&line[field.value..]);
                Some(Some((
                    field.lines.clone(),
                    vec![format!("{head} {value}{remark}")],
                )))
            }
        }
    }

    /// Where a new field goes: the state last, all others before it.
    fn place_of(&self, name: &str) -> usize {
        let last = self.fields.last().map_or(1, |field| field.lines.end);
        match self.field("state") {
            Some(state) if name != "state" && state.lines.start > 0 => state.lines.start,
            _ => last,
        }
    }

    fn set_addresses(&self, key: &PeerKey, wanted: &[String]) -> Option<Edit> {
        let outer = " ".repeat(self.indent);
        let Some(field) = self.field("addresses") else {
            let at = self
                .fields
                .iter()
                .find(|field| field.name == "public_key")
                .map_or(1, |field| field.lines.end);
            let items = wanted
                .iter()
                .map(|addr| format!("{outer}  - {}", scalar::string(addr)));
            return Some((
                at..at,
                std::iter::once(format!("{outer}addresses:"))
                    .chain(items)
                    .collect(),
            ));
        };
        let line = self.line(field.lines.start);
        let (head, value) = (line[..field.value].trim_end(), &line[field.value..]);
        let remark = remark(value);
        if wanted.is_empty() {
            return Some((field.lines.clone(), vec![format!("{head} []{remark}")]));
        }
        let written = self.address_lines(field, key);
        let inner = written.first().map_or(self.indent + 2, |item| item.indent);
        let mut lines = vec![format!("{head}{remark}")];
        for item in written.iter().filter(|item| !wanted.contains(&item.says)) {
            lines.extend(item.comments.iter().map(|line| (*line).to_owned()));
        }
        for addr in wanted {
            match written.iter().find(|item| item.says == *addr) {
                Some(item) => lines.extend(
                    item.comments
                        .iter()
                        .chain([&item.line])
                        .map(|line| (*line).to_owned()),
                ),
                None => lines.push(format!("{}- {}", " ".repeat(inner), scalar::string(addr))),
            }
        }
        Some((field.lines.clone(), lines))
    }

    /// The items of a block list of addresses, one per line.
    fn address_lines(&self, field: &Field, key: &PeerKey) -> Vec<AddressLine<'a>> {
        let mut items = Vec::new();
        let mut comments = Vec::new();
        for index in field.lines.start + 1..field.lines.end {
            let line = self.line(index);
            let Some(spelled) = line.trim_start().strip_prefix("- ") else {
                comments.extend((self.lines[index].kind == LineKind::Comment).then_some(line));
                continue;
            };
            let Ok(serde_yaml::Value::String(text)) = crate::text::guard::value(spelled) else {
                continue;
            };
            let says = match entry::address(&text, key) {
                Ok(Listed::Dialable(addr)) => addr.to_string(),
                Ok(Listed::Foreign(text)) => text,
                Err(_) => continue,
            };
            let comments = std::mem::take(&mut comments);
            items.push(AddressLine {
                says,
                line,
                comments,
                indent: self.lines[index].indent,
            });
        }
        items
    }

    /// Applies edits, which do not overlap.
    fn apply(&self, mut edits: Vec<Edit>, eol: &str) -> String {
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(self.text.len() + 256);
        let mut push = |line: &str| {
            out.push_str(line);
            out.push_str(if line.ends_with('\n') { "" } else { eol });
        };
        let mut next = 0;
        for (range, lines) in edits {
            (next..range.start).for_each(|index| push(&self.text[self.lines[index].range.clone()]));
            lines.iter().for_each(|line| push(line));
            next = next.max(range.end);
        }
        (next..self.lines.len())
            .for_each(|index| push(&self.text[self.lines[index].range.clone()]));
        out
    }
}

struct AddressLine<'a> {
    /// The address in its one spelling.
    says: String,
    line: &'a str,
    /// Comment lines above it.
    comments: Vec<&'a str>,
    indent: usize,
}

/// The name of a field at `indent`, and where the line goes on after the colon.
pub(crate) fn name_at(line: &str, indent: usize) -> Option<(String, usize)> {
    let rest = line.get(indent..)?;
    let (name, len) = match rest.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = rest[1..].find(quote)? + 1;
            (rest[1..end].to_owned(), end + 1)
        }
        _ => {
            let end = rest
                .find(": ")
                .or_else(|| rest.strip_suffix(':').map(str::len))?;
            (rest[..end].trim_end().to_owned(), end)
        }
    };
    let colon = rest[len..]
        .find(':')
        .filter(|at| rest[len..len + at].trim().is_empty())?;
    let value = len + colon + 1;
    (!name.is_empty()).then_some((name, indent + value))
}

/// The comment at the end of a line, with the blanks before it.
pub(crate) fn remark(value: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in value.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' || before == '\t' => {
                return &value[value[..at].trim_end().len()..];
            }
            (None, '"' | '\'') if " \t[{,:".contains(before) => quote = Some(c),
            (Some(open), c) if c == open && before != '\\' => quote = None,
            _ => {}
        }
        before = c;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::peer::{AddressSource, PeerStatus};
    use btcfed_core::testing::{test_addr, test_key};
    use btcfed_core::time::Timestamp;

    fn text(body: &str) -> String {
        body.replace("KEY", &test_key(1).to_string())
    }

    fn amended(body: &str, change: impl FnOnce(&mut Peer)) -> String {
        let source = text(body);
        let old = entry::parse(&source, Trust::Nobody).unwrap();
        let mut new = old.clone();
        change(&mut new);
        let indent = source.find('-').unwrap();
        let eol = if source.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        let out = amend(&source, &old, &new, Style { indent, eol });
        let back = entry::parse(&out, Trust::Nobody).unwrap();
        assert_eq!(back.record, spell::as_written(&new.record), "{out}");
        out
    }

    const ODD: &str = "  -  public_key : 'KEY'   # mine\n     # before\n     uuid: [1,\n       2]\n     addresses:   # two\n     \
                       # first\n     -   \"/ip4/127.0.0.1/tcp/7001\"\n     # second\n     - /dns4/A.Example.COM./tcp/9 # b\n     \
                       name:  bob   # nick\n";

    #[test]
    fn a_new_state_is_one_more_line_and_an_old_one_is_replaced_in_place() {
        let once = amended(ODD, |peer| {
            peer.record
                .update_status(PeerStatus::Valid, Timestamp::UNIX_EPOCH)
        });
        let line = "     state: {status: valid, since: 1970-01-01T00:00:00Z}\n";
        assert_eq!(once, text(ODD) + line);
        let commented = once.replace("00Z}", "00Z} # node's") + "     zone: x\n";
        let twice = amended(&commented, |peer| peer.record.stats.successes = 1);
        assert_eq!(twice, commented.replace("00Z}", "00Z, ok: 1}"));
    }

    #[test]
    fn an_added_address_is_one_more_line_and_a_removed_one_takes_its_line_only() {
        let more = amended(ODD, |peer| {
            assert!(
                peer.record
                    .add_address(test_addr(7), AddressSource::Operator)
            )
        });
        let line = format!("     - {}\n     name", test_addr(7));
        assert_eq!(more, text(ODD).replace("     name", &line));
        let less = amended(ODD, |peer| drop(peer.record.addresses.remove(1)));
        let first = "     - /dns4/A.Example.COM./tcp/9 # b\n";
        assert_eq!(less.matches("# second").count(), 1);
        assert_eq!(
            less.replace("     # second\n", "").replace(first, ""),
            text(ODD).replace("     # second\n", "").replace(first, "")
        );
        assert!(!less.contains(first));
        let none = amended(ODD, |peer| peer.record.addresses.clear());
        assert!(none.contains("     addresses: []   # two\n"), "{none}");
    }

    #[test]
    fn renaming_pinning_and_unnaming_touch_one_line_each() {
        let renamed = amended(ODD, |peer| peer.record.name = Some("al: ice".into()));
        assert_eq!(
            renamed,
            text(ODD).replace("name:  bob   # nick", "name: \"al: ice\"   # nick")
        );
        let pinned = amended(ODD, |peer| peer.record.pinned = true);
        assert_eq!(pinned, text(ODD) + "     pinned: true\n");
        let unnamed = amended(ODD, |peer| peer.record.name = None);
        assert_eq!(unnamed, text(ODD).replace("     name:  bob   # nick\n", ""));
        let extra = amended(ODD, |peer| {
            peer.record.extra.insert("uuid".into(), "[3]".into());
            peer.record.extra.insert("zone".into(), "x".into());
        });
        assert!(
            extra.contains("     uuid: [3]\n") && extra.contains("     zone: x\n"),
            "{extra}"
        );
    }

    #[test]
    fn unusual_layouts_change_too_and_lose_neither_comments_nor_unknown_fields() {
        let flow =
            "- {public_key: KEY, addresses: [/ip4/127.0.0.1/tcp/1],\n   # why\n   zone: x}\n";
        let out = amended(flow, |peer| peer.record.pinned = true);
        assert!(out.contains("# why") && out.contains("zone: x"), "{out}");
        let below = "-\n  # c\n  name: x\n  public_key: KEY\n";
        assert_eq!(
            amended(below, |peer| peer.record.name = Some("zed".into())),
            text(below).replace("x\n", "zed\n")
        );
        let inline = "- name: x # nick\n  public_key: KEY\r\n";
        let out = amended(inline, |peer| peer.record.name = None);
        assert!(!out.contains("name"), "{out}");
        let flow_list = "- public_key: KEY\n  addresses: [/ip4/127.0.0.1/tcp/1] # c\n";
        let out = amended(flow_list, |peer| {
            assert!(
                peer.record
                    .add_address(test_addr(7), AddressSource::Operator)
            )
        });
        assert!(
            out.contains("  addresses: # c\n    - /ip4/127.0.0.1/tcp/1\n"),
            "{out}"
        );
        let bare = "- public_key: KEY # c";
        let out = amended(bare, |peer| {
            assert!(
                peer.record
                    .add_address(test_addr(7), AddressSource::Operator)
            )
        });
        assert_eq!(
            out,
            format!("{}\n  addresses:\n    - {}\n", text(bare), test_addr(7))
        );
    }
}
