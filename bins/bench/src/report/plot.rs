//! Tables of races as pictures: a bar for every median, whiskers from the 10th to the 90th percentile, on a log scale.

use std::fmt::Write as _;

use super::tables::{Table, number, range, seconds};

const WIDTH: f64 = 900.0;
/// Room for the names on the left, and for the figures on the right.
const LEFT: f64 = 370.0;
const RIGHT: f64 = 110.0;
/// Above the first bar, and below the last one.
const TOP: f64 = 58.0;
const BOTTOM: f64 = 34.0;
const ROW: f64 = 26.0;
const BAR: f64 = 14.0;

/// Longest name that fits, in characters.
const MAX_NAME: usize = 50;

/// Colours for light and for dark pages; without support for the latter the page is light.
const STYLE: &str = "text{font:12px sans-serif;fill:#1f2328}.small{font-size:11px;fill:#59636e}.back{fill:#ffffff}\
                     .ours{fill:#0969da}.other{fill:#8c959f}.grid{stroke:#d1d9e0}.whisker{stroke:#1f2328}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.back{fill:#0d1117}\
                     .ours{fill:#4493f8}.other{fill:#656c76}.grid{stroke:#30363d}.whisker{stroke:#e6edf3}}";

/// One bar, in seconds.
struct Bar<'a> {
    name: &'a str,
    median: f64,
    spread: (f64, f64),
}

/// The picture of a table of medians and spreads in time; `None` for any other table.
pub(crate) fn svg(table: &Table) -> Option<String> {
    if table.head.get(1).is_none_or(|head| head != "median") {
        return None;
    }
    let bars: Option<Vec<Bar<'_>>> = table.rows.iter().map(|row| bar(row)).collect();
    let bars = bars.filter(|bars| !bars.is_empty())?;
    let values = || {
        bars.iter()
            .flat_map(|bar| [bar.median, bar.spread.0, bar.spread.1])
    };
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(0.0, f64::max);
    if !(least > 0.0 && most.is_finite()) {
        return None;
    }
    // Whole decades, with room for the shortest bar.
    let scale = Scale {
        first: (least / 2.0).log10().floor(),
        last: most.log10().ceil(),
    };
    Some(draw(table, &bars, &scale))
}

/// What the file of a table's picture is called.
pub(crate) fn file_name(title: &str) -> String {
    let mut name = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    format!("{}.svg", name.trim_end_matches('-'))
}

fn bar(row: &[String]) -> Option<Bar<'_>> {
    let [name, median, spread, ..] = row else {
        return None;
    };
    Some(Bar {
        name,
        median: number(median)?,
        spread: range(spread)?,
    })
}

/// Powers of ten of the ends of the axis.
struct Scale {
    first: f64,
    last: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let decades = (self.last - self.first).max(1.0);
        LEFT + (value.log10() - self.first) / decades * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (mut power, last) = (self.first, self.last.max(self.first + 1.0));
        std::iter::from_fn(move || {
            let tick = (power <= last).then(|| 10f64.powf(power));
            power += 1.0;
            tick
        })
    }
}

fn draw(table: &Table, bars: &[Bar<'_>], scale: &Scale) -> String {
    let rows = u16::try_from(bars.len()).unwrap_or(u16::MAX);
    let end = TOP + ROW * f64::from(rows);
    let height = end + BOTTOM;
    let title = escape(table.title());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n<text x=\"12\" y=\"24\">{title}</text>\n"
    );
    let spread = table.head.get(2).map_or("", String::as_str);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(svg, "{text}");
    };
    line(format_args!(
        "<text class=\"small\" x=\"12\" y=\"42\">median; whiskers: {}; log scale, shorter is better</text>",
        escape(spread)
    ));
    for tick in scale.ticks() {
        let (x, label) = (scale.x(tick), tick_label(tick));
        line(format_args!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{end}\"/>"
        ));
        line(format_args!(
            "<text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            end + 18.0
        ));
    }
    for (place, bar) in (0_u16..).zip(bars) {
        let middle = TOP + ROW * (f64::from(place) + 0.5);
        let (start, to) = (scale.x(10f64.powf(scale.first)), scale.x(bar.median));
        let (low, high) = (scale.x(bar.spread.0), scale.x(bar.spread.1));
        let is_ours = ["store", "btcfed", "ours"]
            .iter()
            .any(|ours| bar.name.starts_with(ours));
        let class = if is_ours { "ours" } else { "other" };
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            middle + 4.5,
            escape(&shortened(bar.name))
        ));
        line(format_args!(
            "<rect class=\"{class}\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>",
            middle - BAR / 2.0,
            (to - start).max(1.0)
        ));
        line(format_args!(
            "<path class=\"whisker\" fill=\"none\" d=\"M{low:.1} {:.1}v8m0 -4H{high:.1}m0 -4v8\"/>",
            middle - 4.0
        ));
        line(format_args!(
            "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            high.max(to) + 8.0,
            middle + 4.0,
            escape(&seconds(bar.median))
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn tick_label(tick: f64) -> String {
    // The nearest nanosecond: powers of ten are not exact.
    let time = std::time::Duration::try_from_secs_f64(tick).unwrap_or_default();
    format!("{time:.0?}").replace('\u{b5}', "u")
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    let kept: String = name.chars().take(MAX_NAME - 3).collect();
    format!("{}...", kept.trim_end())
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c if c.is_control() => ' '.to_string(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tables::Tables;

    const RACE: &str = "\
| load & <save>, 10 \"peers\" | median | p10 to p90 | first / this |
|---|---|---|---|
| store, as it was | 74.10ms | 73.20ms to 1.50s | 1.00 |
| <script>x</script> & co | 1.20us | 1.10us to 1.30us | 61,750 |
| a name that is so long that it would run out of the picture on its left side | 3.00s | 2.00s to 4.00s | 0.02 |
";

    fn table() -> Table {
        Tables::read(RACE).iter().next().unwrap().clone()
    }

    /// Every element is closed in its turn, and nothing but the five entities follows an ampersand.
    fn assert_is_well_formed(svg: &str) {
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').unwrap();
            assert!(!text.contains('>'), "{part}");
            let name = tag
                .trim_start_matches('/')
                .split([' ', '/'])
                .next()
                .unwrap();
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name.to_owned()));
            } else if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
        assert!(open.is_empty(), "{open:?}");
        for after in svg.split('&').skip(1) {
            let entities = ["amp;", "lt;", "gt;", "quot;"];
            assert!(
                entities.iter().any(|entity| after.starts_with(entity)),
                "{after}"
            );
        }
    }

    #[test]
    fn every_row_is_drawn_and_the_picture_is_well_formed() {
        let svg = svg(&table()).unwrap();
        assert_is_well_formed(&svg);
        assert_eq!(svg.matches("class=\"whisker\"").count(), 3);
        assert_eq!(svg.matches("<rect class=\"ours\"").count(), 1);
        assert_eq!(svg.matches("<rect class=\"other\"").count(), 2);
        for text in [
            "74.10ms",
            "1.20us",
            "3.00s",
            "store, as it was",
            "&lt;script&gt;",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.contains("<title>load &amp; &lt;save&gt;, 10 &quot;peers&quot;</title>"));
    }

    #[test]
    fn longer_times_are_longer_bars_inside_the_picture() {
        let svg = svg(&table()).unwrap();
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect class=\"o"))
            .map(|line| line.split("width=\"").nth(1).unwrap())
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(widths[1] < widths[0] && widths[0] < widths[2], "{widths:?}");
        assert!(
            widths
                .iter()
                .all(|width| (1.0..=WIDTH - LEFT - RIGHT).contains(width))
        );
    }

    #[test]
    fn other_tables_and_times_of_zero_have_no_picture() {
        for text in [
            "| memory | bytes |\n|---|---|\n| a | 1 |\n",
            "| t | median | p10 to p90 |\n|---|---|---|\n| a | 0ns | 0ns to 0ns |\n",
            "| t | median | p10 to p90 |\n|---|---|---|\n",
            "| t | median | p10 to p90 |\n|---|---|---|\n| a | 1ms | never |\n",
        ] {
            let tables = Tables::read(text);
            assert_eq!(tables.iter().find_map(svg), None, "{text}");
        }
    }

    #[test]
    fn files_are_named_after_titles() {
        assert_eq!(file_name("load, 100000 peers"), "load-100000-peers.svg");
        assert_eq!(file_name("../a: \"b\"/"), "a-b.svg");
    }
}
