//! A file to its parts, by lines: headers, lists, entries, and everything that is merely kept.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::text::amend::name_at;
use crate::text::canonical::Extent;
use crate::text::scan::{Line, LineKind, Taken, scan, scan_around};

/// A single-value line that the store rewrites on every save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Version,
    Checksum,
    Generation,
    LastModified,
}

impl Head {
    /// All of them, in the order they are written.
    pub(crate) const ALL: [Self; 4] = [
        Self::Version,
        Self::Checksum,
        Self::Generation,
        Self::LastModified,
    ];

    /// The key in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Checksum => "checksum",
            Self::Generation => "generation",
            Self::LastModified => "last_modified",
        }
    }
}

/// A list of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum List {
    Peers,
    Bans,
    Forgotten,
}

impl List {
    /// All of them, in the order they are written.
    pub(crate) const ALL: [Self; 3] = [Self::Peers, Self::Bans, Self::Forgotten];

    /// The key in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Bans => "bans",
            Self::Forgotten => "forgotten",
        }
    }
}

/// What some lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Kept as it is: comments, blanks, unknown keys.
    Text,
    Head(Head),
    /// The line that names a list.
    List(List),
    Item(List),
    /// Peers that are read already.
    Run(Taken),
    /// Nothing that YAML allows here.
    Garbage,
}

/// Some lines and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) part: Part,
    pub(crate) lines: Range<usize>,
}

impl Chunk {
    /// How many lines of the text it is.
    pub(crate) const fn line_count(&self) -> usize {
        match self.part {
            Part::Run(taken) => taken.lines,
            Part::Text | Part::Head(_) | Part::List(_) | Part::Item(_) | Part::Garbage => {
                self.lines.end - self.lines.start
            }
        }
    }
}

/// A text with its lines and chunks.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) lines: Vec<Line>,
    pub(crate) chunks: Vec<Chunk>,
}

impl Split {
    /// The bytes of some lines.
    pub(crate) fn bytes(&self, lines: &Range<usize>) -> Range<usize> {
        match (
            self.lines.get(lines.start),
            lines
                .end
                .checked_sub(1)
                .and_then(|last| self.lines.get(last)),
        ) {
            (Some(first), Some(last)) => first.range.start..last.range.end,
            _ => 0..0,
        }
    }

    /// Lines inside `chunk` that look as if they began an entry or a list of their own, although a quote seems open or
    /// they are indented strangely. Where the chunk cannot be read, they probably do.
    pub(crate) fn suspects(&self, source: &str, chunk: &Chunk) -> Vec<usize> {
        let suspicious = |index: &usize| {
            let line = self.lines[*index].text(source);
            let bare = line
                .trim_start_matches([' ', '-'])
                .trim_start_matches(['{', '"', '\'']);
            let is_item = line.trim_start().starts_with("- ") && bare.starts_with("public_key");
            let known = || {
                List::ALL
                    .map(List::as_str)
                    .into_iter()
                    .chain(Head::ALL.map(Head::as_str))
                    .chain(["sections"])
            };
            is_item
                || known().any(|key| {
                    line.strip_prefix(key)
                        .is_some_and(|rest| rest.starts_with(':'))
                })
        };
        (chunk.lines.start + 1..chunk.lines.end)
            .filter(suspicious)
            .collect()
    }
}

/// Splits `source`. Lines in `forced` begin something even where a quote seems open.
pub(crate) fn split(source: &str, forced: &BTreeSet<usize>) -> Split {
    let (split, _) = split_lines(source, scan(source, forced).lines, forced, 0);
    split
}

/// Splits around the peers that `read` takes: a canonical entry of theirs stands at the start of the text it is given. All
/// that it takes have one indentation. `None` where that might give another result than splitting everything.
pub(crate) fn split_around(
    source: &str,
    read: &mut impl FnMut(&str) -> Option<Extent>,
) -> Option<Split> {
    let (forced, mut indent) = (BTreeSet::new(), None);
    let mut take = |rest: &str| {
        let blanks = rest.trim_start_matches(' ');
        let is_entry = blanks.starts_with("- public_key: ");
        if !is_entry || indent.is_some_and(|indent| rest.len() - blanks.len() != indent) {
            return None;
        }
        let entry = read(rest)?;
        indent = Some(entry.indent);
        Some((entry.bytes, entry.lines))
    };
    let scan = scan_around(source, &forced, &mut take);
    if scan.unclosed.is_some() {
        return None;
    }
    let (split, is_misplaced) = split_lines(source, scan.lines, &forced, indent.unwrap_or(0));
    (!is_misplaced).then_some(split)
}

fn split_lines(
    source: &str,
    lines: Vec<Line>,
    forced: &BTreeSet<usize>,
    taken_indent: usize,
) -> (Split, bool) {
    let mut splitter = Splitter {
        source,
        lines: &lines,
        forced,
        chunks: Vec::new(),
        scope: Scope::Top,
        kept: 0,
        end: end_marker(source, &lines),
        taken_indent,
        is_misplaced: false,
    };
    (0..lines.len()).for_each(|index| splitter.line(index));
    splitter.keep_until(lines.len());
    let (chunks, is_misplaced) = (splitter.chunks, splitter.is_misplaced);
    (Split { lines, chunks }, is_misplaced)
}

/// What an indented line would belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Nothing yet.
    Top,
    /// A key that is no list.
    Key,
    /// A list, and the indentation of its items once it is known.
    List(List, Option<usize>),
}

struct Splitter<'a> {
    source: &'a str,
    lines: &'a [Line],
    forced: &'a BTreeSet<usize>,
    chunks: Vec<Chunk>,
    scope: Scope,
    /// Blanks and comments before this line are in a chunk already.
    kept: usize,
    /// The line that ends the document, where nothing but blanks and comments follows.
    end: Option<usize>,
    /// The indentation of entries that are read already.
    taken_indent: usize,
    /// Some of these do not stand where peers do.
    is_misplaced: bool,
}

impl Splitter<'_> {
    fn line(&mut self, index: usize) {
        match self.lines[index].kind {
            LineKind::Blank | LineKind::Comment => {}
            LineKind::Continuation => self.join(index),
            LineKind::Content => self.content(index),
            LineKind::Taken(taken) => self.taken(index, taken),
            LineKind::Rest => self.begin(index, Part::Garbage),
        }
    }

    fn taken(&mut self, index: usize, taken: Taken) {
        match self.scope {
            Scope::List(List::Peers, indent) if indent.is_none_or(|i| self.taken_indent <= i) => {
                let indent = indent.unwrap_or(self.taken_indent);
                self.scope = Scope::List(List::Peers, Some(indent));
                self.begin(index, Part::Run(taken));
            }
            Scope::Top | Scope::Key | Scope::List(..) => self.is_misplaced = true,
        }
    }

    fn content(&mut self, index: usize) {
        let line = &self.lines[index];
        let text = line.text(self.source);
        let rest = &text[line.indent..];
        let is_dash = rest == "-" || rest.starts_with("- ");
        match self.scope {
            _ if line.indent == 0 && !is_dash => self.top(index, text),
            Scope::List(list, indent) if is_dash => {
                let same = indent.is_none_or(|indent| line.indent <= indent)
                    || self.forced.contains(&index);
                if same {
                    self.scope = Scope::List(list, Some(indent.unwrap_or(line.indent)));
                    self.begin(index, Part::Item(list));
                } else {
                    self.join(index);
                }
            }
            Scope::List(_, Some(indent)) if line.indent > indent || text.starts_with('\t') => {
                self.join(index)
            }
            Scope::Key if is_dash && self.forced.contains(&index) => {
                self.scope = Scope::List(List::Peers, Some(line.indent));
                self.begin(index, Part::Item(List::Peers));
            }
            Scope::Key => self.join(index),
            Scope::Top if is_dash && rest.contains("public_key") => {
                self.scope = Scope::List(List::Peers, Some(line.indent));
                self.begin(index, Part::Item(List::Peers));
            }
            Scope::List(..) | Scope::Top => self.begin(index, Part::Garbage),
        }
    }

    /// A line at the left margin.
    fn top(&mut self, index: usize, text: &str) {
        let is_marker = self.end == Some(index)
            || (index_is_first(&self.chunks) && (text.starts_with("---") || text.starts_with('%')));
        let name = name_at(text, 0).map(|(name, _)| name);
        let list = name
            .as_deref()
            .and_then(|name| List::ALL.into_iter().find(|list| list.as_str() == name));
        let head = name
            .as_deref()
            .and_then(|name| Head::ALL.into_iter().find(|head| head.as_str() == name));
        let (part, scope) = match (list, head) {
            _ if is_marker => (Part::Text, Scope::Top),
            // No key begins like this; a damaged line of an entry may, and ends neither its list nor its neighbours.
            _ if matches!(self.scope, Scope::List(_, Some(_)))
                && text.starts_with(['!', '&', '*', '@', '`', '|', '>']) =>
            {
                (Part::Garbage, self.scope)
            }
            (Some(list), _) => (Part::List(list), Scope::List(list, None)),
            (_, Some(head)) => (Part::Head(head), Scope::Key),
            _ if name.is_some() => (Part::Text, Scope::Key),
            _ => (Part::Garbage, Scope::Top),
        };
        self.scope = scope;
        self.begin(index, part);
    }

    /// Begins a chunk; blanks and comments before it are kept.
    fn begin(&mut self, index: usize, part: Part) {
        self.keep_until(index);
        self.chunks.push(Chunk {
            part,
            lines: index..index + 1,
        });
        self.kept = index + 1;
    }

    /// Makes the line, with the blanks and comments before it, part of the last chunk.
    fn join(&mut self, index: usize) {
        match self.chunks.last_mut() {
            Some(chunk) => {
                chunk.lines.end = index + 1;
                self.kept = index + 1;
            }
            None => self.begin(index, Part::Garbage),
        }
    }

    fn keep_until(&mut self, index: usize) {
        if self.kept < index {
            self.chunks.push(Chunk {
                part: Part::Text,
                lines: self.kept..index,
            });
            self.kept = index;
        }
    }
}

/// What YAML ends a document with.
const END: &str = "...";

/// True for the line that ends a document.
pub(crate) fn is_end_marker(line: &str) -> bool {
    line.strip_prefix(END).is_some_and(|rest| {
        rest.trim().is_empty()
            || rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#')
    })
}

/// True for a line that belongs to the document and not to what it says: a directive, a start, an end.
pub(crate) fn is_marker(line: &str) -> bool {
    line.starts_with('%') || line.trim_end() == "---" || is_end_marker(line)
}

fn end_marker(source: &str, lines: &[Line]) -> Option<usize> {
    let is_said = |line: &Line| !matches!(line.kind, LineKind::Blank | LineKind::Comment);
    let last = lines.iter().rposition(is_said)?;
    let line = &lines[last];
    (line.kind == LineKind::Content && is_end_marker(line.text(source))).then_some(last)
}

fn index_is_first(chunks: &[Chunk]) -> bool {
    chunks.iter().all(|chunk| chunk.part == Part::Text)
}

/// The elements of a flow collection, given the text after its opening bracket; `None` when it never closes. Comments
/// between elements come as elements of their own. The second value is what follows the closing bracket.
pub(crate) fn flow_elements(text: &str) -> Option<(Vec<&str>, &str)> {
    let (mut depth, mut quote, mut start, mut before) = (0_usize, None, 0, ',');
    let mut elements = Vec::new();
    let mut chars = text.char_indices();
    let push = |elements: &mut Vec<_>, range: Range<usize>| {
        elements.extend(Some(text[range].trim()).filter(|text| !text.is_empty()));
    };
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '#') if before.is_whitespace() => {
                let end = text[at..].find('\n').map_or(text.len(), |len| at + len);
                if depth == 0 && text[start..at].trim().is_empty() {
                    push(&mut elements, at..end);
                    start = end;
                }
                chars
                    .by_ref()
                    .take_while(|(next, _)| *next + 1 < end)
                    .for_each(drop);
            }
            (None, '"' | '\'') if before.is_whitespace() || "[{,:'".contains(before) => {
                quote = Some(c)
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') if depth == 0 => {
                push(&mut elements, start..at);
                return Some((elements, &text[at + 1..]));
            }
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                push(&mut elements, start..at);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(source: &str) -> Vec<(Part, String)> {
        let split = split(source, &BTreeSet::new());
        let whole: String = split
            .chunks
            .iter()
            .map(|chunk| &source[split.bytes(&chunk.lines)])
            .collect();
        assert_eq!(whole, source, "nothing is lost or doubled");
        split
            .chunks
            .iter()
            .map(|chunk| (chunk.part, source[split.bytes(&chunk.lines)].to_owned()))
            .collect()
    }

    #[test]
    fn a_file_is_its_parts_and_comments_between_entries_belong_to_nobody() {
        let source = "# top\n---\nversion: 1\n\npeers: # list\n# a\n- public_key: A\n  # in a\n  addresses:\n  - x\n  # after a\n\n\
                      -\n  public_key: B\n\"bans\": []\nother:\n- 1\n  # x\n- 2\n";
        let expected = [
            (Part::Text, "# top\n"),
            (Part::Text, "---\n"),
            (Part::Head(Head::Version), "version: 1\n"),
            (Part::Text, "\n"),
            (Part::List(List::Peers), "peers: # list\n"),
            (Part::Text, "# a\n"),
            (
                Part::Item(List::Peers),
                "- public_key: A\n  # in a\n  addresses:\n  - x\n",
            ),
            (Part::Text, "  # after a\n\n"),
            (Part::Item(List::Peers), "-\n  public_key: B\n"),
            (Part::List(List::Bans), "\"bans\": []\n"),
            (Part::Text, "other:\n- 1\n  # x\n- 2\n"),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(part, text)| (part, text.to_owned()))
            .collect();
        assert_eq!(parts(source), expected);
    }

    #[test]
    fn what_belongs_to_nothing_is_garbage_except_entries_without_their_list() {
        let garbage = parts("garbage\n  more\npeers:\n  stray: 1\n  - a: 1\n nonsense\n");
        let kinds: Vec<Part> = garbage.iter().map(|(part, _)| *part).collect();
        let item = Part::Item(List::Peers);
        assert_eq!(
            kinds,
            [
                Part::Garbage,
                Part::Garbage,
                Part::List(List::Peers),
                Part::Garbage,
                item,
                Part::Garbage
            ]
        );
        let headless = parts("ess: x y\n  - public_key: A\n    name: x\n");
        assert_eq!(
            headless.len(),
            1,
            "an unknown key owns what is indented below it"
        );
        let headless = parts("\u{fffd}\n  - public_key: A\n    name: x\n  - public_key: B\n");
        assert_eq!(headless.iter().filter(|(part, _)| *part == item).count(), 2);
    }

    #[test]
    fn flow_collections_come_apart_at_their_own_commas() {
        let (elements, rest) =
            flow_elements(" {a: [1, 2], b: \"x, ]\"},\n # c, d\n 'it''s, }' , e#f ] # g").unwrap();
        assert_eq!(
            elements,
            ["{a: [1, 2], b: \"x, ]\"}", "# c, d", "'it''s, }'", "e#f"]
        );
        assert_eq!(rest, " # g");
        assert_eq!(flow_elements("1, 2"), None);
        assert_eq!(flow_elements("]").unwrap().0.len(), 0);
        assert_eq!(flow_elements("\"a\\\"],\"]").unwrap().0, ["\"a\\\"],\""]);
    }
}
