//! Figures, read back out of the Markdown tables that the sections publish. What is not there exactly once is not there.

use std::time::Duration;

/// One table: its head, whose first cell is the title, and its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn title(&self) -> &str {
        self.head.first().map_or("", String::as_str)
    }
}

/// All tables of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables(Vec<Table>);

impl Tables {
    /// The tables in a text; every other line is passed over.
    pub(crate) fn read(markdown: &str) -> Self {
        let mut tables = Vec::new();
        let mut lines = markdown.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(head) = cells(line) else { continue };
            if lines.next_if(|line| is_rule(line)).is_none() {
                continue;
            }
            let mut rows = Vec::new();
            while let Some(row) = lines.peek().copied().and_then(cells) {
                rows.push(row);
                lines.next();
            }
            tables.push(Table { head, rows });
        }
        Self(tables)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.0.iter()
    }

    /// The table of this title, or the only one whose title goes on from it with a remark.
    pub(crate) fn table(&self, title: &str) -> Option<&Table> {
        only(&self.0, |table| table.title(), title)
    }

    /// A cell of the row of this name, or of the only one whose name goes on from it with a remark.
    pub(crate) fn cell(&self, title: &str, row: &str, column: usize) -> Option<&str> {
        let rows = &self.table(title)?.rows;
        let row = only(rows, |row| row.first().map_or("", String::as_str), row)?;
        row.get(column).map(String::as_str)
    }

    /// The whole name of the row that [`Tables::cell`] finds.
    pub(crate) fn name(&self, title: &str, row: &str) -> Option<&str> {
        self.cell(title, row, 0)
    }

    /// The rows of a table whose first cells are these.
    pub(crate) fn rows(&self, title: &str, first: &[&str]) -> Vec<&[String]> {
        let rows = self.table(title).map_or(&[][..], |table| &table.rows);
        let begins = |row: &&Vec<String>| {
            row.len() >= first.len() && row.iter().zip(first).all(|(cell, wanted)| cell == wanted)
        };
        rows.iter().filter(begins).map(Vec::as_slice).collect()
    }
}

/// The only one of this name; without one, the only one whose name is followed by a remark, after `,`, ` (` or `:`.
fn only<'a, T>(all: &'a [T], name: impl Fn(&'a T) -> &'a str, wanted: &str) -> Option<&'a T> {
    let one = |found: Vec<&'a T>| match found[..] {
        [one] => Some(one),
        _ => None,
    };
    let exact: Vec<&T> = all.iter().filter(|item| name(item) == wanted).collect();
    if exact.is_empty() {
        one(all
            .iter()
            .filter(|item| {
                let remark = name(item).strip_prefix(wanted);
                remark.is_some_and(|it| it.starts_with([',', ':']) || it.starts_with(" ("))
            })
            .collect())
    } else {
        one(exact)
    }
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect(),
    )
}

fn is_rule(line: &str) -> bool {
    cells(line).is_some_and(|cells| {
        let dashes = |cell: &String| cell.contains('-') && cell.trim_matches([':', '-']).is_empty();
        !cells.is_empty() && cells.iter().all(dashes)
    })
}

/// The number in a cell: times in seconds, memory in bytes, everything else as it is written. `None` for a unit that is
/// not known here.
pub(crate) fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim().replace(',', "");
    let end = cell
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+'))
        .unwrap_or(cell.len());
    let (value, unit) = cell.split_at(end);
    let value: f64 = value.parse().ok()?;
    let factor = match unit.trim() {
        "" | "s" | "B" | "%" | "% of a core" => 1.0,
        "ms" => 1e-3,
        "us" | "\u{b5}s" => 1e-6,
        "ns" => 1e-9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        _ => return None,
    };
    Some(value * factor)
}

/// The ends of a cell `LEAST to MOST`.
pub(crate) fn range(cell: &str) -> Option<(f64, f64)> {
    let (least, most) = cell.split_once(" to ")?;
    Some((number(least)?, number(most)?))
}

/// A time in seconds as tables show it.
pub(crate) fn seconds(value: f64) -> String {
    Duration::try_from_secs_f64(value).map_or_else(
        |_| value.to_string(),
        |time| format!("{time:.2?}").replace('\u{b5}', "u"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
words
| load, 10 peers | median | p10 to p90 |
|---|---|:--:|
| store | 74.10ms | 73.20ms to 1.50s |
| store, 1 % edited | 2 s | |
| JSON (2 of 3) | 41.0 KiB | x |

| no table |
| load, 20 peers | median |
|---|---|
";

    #[test]
    fn tables_are_found_by_title_and_row() {
        let tables = Tables::read(TEXT);
        assert_eq!(tables.iter().count(), 2);
        assert_eq!(tables.cell("load, 10 peers", "store", 1), Some("74.10ms"));
        assert_eq!(tables.cell("load, 10 peers", "JSON", 1), Some("41.0 KiB"));
        assert_eq!(
            tables.rows("load, 10 peers", &["store", "74.10ms"]).len(),
            1
        );
    }

    #[test]
    fn what_is_missing_or_not_the_only_one_is_not_there() {
        let tables = Tables::read(TEXT);
        assert_eq!(tables.cell("load", "store", 1), None);
        assert_eq!(tables.cell("load, 10 peers", "stor", 1), None);
        assert_eq!(tables.cell("load, 10 peers", "store", 3), None);
        assert_eq!(tables.cell("save", "store", 1), None);
        let sizes = Tables::read("| nodes | time |\n|---|---|\n| 1000 | 1s |\n| 9990 | 2s |\n");
        assert_eq!(sizes.cell("nodes", "100", 1), None);
        assert_eq!(sizes.cell("nodes", "1000", 1), Some("1s"));
        let twice = Tables::read(&format!("{TEXT}\n{TEXT}"));
        assert_eq!(twice.cell("load, 10 peers", "store", 1), None);
    }

    #[test]
    fn numbers_keep_their_unit_and_nothing_is_guessed() {
        for (cell, value) in [
            ("74.5ms", 0.0745),
            ("3 s", 3.0),
            ("1.25\u{b5}s", 1.25e-6),
            ("18us", 18e-6),
            ("7ns", 7e-9),
            ("36,266", 36_266.0),
            ("2 KiB", 2048.0),
            ("0.80 % of a core", 0.8),
            ("-1", -1.0),
        ] {
            let read = number(cell).unwrap();
            assert!(
                (read - value).abs() <= value.abs() * 1e-12,
                "{cell}: {read}"
            );
        }
        for cell in ["", "never", "7 apples", "1.2.3", "2 + 3"] {
            assert_eq!(number(cell), None, "{cell}");
        }
        assert_eq!(range("73.20ms to 1.50s"), Some((0.0732, 1.5)));
        assert_eq!(range("73.20ms"), None);
    }
}
