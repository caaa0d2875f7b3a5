//! Curves as a picture that needs nothing else.

use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];

/// Shares from 0 to 1 over time.
pub(crate) type Curve = Vec<(Duration, f64)>;

/// An SVG of these curves.
pub(crate) fn svg(title: &str, curves: &[(String, Curve)]) -> String {
    let longest = curves.iter().flat_map(|(_, curve)| curve.last());
    let end = longest
        .map(|(at, _)| at.as_secs_f64())
        .fold(f64::MIN_POSITIVE, f64::max);
    let x = |at: f64| MARGIN + at / end * (WIDTH - 2.0 * MARGIN);
    let y = |share: f64| HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"14\">{title}</text>\n"
    );
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let (left, right, at) = (x(0.0), x(end), y(share));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at}H{right}\" stroke=\"#ccc\"/><text x=\"8\" y=\"{at}\">{:.0} %</text>\
             <text x=\"{}\" y=\"{}\">{:.0} ms</text>",
            share * 100.0,
            x(end * share) - 12.0,
            HEIGHT - MARGIN + 18.0,
            end * share * 1000.0,
        );
    }
    for (place, (name, curve)) in curves.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let points: String = curve
            .iter()
            .map(|(at, share)| format!("{:.1},{:.1} ", x(at.as_secs_f64()), y(*share)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
            MARGIN + 12.0,
            MARGIN + 16.0 * (place as f64 + 1.0),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
