//! The `sections` of the file as text: tables by their lines, and everything that is merely kept.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use btcfed_core::time::Timestamp;
use serde_yaml::Value;

use crate::sections::{DEFAULT_TTL, Section, SectionEntry, Sections, term};
use crate::text::amend::{name_at, remark};
use crate::text::guard;
use crate::text::scalar::{self, FlowMap};
use crate::text::scan::{Line, LineKind, scan};
use crate::text::split::flow_elements;

/// The key at the top of the file.
pub(crate) const NAME: &str = "sections";

/// The fields of a table.
const VERSION: &str = "version";
const TTL: &str = "ttl";
const ENTRIES: &str = "entries";

/// The text of the sections, taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// As it stands in the file.
    pub(crate) text: String,
    /// The line that names the sections, and comments below it.
    head: String,
    blocks: Vec<Block>,
    /// Something is left out that must be written, such as the time of an entry a person added.
    pub(crate) is_incomplete: bool,
}

/// One section.
#[derive(Clone, Debug)]
enum Block {
    /// Of another program, or not to be read: kept as it is.
    Kept {
        name: Option<String>,
        text: String,
    },
    Table(Table),
}

#[derive(Clone, Debug)]
struct Table {
    name: String,
    /// The line that names it, and comments below it.
    head: String,
    version: u64,
    ttl: Duration,
    fields: Vec<Field>,
    indent: usize,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    /// All its lines; of `entries` only those before the first entry.
    text: String,
    rows: Vec<Row>,
}

/// One entry.
#[derive(Clone, Debug)]
struct Row {
    text: String,
    /// `None` for one that cannot be read; it stays.
    says: Option<(String, SectionEntry)>,
    /// It says when it was put.
    is_whole: bool,
}

impl Layout {
    /// Takes `text` apart. Never fails: what cannot be read is kept. What was read in `before` is not read again.
    pub(crate) fn parse(text: &str, before: &Self, now: Timestamp) -> Self {
        if text == before.text {
            return before.clone();
        }
        let block_style = unrolled(text);
        let source = block_style.as_deref().unwrap_or(text);
        let mut reader = Reader {
            known: before.rows().map(|row| (row.text.as_str(), row)).collect(),
            now,
            is_incomplete: false,
        };
        let lines = scan(source, &BTreeSet::new()).lines;
        let parts = parts(source, &lines, 0..lines.len());
        let mut names = BTreeSet::new();
        let blocks = parts.items.iter().map(|range| {
            match reader.block(source, &lines, range.clone()) {
                // Of two tables with one name the first one counts.
                Block::Table(table) if !names.insert(table.name.clone()) => Block::Kept {
                    name: None,
                    text: bytes(source, &lines, range.clone()).to_owned(),
                },
                block => block,
            }
        });
        Self {
            text: text.to_owned(),
            head: bytes(source, &lines, parts.head).to_owned(),
            blocks: blocks.collect(),
            is_incomplete: reader.is_incomplete,
        }
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            Block::Kept { .. } => None,
        })
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        let fields = self.tables().flat_map(|table| &table.fields);
        fields.flat_map(|field| &field.rows)
    }

    /// The tables that could be read, whatever their age.
    pub(crate) fn sections(&self) -> Sections {
        let mut sections = Sections::default();
        for table in self.tables() {
            let mut section = Section::new(table.version, table.ttl);
            let rows = table.fields.iter().flat_map(|field| &field.rows);
            for (key, entry) in rows.filter_map(|row| row.says.as_ref()) {
                section.set(key.clone(), entry.clone());
            }
            sections.insert(table.name.clone(), section);
        }
        sections
    }

    /// The sections that are there and cannot be read, or not in full.
    pub(crate) fn unread(&self) -> BTreeSet<String> {
        let is_unread = |table: &&Table| {
            let mut rows = table.fields.iter().flat_map(|field| &field.rows);
            rows.any(|row| row.says.is_none())
        };
        let kept = self.blocks.iter().filter_map(|block| match block {
            Block::Kept { name, .. } => name.clone(),
            Block::Table(_) => None,
        });
        let tables = self.tables().filter(is_unread);
        kept.chain(tables.map(|table| table.name.clone())).collect()
    }

    /// True when the text says what `wanted` says. Entries over their time do not count.
    pub(crate) fn says(&self, wanted: &Sections, now: Timestamp) -> bool {
        let mut written = self.sections();
        written.expire(now);
        let kept = self.kept();
        let wanted = wanted.iter().filter(|(name, _)| !kept.contains(*name));
        !self.is_incomplete && wanted.eq(written.iter())
    }

    fn kept(&self) -> BTreeSet<String> {
        let kept = self.blocks.iter().filter_map(|block| match block {
            Block::Kept { name, .. } => name.clone(),
            Block::Table(_) => None,
        });
        kept.collect()
    }

    /// The text that says what `wanted` says: the same lines wherever nothing changed.
    pub(crate) fn write(&self, wanted: &Sections, eol: &str) -> String {
        let mut body = String::new();
        let mut written: BTreeSet<String> = self.kept();
        let outer = self.blocks.first().map_or(2, |block| match block {
            Block::Kept { text, .. } => blanks(text),
            Block::Table(table) => blanks(&table.head),
        });
        for block in &self.blocks {
            match block {
                Block::Kept { text, .. } => push(&mut body, text, eol),
                Block::Table(table) => {
                    let section = wanted.get(&table.name);
                    if let Some(section) = section.filter(|_| written.insert(table.name.clone())) {
                        table.write(section, &mut body, eol);
                    }
                }
            }
        }
        for (name, section) in wanted.iter().filter(|(name, _)| !written.contains(*name)) {
            Table::new(name, section, outer, eol).write(section, &mut body, eol);
        }
        let (line, below) = self.head.split_once('\n').unwrap_or((&self.head, ""));
        let colon = line.find(':').map_or(NAME.len(), |at| at + 1);
        let remark = line.get(colon..).map_or("", remark);
        let value = if body.is_empty() { " {}" } else { "" };
        let below = if below.is_empty() || below.ends_with('\n') {
            below.to_owned()
        } else {
            format!("{below}{eol}")
        };
        format!("{NAME}:{value}{}{eol}{below}{body}", remark.trim_end())
    }
}

/// The blanks that a text begins with.
fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Adds lines, which end as lines do.
fn push(out: &mut String, text: &str, eol: &str) {
    out.push_str(text);
    if !text.is_empty() && !text.ends_with('\n') {
        out.push_str(eol);
    }
}

impl Table {
    /// A table that is not in the file yet.
    fn new(name: &str, section: &Section, indent: usize, eol: &str) -> Self {
        let inner = " ".repeat(indent + 2);
        let field = |name: &str, value: &str| Field {
            name: name.to_owned(),
            text: format!("{inner}{name}:{value}{eol}"),
            rows: Vec::new(),
        };
        Self {
            name: name.to_owned(),
            head: format!("{}{}:{eol}", " ".repeat(indent), scalar::string(name)),
            version: section.version,
            ttl: section.ttl,
            fields: vec![
                field(VERSION, &format!(" {}", section.version)),
                field(TTL, &format!(" {}", term::text(section.ttl))),
                field(ENTRIES, ""),
            ],
            indent: indent + 4,
        }
    }

    fn write(&self, section: &Section, out: &mut String, eol: &str) {
        push(out, &self.head, eol);
        let has = |name: &str| self.fields.iter().any(|field| field.name == name);
        let inner = " ".repeat(self.indent.saturating_sub(2));
        if self.version != section.version && !has(VERSION) {
            out.push_str(&format!("{inner}{VERSION}: {}{eol}", section.version));
        }
        if self.ttl != section.ttl && !has(TTL) {
            out.push_str(&format!("{inner}{TTL}: {}{eol}", term::text(section.ttl)));
        }
        for field in &self.fields {
            match field.name.as_str() {
                VERSION if self.version != section.version => {
                    push(
                        out,
                        &replaced(&field.text, &section.version.to_string(), eol),
                        eol,
                    );
                }
                TTL if self.ttl != section.ttl => {
                    push(
                        out,
                        &replaced(&field.text, &term::text(section.ttl), eol),
                        eol,
                    );
                }
                ENTRIES => self.write_entries(field, section, out, eol),
                _ => push(out, &field.text, eol),
            }
        }
    }

    fn write_entries(&self, field: &Field, section: &Section, out: &mut String, eol: &str) {
        let mut rows = String::new();
        let mut written: BTreeSet<&str> = BTreeSet::new();
        for row in &field.rows {
            let Some((key, entry)) = &row.says else {
                push(&mut rows, &row.text, eol);
                continue;
            };
            match section.entries().get(key) {
                Some(wanted) if written.insert(key) => {
                    if wanted == entry && row.is_whole {
                        push(&mut rows, &row.text, eol);
                    } else {
                        rows.push_str(&row_text(key, wanted, self.indent, eol));
                    }
                }
                _ => {}
            }
        }
        for (key, entry) in section.entries() {
            if !written.contains(key.as_str()) {
                rows.push_str(&row_text(key, entry, self.indent, eol));
            }
        }
        let value = if rows.is_empty() { "{}" } else { "" };
        push(out, &replaced(&field.text, value, eol), eol);
        out.push_str(&rows);
    }
}

/// The lines of a field with another value in the first one.
fn replaced(text: &str, value: &str, eol: &str) -> String {
    let (line, below) = text.split_once('\n').unwrap_or((text, ""));
    let colon = line.find(':').map_or(line.len(), |at| at + 1);
    let (name, rest) = line.split_at(colon);
    let blank = if value.is_empty() { "" } else { " " };
    format!(
        "{name}{blank}{value}{}{eol}{below}",
        remark(rest.trim_end_matches('\r'))
    )
}

/// The line of an entry.
fn row_text(key: &str, entry: &SectionEntry, indent: usize, eol: &str) -> String {
    let mut map = FlowMap::default();
    map.field("value", Some(scalar::string(&entry.value)))
        .field("at", Some(scalar::time_text(entry.at)))
        .field(TTL, entry.ttl.map(term::text));
    let map = map.finish().unwrap_or_default();
    format!("{}{}: {map}{eol}", " ".repeat(indent), scalar::string(key))
}

/// What belongs to the first line of some lines, and what stands below it, item by item.
struct Parts {
    head: std::ops::Range<usize>,
    items: Vec<std::ops::Range<usize>>,
    indent: usize,
}

fn parts(source: &str, lines: &[Line], range: std::ops::Range<usize>) -> Parts {
    let below = range.start + 1..range.end;
    let is_content = |index: &usize| lines[*index].kind == LineKind::Content;
    let indent = below
        .clone()
        .find(is_content)
        .map_or(0, |first| lines[first].indent);
    let is_start = |index: &usize| {
        is_content(index)
            && lines[*index].indent <= indent
            && name_at(lines[*index].text(source), lines[*index].indent).is_some()
    };
    let starts: Vec<usize> = below.filter(is_start).collect();
    let ends = starts.iter().skip(1).copied().chain([range.end]);
    Parts {
        head: range.start..starts.first().copied().unwrap_or(range.end),
        items: starts
            .iter()
            .copied()
            .zip(ends)
            .map(|(start, end)| start..end)
            .collect(),
        indent,
    }
}

fn bytes<'a>(source: &'a str, lines: &[Line], range: std::ops::Range<usize>) -> &'a str {
    match lines.get(range) {
        Some([first, .., last]) => &source[first.range.start..last.range.end],
        Some([only]) => &source[only.range.clone()],
        _ => "",
    }
}

struct Reader<'a> {
    known: HashMap<&'a str, &'a Row>,
    now: Timestamp,
    is_incomplete: bool,
}

impl Reader<'_> {
    fn block(&mut self, source: &str, lines: &[Line], range: std::ops::Range<usize>) -> Block {
        let text = bytes(source, lines, range.clone()).to_owned();
        let first = &lines[range.start];
        let line = first.text(source);
        let Some((name, value)) = name_at(line, first.indent) else {
            return Block::Kept { name: None, text };
        };
        let after = line[value..].trim();
        let is_empty = after.len() == remark(&line[value..]).trim().len();
        let table = if is_empty {
            self.table(&name, source, lines, range)
        } else {
            self.flow_table(&name, &text, first.indent)
        };
        match table {
            Some(table) => Block::Table(table),
            None => Block::Kept {
                name: Some(name),
                text,
            },
        }
    }

    /// A table in block style; `None` when it is something else.
    fn table(
        &mut self,
        name: &str,
        source: &str,
        lines: &[Line],
        range: std::ops::Range<usize>,
    ) -> Option<Table> {
        let whole = parts(source, lines, range);
        let mut table = Table {
            name: name.to_owned(),
            head: bytes(source, lines, whole.head.clone()).to_owned(),
            version: 1,
            ttl: DEFAULT_TTL,
            fields: Vec::new(),
            indent: whole.indent + 2,
        };
        for range in whole.items {
            let first = &lines[range.start];
            let (name, value) = name_at(first.text(source), first.indent)?;
            let text = bytes(source, lines, range.clone()).to_owned();
            let mut field = Field {
                rows: Vec::new(),
                text,
                name,
            };
            let value = guard::value(&first.text(source)[value..]).ok();
            match field.name.as_str() {
                VERSION => table.version = value?.as_u64()?,
                TTL => table.ttl = ttl_of(&value?)?,
                ENTRIES => {
                    let is_empty = |map: &serde_yaml::Mapping| map.is_empty();
                    let is_below = matches!(value, None | Some(Value::Null));
                    if !is_below
                        && !value
                            .as_ref()
                            .and_then(Value::as_mapping)
                            .is_some_and(is_empty)
                    {
                        return None;
                    }
                    let rows = parts(source, lines, range);
                    field.text = bytes(source, lines, rows.head.clone()).to_owned();
                    table.indent = if rows.items.is_empty() {
                        table.indent
                    } else {
                        rows.indent
                    };
                    field.rows = rows
                        .items
                        .into_iter()
                        .map(|range| self.row(bytes(source, lines, range)))
                        .collect();
                    refuse_duplicates(&mut field.rows);
                }
                _ => {}
            }
            table.fields.push(field);
        }
        let has_entries = table.fields.iter().any(|field| field.name == ENTRIES);
        has_entries.then_some(table)
    }

    fn row(&mut self, text: &str) -> Row {
        let row = match self.known.get(text) {
            Some(row) => (*row).clone(),
            None => self.read(text),
        };
        self.is_incomplete |= row.says.is_some() && !row.is_whole;
        row
    }

    fn read(&self, text: &str) -> Row {
        let read = || {
            let Ok(Value::Mapping(map)) = guard::value(text) else {
                return None;
            };
            let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
            let is_whole = value.get("at").is_some_and(Value::is_string);
            Some((
                (scalar::text_of(key)?, entry_of(value, self.now)?),
                is_whole,
            ))
        };
        let (says, is_whole) = read().unzip();
        Row {
            text: text.to_owned(),
            says,
            is_whole: is_whole.unwrap_or(true),
        }
    }

    /// A table written within braces; `None` when it is something else. It is written in block style from then on.
    fn flow_table(&mut self, name: &str, text: &str, indent: usize) -> Option<Table> {
        let Ok(Value::Mapping(map)) = guard::value(text) else {
            return None;
        };
        let fields = map.iter().next()?.1.as_mapping()?;
        let entries = fields.get(ENTRIES)?;
        let version = fields.get(VERSION).map_or(Some(1), Value::as_u64)?;
        let ttl = fields.get(TTL).map_or(Some(DEFAULT_TTL), ttl_of)?;
        let mut table = Table::new(name, &Section::new(version, ttl), indent, "\n");
        let known = [VERSION, TTL, ENTRIES];
        for (name, value) in fields {
            let name = scalar::text_of(name)?;
            if !known.contains(&name.as_str()) {
                let text = format!(
                    "{}{}: {}\n",
                    " ".repeat(indent + 2),
                    scalar::string(&name),
                    scalar::flow(value)
                );
                table.fields.insert(
                    2,
                    Field {
                        name,
                        text,
                        rows: Vec::new(),
                    },
                );
            }
        }
        if entries.is_null() {
            return Some(table);
        }
        let mut rows = Vec::new();
        for (key, value) in entries.as_mapping()? {
            let text = format!(
                "{}{}: {}\n",
                " ".repeat(indent + 4),
                scalar::flow(key),
                scalar::flow(value)
            );
            rows.push(self.row(&text));
        }
        table.fields.last_mut()?.rows = rows;
        Some(table)
    }
}

/// Of two entries with one key the first one counts.
fn refuse_duplicates(rows: &mut [Row]) {
    let mut keys = BTreeSet::new();
    for row in rows {
        let is_second = |says: &mut (String, SectionEntry)| !keys.insert(says.0.clone());
        row.says.take_if(is_second);
    }
}

fn ttl_of(value: &Value) -> Option<Duration> {
    let text = scalar::text_of(value)?;
    term::parse(&text).filter(|ttl| !ttl.is_zero())
}

/// What a value says: a plain text was put now.
pub(crate) fn entry_of(value: &Value, now: Timestamp) -> Option<SectionEntry> {
    let Value::Mapping(fields) = value else {
        let value = scalar::text_of(value)?;
        let (at, ttl) = (now, None);
        return Some(SectionEntry { value, at, ttl });
    };
    let at = match fields.get("at") {
        None | Some(Value::Null) => now,
        Some(at) => at.as_str().and_then(scalar::time_from)?.clamp_to(now),
    };
    let ttl = match fields.get(TTL) {
        None | Some(Value::Null) => None,
        Some(ttl) => Some(ttl_of(ttl)?),
    };
    let value = scalar::text_of(fields.get("value")?)?;
    Some(SectionEntry { value, at, ttl })
}

/// Sections written as `sections: {a: ..., b: ...}`, one below the other; `None` when they are so already.
fn unrolled(text: &str) -> Option<String> {
    let colon = text.find(':')? + 1;
    let inner = text[colon..].trim_start().strip_prefix('{')?;
    let (elements, rest) = flow_elements(inner)?;
    if elements.is_empty() {
        return None;
    }
    let rest = rest.trim();
    let blank = if rest.is_empty() { "" } else { " " };
    let mut out = format!("{NAME}:{blank}{rest}\n");
    for element in elements {
        let lines: Vec<&str> = element.lines().map(str::trim_end).collect();
        out.push_str(&format!("  {}\n", lines.join("\n    ")));
    }
    Some(out)
}
