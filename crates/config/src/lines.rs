//! Which key stands on which line.
//!
//! The YAML parser tells values, not places. This pass walks the same text by indentation and remembers where every key
//! and list element begins. It decides nothing: where it loses track, a problem is told with the line of the nearest
//! enclosing key. It is linear in the length of the text and never fails.

mod flow;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A place in the tree of keys, for looking up its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(u64);

impl Place {
    /// The top of the file.
    pub(crate) const ROOT: Self = Self(0);

    /// The value of `key` in the mapping at this place.
    pub(crate) fn key(self, key: &str) -> Self {
        self.child(&(0_u8, key))
    }

    /// Element `index` of the list at this place.
    pub(crate) fn item(self, index: usize) -> Self {
        self.child(&(1_u8, index))
    }

    // Two places may share a hash; the worst that follows is a wrong line number in a message.
    fn child(self, step: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.0, step).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What this pass found.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    places: HashMap<Place, VecDeque<usize>>,
    /// Where an anchor, alias or tag stands, and its first character.
    pub(crate) marks: Vec<(usize, char)>,
    /// Where the second document begins.
    pub(crate) second_document: Option<usize>,
    /// Lines indented with a tab.
    pub(crate) tabs: Vec<usize>,
}

impl Lines {
    /// Reads `text`.
    pub(crate) fn of(text: &str) -> Self {
        let mut scanner = Scanner {
            text,
            position: 0,
            line: 1,
            frames: Vec::new(),
            open: Place::ROOT,
            found: Self::default(),
        };
        scanner.run();
        scanner.found
    }

    /// The line of the next key at `place`: the first call gives the first one, a later call its duplicate.
    pub(crate) fn take(&mut self, place: Place) -> Option<usize> {
        self.places.get_mut(&place).and_then(VecDeque::pop_front)
    }

    fn record(&mut self, place: Place, line: usize) {
        self.places.entry(place).or_default().push_back(line);
    }
}

/// A block mapping or list that is still open.
struct Frame {
    column: usize,
    place: Place,
    /// The next element of a list; `None` for a mapping.
    next: Option<usize>,
}

struct Scanner<'a> {
    text: &'a str,
    /// The byte after the part that has been read; always at the beginning of a line outside of `value`.
    position: usize,
    line: usize,
    frames: Vec<Frame>,
    /// The place whose value comes next.
    open: Place,
    found: Lines,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        let mut begun = false;
        while self.position < self.text.len() {
            let whole = self.current_line();
            let content = whole.trim_start_matches(' ');
            let column = whole.len() - content.len();
            if content.starts_with('\t')
                && !content.trim().is_empty()
                && !content.trim_start().starts_with('#')
            {
                self.found.tabs.push(self.line);
            }
            let bare = content.trim_start();
            if bare.is_empty()
                || bare.starts_with('#')
                || (!begun && column == 0 && bare.starts_with('%'))
            {
                self.next_line();
            } else if let (0, Some(rest)) = (column, document_marker(content)) {
                if begun && content.starts_with('-') {
                    self.found.second_document.get_or_insert(self.line);
                }
                begun = begun || !without_remark(rest).is_empty();
                self.frames.clear();
                self.open = Place::ROOT;
                self.entry(column + content.len() - rest.len(), rest);
            } else {
                begun = true;
                self.entry(column, content);
            }
        }
    }

    /// Reads one line of block style, and the lines that belong to the value on it.
    fn entry(&mut self, mut column: usize, mut rest: &'a str) {
        while let Some(after) = rest.strip_prefix('-').filter(|after| begins_value(after)) {
            self.close(column, true);
            let place = self.next_element(column);
            self.found.record(place, self.line);
            self.open = place;
            let trimmed = after.trim_start();
            if without_remark(trimmed).is_empty() {
                return self.next_line();
            }
            column += rest.len() - trimmed.len();
            rest = trimmed;
        }
        rest = self.skip_marks(rest);
        match split_key(rest) {
            Some((key, value)) => {
                self.close(column, false);
                let top = self
                    .frames
                    .last()
                    .filter(|frame| frame.column == column && frame.next.is_none());
                let map = top.map(|frame| frame.place);
                let map = map.unwrap_or_else(|| {
                    self.frames.push(Frame {
                        column,
                        place: self.open,
                        next: None,
                    });
                    self.open
                });
                self.open = map.key(key);
                self.found.record(self.open, self.line);
                self.value(value, Some(column));
            }
            None => {
                let parent = self.frames.last().map(|frame| frame.column);
                self.value(rest, parent);
            }
        }
    }

    /// Closes every collection that a line at `column` is not part of.
    fn close(&mut self, column: usize, is_list: bool) {
        while self.frames.last().is_some_and(|frame| {
            frame.column > column || (frame.column == column && frame.next.is_some() && !is_list)
        }) {
            self.frames.pop();
        }
    }

    /// The place of the next element of the list at `column`, which begins here unless it is open.
    fn next_element(&mut self, column: usize) -> Place {
        if let Some(Frame {
            place,
            next: Some(next),
            ..
        }) = self.frames.last_mut().filter(|f| f.column == column)
        {
            *next += 1;
            return place.item(*next - 1);
        }
        let place = self.open;
        self.frames.push(Frame {
            column,
            place,
            next: Some(1),
        });
        place.item(0)
    }

    /// Reads a value that begins on this line; its further lines are indented more than `parent`.
    fn value(&mut self, text: &'a str, parent: Option<usize>) {
        let text = self.skip_marks(text);
        match text.chars().next() {
            Some('[' | '{') => self.flow(text),
            Some(quote @ ('"' | '\'')) => {
                self.position = offset_in(self.text, text);
                self.quoted(quote);
                self.next_line();
            }
            Some('#') | None => self.next_line(),
            Some(_) => {
                self.next_line();
                self.skip_deeper(parent);
            }
        }
    }

    /// Skips the further lines of a plain or block scalar.
    fn skip_deeper(&mut self, parent: Option<usize>) {
        while self.position < self.text.len() {
            let line = self.current_line();
            let indent = line.len() - line.trim_start_matches(' ').len();
            let deeper = parent.is_none_or(|parent| indent > parent);
            if !line.trim().is_empty()
                && (!deeper || (indent == 0 && document_marker(line).is_some()))
            {
                break;
            }
            self.next_line();
        }
    }

    /// Skips a quoted text; `position` stands on its opening quote. Lines are counted.
    fn quoted(&mut self, quote: char) {
        let bytes = self.text.as_bytes();
        self.position += 1;
        while let Some(&byte) = bytes.get(self.position) {
            self.position += 1;
            match byte {
                b'\n' => self.line += 1,
                b'\\' if quote == '"' => {
                    self.line += usize::from(bytes.get(self.position) == Some(&b'\n'));
                    self.position += 1;
                }
                _ if byte == quote as u8 => {
                    if quote == '"' || bytes.get(self.position) != Some(&b'\'') {
                        break;
                    }
                    self.position += 1;
                }
                _ => {}
            }
        }
        self.position = self.position.min(bytes.len());
    }

    /// Notes and skips anchors, aliases and tags in front of a value.
    fn skip_marks(&mut self, text: &'a str) -> &'a str {
        let mut rest = text;
        while let Some(mark @ ('&' | '*' | '!')) = rest.chars().next() {
            self.found.marks.push((self.line, mark));
            rest = rest
                .find(char::is_whitespace)
                .map_or("", |end| rest[end..].trim_start());
        }
        rest
    }

    /// The line at `position` without its end.
    fn current_line(&self) -> &'a str {
        let rest = &self.text.as_bytes()[self.position..];
        let len = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
        self.text[self.position..self.position + len].trim_end_matches('\r')
    }

    /// Moves behind the end of the line at `position`.
    fn next_line(&mut self) {
        let rest = &self.text.as_bytes()[self.position..];
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(len) => {
                self.position += len + 1;
                self.line += 1;
            }
            None => self.position = self.text.len(),
        }
    }
}

/// What follows `---` or `...` at the beginning of a line.
fn document_marker(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."))?;
    begins_value(rest).then(|| rest.trim_start())
}

/// True when an indicator ends here: white space or the end of the line follows.
fn begins_value(after: &str) -> bool {
    after.is_empty() || after.starts_with([' ', '\t'])
}

fn without_remark(text: &str) -> &str {
    if text.starts_with('#') { "" } else { text }
}

/// Splits `key: value`, or tells that the text is no key.
fn split_key(text: &str) -> Option<(&str, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &text[1..];
        let end = closing_quote(inner, quote)?;
        let after = inner[end + 1..].trim_start().strip_prefix(':')?;
        return begins_value(after).then(|| (&inner[..end], after.trim_start()));
    }
    if text.starts_with(['[', '{', '#', '|', '>']) {
        return None;
    }
    for (index, _) in text.match_indices([':', '#']) {
        let after = &text[index + 1..];
        if text[index..].starts_with('#') {
            if text[..index].ends_with([' ', '\t']) {
                return None;
            }
        } else if begins_value(after) {
            return Some((text[..index].trim_end(), after.trim_start()));
        }
    }
    None
}

fn closing_quote(inner: &str, quote: char) -> Option<usize> {
    let mut skip = false;
    for (index, c) in inner.char_indices() {
        if skip {
            skip = false;
        } else if c == quote && quote == '\'' && inner[index + 1..].starts_with('\'')
            || c == '\\' && quote == '"'
        {
            skip = true;
        } else if c == quote {
            return Some(index);
        }
    }
    None
}

/// Where `part`, a part of `whole`, begins in it.
fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize)
        .saturating_sub(whole.as_ptr() as usize)
        .min(whole.len())
}

#[cfg(test)]
mod tests;
