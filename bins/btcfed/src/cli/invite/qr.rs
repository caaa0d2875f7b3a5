//! An invite as a QR code of text, two modules a character: for a camera in front of the screen.

use std::io::IsTerminal as _;

use qrcode::{Color as Module, EcLevel, QrCode};

use crate::cli::args::{Color, DrawQr, QrOptions};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};

/// Light modules around a code, without which readers do not find it.
const QUIET: usize = 4;

/// A terminal that nobody widened has so many columns.
const COLUMNS: usize = 80;

/// White on black whatever the terminal's own colours are, and back.
const COLOURS: (&str, &str) = ("\u{1b}[38;5;231;48;5;16m", "\u{1b}[0m");

/// Draws an invite if that was asked for and somebody can see it.
pub(super) fn show(
    invite: &str,
    options: &QrOptions,
    colour: Color,
    output: &Output,
) -> Result<(), CliError> {
    let Some(when) = options.qr.filter(|_| !output.is_json()) else {
        return Ok(());
    };
    let terminal = std::io::stdout().is_terminal();
    if when == DrawQr::Auto && !terminal {
        output.talk("no QR code: standard output is no terminal; --qr=always draws it anyway");
        return Ok(());
    }
    let lines = draw(invite).map_err(|reason| {
        let message = format!("no QR code of this invite: {reason}");
        CliError::new(Exit::Failed, "config", message)
            .hint("an invite with fewer --contacts is shorter")
    })?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = match colour {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !no_colour,
    };
    for line in &lines {
        if coloured {
            output.line(&format!("{}{line}{}", COLOURS.0, COLOURS.1));
        } else {
            output.line(line);
        }
    }
    let width = lines.first().map_or(0, |line| line.chars().count());
    if width > COLUMNS {
        output.talk(&format!(
            "the code is {width} columns wide: widen the terminal, or make an invite with fewer --contacts"
        ));
    }
    Ok(())
}

/// The lines of the code. Filled is light, so that it is right on a dark terminal without any colours.
fn draw(invite: &str) -> Result<Vec<String>, String> {
    // Upper case is what QR codes spell shortest: 11 bits for two characters.
    let code = QrCode::with_error_correction_level(invite.to_ascii_uppercase(), EcLevel::L);
    let code = code.map_err(|error| error.to_string())?;
    let side = code.width();
    let is_light = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < side);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => code[(x, y)] == Module::Light,
            _ => true,
        }
    };
    let whole = side + 2 * QUIET;
    let line = |y: usize| -> String {
        let cell = |x: usize| match (is_light(x, y), y + 1 < whole && is_light(x, y + 1)) {
            (true, true) => '\u{2588}',
            (true, false) => '\u{2580}',
            (false, true) => '\u{2584}',
            (false, false) => ' ',
        };
        (0..whole).map(cell).collect()
    };
    Ok((0..whole).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the lines as a camera would see them.
    fn scan(lines: &[String]) -> String {
        const SCALE: usize = 4;
        let rows: Vec<Vec<char>> = lines.iter().map(|line| line.chars().collect()).collect();
        let (width, height) = (rows[0].len() * SCALE, rows.len() * 2 * SCALE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let (column, row) = (x / SCALE, y / SCALE);
            let (upper, lower) = match rows[row / 2][column] {
                '\u{2588}' => (255, 255),
                '\u{2580}' => (255, 0),
                '\u{2584}' => (0, 255),
                _ => (0, 0),
            };
            if row % 2 == 0 { upper } else { lower }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code");
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_camera_reads_back_what_was_drawn() {
        for length in [20, 99, 227, 600, 1200] {
            let invite: String = "BTCFED1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
                .chars()
                .cycle()
                .take(length)
                .collect();
            let lines = draw(&invite).unwrap();
            assert_eq!(scan(&lines), invite, "{length}");
            assert_eq!(scan(&draw(&invite.to_lowercase()).unwrap()), invite);
        }
    }

    #[test]
    fn an_invite_with_three_contacts_fits_a_terminal_and_one_that_is_too_long_is_refused() {
        let lines = draw(&"A".repeat(227)).unwrap();
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS));
        // The most that version 40 holds at the lowest level of correction.
        assert!(draw(&"A".repeat(4296)).is_ok());
        assert!(draw(&"A".repeat(4297)).is_err());
    }
}
