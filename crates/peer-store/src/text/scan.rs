//! Where the lines of a YAML text begin and what they are: the lexical half of YAML that splitting and guarding need.
//!
//! This is no YAML parser. It knows quotes, flow brackets, block scalars and comments well enough to tell a line that
//! starts something from a line that continues something, in one pass and in linear time, for any input.

use std::collections::BTreeSet;
use std::ops::Range;

/// How often a quote or bracket that never closes may be given up on before multi-line ones are not followed at all.
/// Each time costs one pass over the rest of the text, so this bounds what a hostile file can cost.
const MAX_RESTARTS: usize = 8;

/// Most lines that are told apart, beside those of entries that are taken whole: more than the largest file has
/// whose lines are as long as those of an entry. What follows is taken for one line that says nothing.
const MAX_LINES: usize = 2_500_000;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Nothing but blanks.
    Blank,
    /// Nothing but a comment.
    Comment,
    /// Starts something.
    Content,
    /// Lies within a quoted scalar, a flow collection or a block scalar that an earlier line began.
    Continuation,
    /// Whole entries, which somebody else has read already.
    Taken(Taken),
    /// All that follows too many lines.
    Rest,
}

/// Entries that are not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many entries.
    pub(crate) entries: usize,
    /// How many lines they have.
    pub(crate) lines: usize,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its bytes, line end included.
    pub(crate) range: Range<usize>,
    /// Leading blanks, tabs counted as one.
    pub(crate) indent: usize,
    /// What it is.
    pub(crate) kind: LineKind,
}

impl Line {
    /// Its text without the line end.
    pub(crate) fn text<'a>(&self, source: &'a str) -> &'a str {
        source[self.range.clone()].trim_end_matches(['\n', '\r'])
    }
}

/// A scanned text.
#[derive(Debug)]
pub(crate) struct Scan {
    /// All lines.
    pub(crate) lines: Vec<Line>,
    /// The deepest flow nesting.
    pub(crate) depth: usize,
    /// The first line with an anchor, an alias or a tag.
    pub(crate) property: Option<usize>,
    /// The first line with a quote or bracket that never closes.
    pub(crate) unclosed: Option<usize>,
}

/// Scans `source`. Lines in `forced` start something even where a quote seems open.
pub(crate) fn scan(source: &str, forced: &BTreeSet<usize>) -> Scan {
    scan_around(source, forced, &mut |_| None)
}

/// What the reader of whole entries took from the start of a text: its bytes and its lines.
pub(crate) type Piece = (usize, usize);

/// Scans what `take` leaves. It is asked wherever a line starts outside of quotes, brackets and block scalars.
pub(crate) fn scan_around(
    source: &str,
    forced: &BTreeSet<usize>,
    take: &mut impl FnMut(&str) -> Option<Piece>,
) -> Scan {
    let mut scan = Scan {
        lines: Vec::new(),
        depth: 0,
        property: None,
        unclosed: None,
    };
    let mut lexer = Lexer::default();
    let (mut opened, mut restarts, mut at) = (None, 0, 0);
    loop {
        while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
            let index = scan.lines.len();
            if forced.contains(&index) || (restarts > MAX_RESTARTS && lexer.is_open()) {
                if lexer.is_open() {
                    scan.unclosed = scan.unclosed.or(opened);
                }
                lexer = Lexer::default();
            }
            if index >= MAX_LINES {
                scan.lines.push(Line {
                    range: at..source.len(),
                    indent: 0,
                    kind: LineKind::Rest,
                });
                return scan;
            }
            if lexer.mode == Mode::Block
                && let Some(piece) = take(rest)
            {
                at = scan.skip(at, piece);
                continue;
            }
            let range = at..rest.find('\n').map_or(source.len(), |end| at + end + 1);
            at = range.end;
            let text = source[range.clone()].trim_end_matches(['\n', '\r']);
            let indent = text.len() - text.trim_start_matches([' ', '\t']).len();
            let was_open = lexer.is_open();
            let kind = lexer.line(text, indent);
            if !was_open && lexer.is_open() {
                opened = Some(index);
            }
            scan.depth = scan.depth.max(lexer.deepest);
            if std::mem::take(&mut lexer.property) {
                scan.property = scan.property.or(Some(index));
            }
            scan.lines.push(Line {
                range,
                indent,
                kind,
            });
        }
        let Some(line) = opened.filter(|_| lexer.is_open()) else {
            return scan;
        };
        scan.unclosed = scan.unclosed.or(Some(line));
        restarts += 1;
        lexer = Lexer::default();
        scan.lines.truncate(line + 1);
        at = scan
            .lines
            .last()
            .map_or(source.len(), |last| last.range.end);
        if at >= source.len() {
            return scan;
        }
    }
}

impl Scan {
    /// Notes that a piece of the text was taken; returns where it goes on.
    fn skip(&mut self, at: usize, (bytes, lines): Piece) -> usize {
        let end = at + bytes;
        match self.lines.last_mut() {
            Some(Line {
                range,
                kind: LineKind::Taken(taken),
                ..
            }) => {
                range.end = end;
                taken.entries += 1;
                taken.lines += lines;
            }
            _ => self.lines.push(Line {
                range: at..end,
                indent: 0,
                kind: LineKind::Taken(Taken { entries: 1, lines }),
            }),
        }
        end
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Block,
    /// Within a quoted scalar; true for double quotes.
    Quoted(bool),
    Flow,
    /// Within a block scalar whose owner is indented this far.
    Literal(usize),
}

#[derive(Debug, Default)]
struct Lexer {
    mode: Mode,
    /// Open flow brackets.
    depth: usize,
    deepest: usize,
    /// A scalar may start here.
    fresh: bool,
    /// Where the key or dash that owns the next value stands.
    owner: usize,
    /// Where the scalar being read started.
    scalar: usize,
    property: bool,
    /// The byte before was the end of a quoted scalar.
    unquoted: bool,
}

impl Lexer {
    const fn is_open(&self) -> bool {
        matches!(self.mode, Mode::Quoted(_) | Mode::Flow)
    }

    fn line(&mut self, text: &str, indent: usize) -> LineKind {
        let blank = indent == text.len();
        if let Mode::Literal(owner) = self.mode {
            if blank || indent > owner {
                return LineKind::Continuation;
            }
            self.mode = Mode::Block;
        }
        let kind = match (self.is_open(), blank) {
            (true, _) => LineKind::Continuation,
            (false, true) => return LineKind::Blank,
            (false, false) if text[indent..].starts_with('#') => return LineKind::Comment,
            (false, false) => {
                self.fresh = true;
                self.owner = indent;
                LineKind::Content
            }
        };
        if kind == LineKind::Content && text.bytes().all(is_plain) {
            // Whatever these bytes say, they open nothing; the next line that starts something starts afresh.
            return kind;
        }
        self.bytes(text.as_bytes(), if self.is_open() { 0 } else { indent });
        kind
    }

    fn bytes(&mut self, line: &[u8], start: usize) {
        let mut at = start;
        while let Some(byte) = line.get(at) {
            let next = line.get(at + 1).copied();
            let after_blank = at == 0 || line.get(at - 1).is_some_and(|b| is_blank(*b));
            at += match self.mode {
                Mode::Quoted(double) => self.quoted(double, *byte, next),
                Mode::Flow if *byte == b'#' && after_blank => return,
                Mode::Block if *byte == b'#' && after_blank => return,
                Mode::Flow => self.flow(*byte, next),
                Mode::Block => self.block(line, at, *byte, next),
                Mode::Literal(_) => return,
            };
        }
    }

    const fn quoted(&mut self, double: bool, byte: u8, next: Option<u8>) -> usize {
        match (double, byte, next) {
            (true, b'\\', _) | (false, b'\'', Some(b'\'')) => return 2,
            (true, b'"', _) | (false, b'\'', _) => {
                self.mode = if self.depth > 0 {
                    Mode::Flow
                } else {
                    Mode::Block
                };
                self.fresh = false;
                self.unquoted = true;
            }
            _ => {}
        }
        1
    }

    fn flow(&mut self, byte: u8, next: Option<u8>) -> usize {
        let unquoted = std::mem::take(&mut self.unquoted);
        match byte {
            b'[' | b'{' => self.open_flow(),
            b']' | b'}' => {
                self.depth -= 1;
                self.fresh = false;
                if self.depth == 0 {
                    self.mode = Mode::Block;
                }
            }
            b',' => self.fresh = true,
            b':' if next.is_none_or(|b| is_blank(b) || b",[]{}".contains(&b)) || unquoted => {
                self.fresh = true
            }
            b if is_blank(b) => {}
            _ if self.fresh => self.start_scalar(byte),
            _ => {}
        }
        1
    }

    fn block(&mut self, line: &[u8], at: usize, byte: u8, next: Option<u8>) -> usize {
        let ends_word = next.is_none_or(is_blank);
        match byte {
            b if is_blank(b) => {}
            b'-' | b'?' if self.fresh && ends_word => self.owner = at,
            b'[' | b'{' if self.fresh => self.open_flow(),
            b'|' | b'>' if self.fresh && is_literal_header(&line[at + 1..]) => {
                self.mode = Mode::Literal(self.owner);
            }
            b':' if !self.fresh && ends_word => {
                self.owner = self.scalar;
                self.fresh = true;
            }
            _ if self.fresh => {
                self.scalar = at;
                self.start_scalar(byte);
            }
            _ => {}
        }
        1
    }

    fn open_flow(&mut self) {
        self.mode = Mode::Flow;
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.fresh = true;
    }

    const fn start_scalar(&mut self, byte: u8) {
        match byte {
            b'"' | b'\'' => self.mode = Mode::Quoted(byte == b'"'),
            b'&' | b'*' | b'!' => self.property = true,
            _ => {}
        }
        self.fresh = false;
    }
}

/// True for bytes that neither open anything nor have a meaning that outlasts their line.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'/' | b'_' | b'.' | b'+' | b'=' | b'-' | b':' | b'@'
        )
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What may follow `|` or `>` on the line that begins a block scalar.
fn is_literal_header(rest: &[u8]) -> bool {
    let indicators = rest
        .iter()
        .take_while(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-'))
        .count();
    let rest = &rest[indicators..];
    let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
    indicators <= 2 && (rest.len() == blanks || (blanks > 0 && rest[blanks] == b'#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> String {
        let scan = scan(source, &BTreeSet::new());
        assert_eq!(
            scan.lines
                .iter()
                .map(|line| line.range.len())
                .sum::<usize>(),
            source.len()
        );
        let letter = |line: &Line| match line.kind {
            LineKind::Blank => '_',
            LineKind::Comment => '#',
            LineKind::Content => 'c',
            LineKind::Continuation => '+',
            LineKind::Taken(_) => 't',
            LineKind::Rest => 'r',
        };
        scan.lines.iter().map(letter).collect()
    }

    #[test]
    fn quotes_brackets_and_block_scalars_continue_over_lines() {
        assert_eq!(kinds("# a\n\na: b\n  # c\n"), "#_c#");
        assert_eq!(kinds("a: \"x\n- y\n\n\" # end\nb: 1\n"), "c+++c");
        assert_eq!(kinds("a: 'it''s\n- y'\nb: 1\n"), "c+c");
        assert_eq!(
            kinds("a: [1,\n- 2, # ]\n]\nb: {x: '}',\n y: 2}\nc: 1\n"),
            "c++c+c"
        );
        assert_eq!(
            kinds("a:\n  - note: |\n      - b\n\n      # c\n    d: >-\n     x\n    # y\n"),
            "cc+++c+#"
        );
        assert_eq!(kinds("- |2-  # c\n x\nb\n"), "c+c");
    }

    #[test]
    fn quote_marks_inside_plain_scalars_open_nothing() {
        assert_eq!(kinds("a: it's\nb: 5\"\nc: x#y [ {\nd: a|\n"), "cccc");
        assert_eq!(kinds("a: \"x\\\"\ny\"\nb: 'c'\n"), "c+c");
        assert_eq!(kinds("\"k\": |\n x\n'l': {\"a\":\"b\"}\nm: >x\n"), "c+cc");
    }

    #[test]
    fn a_quote_that_never_closes_spoils_its_own_line_only() {
        let source = "a: \"x\nb: 1\nc: [\nd: 2\n";
        assert_eq!(kinds(source), "cccc");
        assert_eq!(scan(source, &BTreeSet::new()).unclosed, Some(0));
        let hostile = "a: \"x\n".repeat(1001);
        assert_eq!(scan(&hostile, &BTreeSet::new()).lines.len(), 1001);
    }

    #[test]
    fn more_lines_than_anybody_writes_are_one() {
        for (more, last) in [
            (0, LineKind::Blank),
            (1, LineKind::Rest),
            (2, LineKind::Rest),
        ] {
            let source = "\n".repeat(MAX_LINES + more);
            let lines = scan(&source, &BTreeSet::new()).lines;
            assert_eq!(lines.len(), MAX_LINES + more.min(1));
            assert_eq!(lines.last().map(|line| line.kind), Some(last));
            assert_eq!(lines.last().map(|line| line.range.end), Some(source.len()));
        }
    }

    #[test]
    fn a_forced_line_starts_something_inside_an_open_quote() {
        let source = "a: \"x\nb: \"y\"\n";
        assert_eq!(kinds(source), "c+");
        let forced = scan(source, &BTreeSet::from([1]));
        assert_eq!(forced.lines[1].kind, LineKind::Content);
        assert_eq!(forced.unclosed, Some(0));
    }

    #[test]
    fn nesting_and_properties_are_seen_where_they_count() {
        let seen = scan("a: [[{b: [1]}]]\nc: 'x &y'\nd: a&b *c\n", &BTreeSet::new());
        assert_eq!((seen.depth, seen.property), (4, None));
        for bad in [
            "a: &x 1\n",
            "a: *x\n",
            "a: [b, *c]\n",
            "- !tag x\n",
            "a: {b: !x 1}\n",
        ] {
            assert_eq!(scan(bad, &BTreeSet::new()).property, Some(0), "{bad}");
        }
    }
}
