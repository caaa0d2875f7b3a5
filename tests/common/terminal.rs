//! A pseudo-terminal: what people see, and what they type.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::daemon::command;

/// Runs a command with all three streams on a terminal of 80 columns, types `typed` as soon as it runs, and returns how it
/// ended and everything that was shown.
pub fn on_terminal(
    dir: &Path,
    args: &[&str],
    env: &[(&str, &str)],
    typed: &str,
) -> (ExitStatus, String) {
    let mut run = command(dir, args);
    run.env("TERM", "xterm-256color")
        .env("PATH", "/usr/bin:/bin");
    run.envs(env.iter().copied());
    drive(run, typed)
}

fn drive(mut run: Command, typed: &str) -> (ExitStatus, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).unwrap();
    let theirs = || {
        let path = name.to_str().unwrap();
        let file = File::options().read(true).write(true).open(path);
        Stdio::from(file.unwrap())
    };
    let mut child = run
        .stdin(theirs())
        .stdout(theirs())
        .stderr(theirs())
        .spawn()
        .unwrap();
    // The command holds the other end alone from now on, so that its end is the end of the screen.
    drop(run);
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    let (mut screen, mut chunk) = (Vec::new(), [0; 4096]);
    // A terminal whose other side is gone fails to be read; that is its end.
    while let Ok(length @ 1..) = ours.read(&mut chunk) {
        screen.extend_from_slice(&chunk[..length]);
    }
    let status = child.wait().unwrap();
    (
        status,
        String::from_utf8_lossy(&screen).replace("\r\n", "\n"),
    )
}

/// The text without what moves the cursor and colours.
pub fn plain(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A sequence ends with its first letter.
            rest.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            text.push(c);
        }
    }
    text
}
