//! Lists of peers as CSV (RFC 4180).

use crate::peers::Entry;

/// The columns, in the order they are written. Read in any order; only the first is needed.
const COLUMNS: [&str; 5] = ["public_key", "addresses", "name", "note", "pinned"];

/// Entries as CSV.
pub(super) fn write(entries: &[Entry]) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for entry in entries {
        let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
        let fields = [
            entry.key.to_string(),
            addresses.join(" "),
            entry.name.clone().unwrap_or_default(),
            entry.note.clone().unwrap_or_default(),
            entry.pinned.to_string(),
        ];
        text.push_str(&fields.map(|field| quoted(&field)).join(","));
        text.push('\n');
    }
    text
}

fn quoted(field: &str) -> String {
    // A spreadsheet takes a field that begins like this for a formula.
    let is_formula = field.starts_with(['=', '+', '-', '@']);
    if is_formula || field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Reads CSV: every entry, or every problem with its line.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<(usize, String)>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let mut rows = rows(text).into_iter();
    let Some((line, header)) = rows.next() else {
        return (entries, problems);
    };
    let header: Vec<String> = header
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect();
    for name in &header {
        if !COLUMNS.contains(&name.as_str()) {
            let known = COLUMNS.join(", ");
            problems.push((
                line,
                format!("no column is called {name:?}; the columns are {known}"),
            ));
        }
    }
    if !header.iter().any(|name| name == COLUMNS[0]) {
        problems.push((
            line,
            "the first line names the columns; public_key is missing".to_owned(),
        ));
    }
    if !problems.is_empty() {
        return (entries, problems);
    }
    for (line, fields) in rows {
        let field = |name: &str| {
            let at = header.iter().position(|column| column == name)?;
            fields
                .get(at)
                .map(|field| field.trim())
                .filter(|field| !field.is_empty())
        };
        match entry(field, fields.len(), header.len()) {
            Ok(entry) => entries.push(entry),
            Err(reason) => problems.push((line, reason)),
        }
    }
    (entries, problems)
}

fn entry<'a>(
    field: impl Fn(&str) -> Option<&'a str>,
    width: usize,
    columns: usize,
) -> Result<Entry, String> {
    if width != columns {
        return Err(format!("{width} fields, expected {columns}"));
    }
    let pinned = match field("pinned") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err("pinned is neither true nor false".to_owned()),
    };
    let addresses: Vec<&str> = field("addresses")
        .unwrap_or_default()
        .split([' ', ';'])
        .filter(|address| !address.is_empty())
        .collect();
    let identity = field(COLUMNS[0]).ok_or("public_key is missing")?;
    Entry::new(identity, &addresses, field("name"), field("note"), pinned)
}

/// The rows with the line each begins on; empty lines are left out.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start, mut is_quoted) = (1, 1, false);
    let mut letters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(std::mem::take(&mut field)),
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut field));
                push(&mut rows, start, std::mem::take(&mut row));
            }
            '\r' if !is_quoted => {}
            other => field.push(other),
        }
        if letter == '\n' {
            line += 1;
            if !is_quoted {
                start = line;
            }
        }
    }
    row.push(field);
    push(&mut rows, start, row);
    rows
}

fn push(rows: &mut Vec<(usize, Vec<String>)>, line: usize, row: Vec<String>) {
    if row.iter().any(|field| !field.trim().is_empty()) {
        rows.push((line, row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    #[test]
    fn what_is_written_reads_back_whatever_the_names_hold() {
        let entries: Vec<Entry> = (1..)
            .zip([
                None,
                Some("a, \"b\""),
                Some("=1+1"),
                Some("two\nlines"),
                Some("plain"),
            ])
            .map(|(n, name)| {
                let key = test_key(n).to_string();
                Entry::new(
                    &key,
                    &["/ip4/10.0.0.1/tcp/1", "/dns/a.example/tcp/2"],
                    name,
                    None,
                    n % 2 == 0,
                )
                .unwrap()
            })
            .collect();
        let (read, problems) = read(&write(&entries));
        assert_eq!((read, problems), (entries, Vec::new()));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let key = test_key(1);
        let text =
            format!("name,public_key\n\nalice,{key}\r\nbob,nonsense\n\"two\nlines\"\ncarol,\n");
        let (entries, problems) = read(&text);
        assert_eq!(entries.len(), 1);
        let lines: Vec<usize> = problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [4, 5, 7], "{problems:?}");
        assert_eq!(
            read("name,colour\n").1.len(),
            2,
            "a bad header is told at once"
        );
        assert_eq!(read("").1, []);
    }
}
