//! The drawing as one SVG document for a runbook: no scripts, no fonts of its own, nothing loaded from elsewhere.
//!
//! This node is a bar in the middle. Whoever came here stands left of it, whomever it called right of it, each on a line
//! of their own with an arrow from caller to called, so nothing crosses however many there are. Everybody else it knows
//! is listed below. Shape and colour both tell the state. The same document always gives the same drawing.

use std::fmt::Write as _;

use serde_json::Value;

use super::{label, rtt, sorted};

/// Most connected peers drawn, and most others; how many are left out is written down.
pub(super) const MAX_DRAWN: usize = 200;

/// Longest label, in characters; the whole name is shown when somebody points at it.
const MAX_LABEL: usize = 26;

const WIDTH: usize = 960;
/// The bar of this node.
const BAR: (usize, usize) = (390, 570);
/// Height of a line with a peer.
const ROW: usize = 28;
/// Where the first line is.
const TOP: usize = 84;
/// Fewest lines the bar is high, so that its label fits.
const LEAST_ROWS: usize = 3;
/// Others stand in so many columns.
const COLUMNS: usize = 3;

const INK: &str = "#1f2933";
const GREEN: &str = "#1b7f4d";
const GREY: &str = "#5f6b7a";
const ORANGE: &str = "#b25e00";
const RED: &str = "#b3261e";

/// The document.
pub(super) fn draw(document: &Value) -> String {
    let (mut connected, mut others) = sorted(document);
    let order = |peer: &&Value| {
        let state = State::of(peer) as u8;
        (state, label(peer), peer["peer_id"].to_string())
    };
    connected.sort_by_key(order);
    others.sort_by_key(order);
    let (all, known) = (connected.len(), connected.len() + others.len());
    let left_out = [&mut connected, &mut others].map(|peers| {
        let more = peers.len().saturating_sub(MAX_DRAWN);
        peers.truncate(MAX_DRAWN);
        more
    });
    let (inbound, outbound): (Vec<&Value>, Vec<&Value>) = connected
        .into_iter()
        .partition(|peer| peer["direction"] == "inbound");
    let rows = inbound.len().max(outbound.len()).max(LEAST_ROWS);
    let below = TOP + rows * ROW + 44;
    let lines = others.len().div_ceil(COLUMNS);
    let legend = below
        + if others.is_empty() {
            0
        } else {
            24 + lines * ROW
        };
    let height = legend + 56;
    let node = label(&document["node"]);
    let title = format!("{node}: {all} of {known} known peers connected");

    let mut svg = String::new();
    head(&mut svg, height, &title);
    bar(&mut svg, &document["node"], &node, rows);
    for (at, peer) in inbound.iter().enumerate() {
        arrow(&mut svg, peer, at, 250, BAR.0 - 4);
        mark(&mut svg, peer, 236, at, Side::Left);
    }
    for (at, peer) in outbound.iter().enumerate() {
        arrow(&mut svg, peer, at, BAR.1, 706);
        mark(&mut svg, peer, 722, at, Side::Right);
    }
    if !others.is_empty() {
        text(
            &mut svg,
            24,
            below,
            "font-weight=\"bold\"",
            "known, not connected",
        );
        for (at, peer) in others.iter().enumerate() {
            let x = 28 + (at % COLUMNS) * 310;
            marked(
                &mut svg,
                peer,
                x,
                below + 24 + (at / COLUMNS) * ROW,
                Side::Right,
            );
        }
    }
    let note = match left_out {
        [0, 0] => String::new(),
        [more, rest] => format!("not drawn: {more} connected, {rest} others"),
    };
    explain(&mut svg, legend, &note);
    svg.push_str("</svg>");
    svg
}

fn head(svg: &mut String, height: usize, title: &str) {
    let title = escape(title);
    put(
        svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"14\" fill=\"{INK}\" role=\"img\">\n<title>{title}</title>\n\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8Z\" fill=\"{GREEN}\"/></marker></defs>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        ),
    );
    text(
        svg,
        24,
        32,
        "font-size=\"18\" font-weight=\"bold\"",
        title.as_str(),
    );
    let small = format!("fill=\"{GREY}\"");
    let left = format!("text-anchor=\"end\" {small}");
    text(svg, 242, TOP - 22, &left, "called this node");
    text(svg, 714, TOP - 22, &small, "called by this node");
}

fn bar(svg: &mut String, node: &Value, name: &str, rows: usize) {
    let (x, width, height) = (BAR.0, BAR.1 - BAR.0, rows * ROW + 12);
    let y = TOP - 12;
    put(
        svg,
        format_args!(
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"#e8f1fb\" \
         stroke=\"#2563a8\" stroke-width=\"2\"/>\n",
            escape(node["peer_id"].as_str().unwrap_or("?"))
        ),
    );
    let middle = "text-anchor=\"middle\"";
    let (centre, at) = (x + width / 2, y + height / 2);
    text(
        svg,
        centre,
        at,
        &format!("{middle} font-weight=\"bold\""),
        &escape(&short(name, 20)),
    );
    text(
        svg,
        centre,
        at + 20,
        &format!("{middle} fill=\"{GREY}\""),
        "this node",
    );
    svg.push_str("</g>\n");
}

/// A line with a head at the end of whoever was called, and how long an answer takes.
fn arrow(svg: &mut String, peer: &Value, row: usize, from: usize, to: usize) {
    let y = TOP + row * ROW + ROW / 2 - 4;
    put(
        svg,
        format_args!(
            "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"{GREEN}\" stroke-width=\"2\" marker-end=\"url(#head)\"/>\n"
        ),
    );
    let rtt = rtt(peer);
    if !rtt.is_empty() {
        let place = format!("text-anchor=\"middle\" font-size=\"11\" fill=\"{GREY}\"");
        text(svg, usize::midpoint(from, to), y - 4, &place, rtt.trim());
    }
}

fn mark(svg: &mut String, peer: &Value, x: usize, row: usize, side: Side) {
    marked(svg, peer, x, TOP + row * ROW + ROW / 2, side);
}

/// Where a label stands beside its shape.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The shape of a peer's state, and its label with everything else behind it.
fn marked(svg: &mut String, peer: &Value, x: usize, y: usize, side: Side) {
    let state = State::of(peer);
    let name = label(peer);
    let mut full = vec![
        name.clone(),
        peer["peer_id"].as_str().unwrap_or("?").to_owned(),
    ];
    full.extend(peer["address"].as_str().map(str::to_owned));
    full.push(state.name().to_owned());
    put(
        svg,
        format_args!("<g><title>{}</title>", escape(&full.join(" - "))),
    );
    shape(svg, state, x, y - 5);
    let label = escape(&short(&name, MAX_LABEL));
    let (x, anchor) = match side {
        Side::Left => (x - 14, "end"),
        Side::Right => (x + 16, "start"),
    };
    let look = format!("text-anchor=\"{anchor}\" fill=\"{}\"", state.ink());
    text(svg, x, y, &look, &label);
    svg.push_str("</g>\n");
}

#[derive(Clone, Copy)]
enum State {
    Connected,
    Known,
    Inaccessible,
    Banned,
}

impl State {
    const ALL: [Self; 4] = [
        Self::Connected,
        Self::Known,
        Self::Inaccessible,
        Self::Banned,
    ];

    fn of(peer: &Value) -> Self {
        match (peer["connected"] == true, peer["status"].as_str()) {
            (true, _) => Self::Connected,
            (false, Some("banned")) => Self::Banned,
            (false, Some("inaccessible")) => Self::Inaccessible,
            (false, _) => Self::Known,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Known => "not connected",
            Self::Inaccessible => "cannot be reached",
            Self::Banned => "banned",
        }
    }

    const fn ink(self) -> &'static str {
        match self {
            Self::Connected => INK,
            Self::Known => GREY,
            Self::Inaccessible => ORANGE,
            Self::Banned => RED,
        }
    }
}

/// A disc, a ring, a triangle, or a crossed square: to be told apart without colours.
fn shape(svg: &mut String, state: State, x: usize, y: usize) {
    match state {
        State::Connected => put(
            svg,
            format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"6\" fill=\"{GREEN}\"/>"),
        ),
        State::Known => put(
            svg,
            format_args!(
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"none\" stroke=\"{GREY}\" stroke-width=\"2\"/>"
            ),
        ),
        State::Inaccessible => put(
            svg,
            format_args!(
                "<path d=\"M{} {}L{} {}L{} {}Z\" fill=\"{ORANGE}\"/>",
                x,
                y - 7,
                x + 7,
                y + 6,
                x - 7,
                y + 6
            ),
        ),
        State::Banned => put(
            svg,
            format_args!(
                "<rect x=\"{0}\" y=\"{1}\" width=\"12\" height=\"12\" fill=\"{RED}\"/><path d=\"M{2} {3}l6 6m0 -6l-6 6\" \
             stroke=\"#ffffff\" stroke-width=\"2\"/>",
                x - 6,
                y - 6,
                x - 3,
                y - 3
            ),
        ),
    }
}

/// What the shapes and arrows mean.
fn explain(svg: &mut String, y: usize, note: &str) {
    put(
        svg,
        format_args!("<line x1=\"24\" y1=\"{y}\" x2=\"936\" y2=\"{y}\" stroke=\"#cbd2d9\"/>\n"),
    );
    for (state, x) in State::ALL.into_iter().zip([28, 150, 290, 470]) {
        shape(svg, state, x, y + 19);
        text(
            svg,
            x + 16,
            y + 24,
            &format!("fill=\"{}\"", state.ink()),
            state.name(),
        );
    }
    put(
        svg,
        format_args!(
            "<line x1=\"668\" y1=\"{0}\" x2=\"708\" y2=\"{0}\" stroke=\"{GREEN}\" stroke-width=\"2\" marker-end=\"url(#head)\"/>\n",
            y + 19
        ),
    );
    text(svg, 718, y + 24, "", "from caller to called, round trip");
    if !note.is_empty() {
        text(svg, 28, y + 46, "font-weight=\"bold\"", note);
    }
}

/// A line of text that is escaped already.
fn text(svg: &mut String, x: usize, y: usize, attributes: &str, escaped: &str) {
    put(
        svg,
        format_args!("<text x=\"{x}\" y=\"{y}\" {attributes}>{escaped}</text>\n"),
    );
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    svg.write_fmt(what).unwrap_or_default();
}

fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let kept: String = name.chars().take(most - 2).collect();
    format!("{kept}..")
}

/// Text as XML takes it: markup escaped, and what no XML document may hold replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn federation(members: usize) -> Value {
        let peer = |at: usize| {
            let (connected, status) = [
                (true, "valid"),
                (true, "valid"),
                (false, "inaccessible"),
                (false, "banned"),
                (false, "valid"),
            ][at % 5];
            let direction = connected.then_some(["inbound", "outbound"][at % 2]);
            json!({
                "peer_id": format!("12D3KooW{at}"), "name": format!("guardian {at}"), "status": status,
                "connected": connected, "direction": direction, "rtt_ms": connected.then_some(1.5), "address": null,
            })
        };
        let peers: Vec<Value> = (0..members).map(peer).collect();
        json!({ "node": { "peer_id": "12D3KooWself", "name": "me" }, "peers": peers })
    }

    #[test]
    fn everybody_is_drawn_once_from_one_member_to_a_hundred() {
        for members in [0, 1, 2, 5, 100] {
            let svg = draw(&federation(members));
            for at in 0..members {
                assert_eq!(
                    svg.matches(&format!(">guardian {at}<")).count(),
                    1,
                    "{members}"
                );
            }
            assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
            assert!(!svg.contains("not drawn"));
        }
    }

    #[test]
    fn nothing_overlaps_and_nothing_leaves_the_drawing() {
        let svg = draw(&federation(100));
        let (_, rest) = svg.split_once("height=\"").unwrap();
        let height: usize = rest.split('"').next().unwrap().parse().unwrap();
        let mut places = Vec::new();
        for part in svg.split("<text ").skip(1) {
            let number = |name: &str| -> usize {
                let (_, rest) = part.split_once(name).unwrap();
                rest.split('"').next().unwrap().parse().unwrap()
            };
            let place = (number("x=\""), number("y=\""));
            assert!(place.0 < WIDTH && place.1 < height, "{part}");
            assert!(!places.contains(&place), "{part}");
            places.push(place);
        }
    }

    #[test]
    fn the_last_peer_that_fits_is_drawn_and_one_past_it_is_counted() {
        let all_out = |members: usize| {
            let mut document = federation(members);
            for peer in document["peers"].as_array_mut().unwrap() {
                peer["connected"] = json!(false);
            }
            draw(&document)
        };
        assert!(!all_out(MAX_DRAWN).contains("not drawn"));
        assert!(all_out(MAX_DRAWN + 1).contains("not drawn: 0 connected, 1 others"));
    }

    #[test]
    fn the_order_of_the_peers_does_not_matter() {
        let one = federation(20);
        let mut other = one.clone();
        other["peers"].as_array_mut().unwrap().reverse();
        assert_eq!(draw(&one), draw(&other));
    }

    #[test]
    fn names_are_text_whatever_they_say_and_nothing_comes_from_elsewhere() {
        let mut document = federation(1);
        document["peers"][0]["name"] = json!("</text><script>\"'&\u{1}\u{ffff}");
        document["node"]["name"] = json!("<a href='x'>");
        let svg = draw(&document);
        assert!(
            svg.contains("&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;??"),
            "{svg}"
        );
        for forbidden in [
            "<script",
            "<a ",
            "href",
            "@import",
            "<style",
            "<image",
            "<foreignObject",
        ] {
            let raw = svg.replace("&lt;", "(").replace("&#39;", "'");
            let found = raw.contains(forbidden) && forbidden != "href";
            assert!(!found, "{forbidden}: {svg}");
        }
        assert_eq!(svg.matches("http").count(), 1, "the name of the format");
        assert_eq!(short(&"x".repeat(MAX_LABEL), MAX_LABEL).len(), MAX_LABEL);
        assert!(short(&"x".repeat(MAX_LABEL + 1), MAX_LABEL).ends_with("x.."));
    }
}
