//! Collections in brackets and braces, which may stretch over several lines.

use super::{Place, Scanner, offset_in};

/// A collection in brackets or braces that is still open.
struct Bracket {
    place: Place,
    is_map: bool,
    index: usize,
    /// The entry being read: the element, or the value of the key that has been read.
    entry: Option<Place>,
}

impl Scanner<'_> {
    /// Reads the collection that `text` begins with, and the rest of its last line.
    pub(super) fn flow(&mut self, text: &str) {
        self.position = offset_in(self.text, text);
        let mut open: Vec<Bracket> = Vec::new();
        while let Some(c) = self.text[self.position..].chars().next() {
            match c {
                '\n' => {
                    self.line += 1;
                    self.position += 1;
                }
                '[' | '{' => {
                    let place = open
                        .last_mut()
                        .map_or(self.open, |bracket| self.found.enter(bracket, self.line));
                    open.push(Bracket {
                        place,
                        is_map: c == '{',
                        index: 0,
                        entry: None,
                    });
                    self.position += 1;
                }
                ']' | '}' => {
                    open.pop();
                    self.position += 1;
                    if open.is_empty() {
                        break;
                    }
                }
                ',' => {
                    if let Some(bracket) = open.last_mut() {
                        bracket.index += 1;
                        bracket.entry = None;
                    }
                    self.position += 1;
                }
                '#' => self.skip_remark(),
                _ if c.is_whitespace() || c == ':' => self.position += c.len_utf8(),
                _ => self.token(c, open.last_mut()),
            }
        }
        self.next_line();
    }

    /// Reads one scalar inside of brackets.
    fn token(&mut self, first: char, bracket: Option<&mut Bracket>) {
        let (start, line) = (self.position, self.line);
        let text = self.text;
        let name = if matches!(first, '"' | '\'') {
            self.quoted(first);
            text[start..self.position].trim_matches(first)
        } else {
            let rest = &text[start..];
            let mut previous = first;
            let end = rest.char_indices().skip(1).find(|&(index, c)| {
                let ends_key = c == ':'
                    && rest[index + 1..]
                        .chars()
                        .next()
                        .is_none_or(|next| " \t\r\n,[]{}".contains(next));
                let ends_text = matches!(c, ',' | '[' | ']' | '{' | '}' | '\n')
                    || (c == '#' && previous.is_whitespace());
                previous = c;
                ends_key || ends_text
            });
            self.position += end.map_or(rest.len(), |(index, _)| index);
            text[start..self.position].trim_end()
        };
        let Some(bracket) = bracket else { return };
        if matches!(first, '&' | '*' | '!') && (bracket.entry.is_none() || bracket.is_map) {
            self.found.marks.push((line, first));
        }
        match (bracket.is_map, bracket.entry) {
            (true, None) => {
                let place = bracket.place.key(name);
                self.found.record(place, line);
                bracket.entry = Some(place);
            }
            (false, None) => {
                self.found.enter(bracket, line);
            }
            (_, Some(_)) => {}
        }
    }

    fn skip_remark(&mut self) {
        let rest = &self.text.as_bytes()[self.position..];
        self.position += rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len());
    }
}

impl super::Lines {
    /// The place of the value that begins here in `bracket`.
    fn enter(&mut self, bracket: &mut Bracket, line: usize) -> Place {
        let place = bracket.entry.unwrap_or_else(|| {
            let place = bracket.place.item(bracket.index);
            self.record(place, line);
            place
        });
        bracket.entry = Some(place);
        place
    }
}
