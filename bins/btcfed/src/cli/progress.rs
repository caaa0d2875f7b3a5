//! How far long work is: one line on a terminal, rewritten as it goes on, and gone at the end. Nothing anywhere else.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cli::output::Output;

/// The shortest time between two pictures.
const EVERY: Duration = Duration::from_millis(100);

/// Work shorter than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(200);

/// Characters of the bar.
const WIDTH: u64 = 24;

/// A line that tells how far something is.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    is_on: bool,
    is_drawn: bool,
    started: Instant,
    drawn_at: Option<Instant>,
}

impl Progress {
    /// Begins to tell about `what`, where people watch.
    pub(super) fn new(what: &'static str, output: &Output) -> Self {
        Self {
            what,
            is_on: output.talks() && io::stderr().is_terminal(),
            is_drawn: false,
            started: Instant::now(),
            drawn_at: None,
        }
    }

    /// `done` of `total` are done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        let is_recent = self.drawn_at.is_some_and(|at| at.elapsed() < EVERY);
        if !self.is_on || is_recent || self.started.elapsed() < PATIENCE {
            return;
        }
        self.drawn_at = Some(Instant::now());
        self.is_drawn = true;
        self.draw(&line(self.what, done, total));
    }

    /// So long it takes already.
    fn since(&mut self) {
        if self.is_on && self.started.elapsed() >= PATIENCE {
            self.is_drawn = true;
            self.draw(&format!(
                "{} {} s",
                self.what,
                self.started.elapsed().as_secs()
            ));
        }
    }

    /// A person who has seen a line that cannot be drawn any more has seen enough.
    fn draw(&mut self, text: &str) {
        let mut to = io::stderr().lock();
        if write!(to, "\r\x1b[K{text}")
            .and_then(|()| to.flush())
            .is_err()
        {
            self.is_on = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            self.draw("");
        }
    }
}

/// How many words may wait between the threads: none is ever sent, the end of the sender is the word.
const NOTHING: usize = 0;

/// Work without steps: tells each tenth of a second how long it has gone on.
#[derive(Debug)]
pub(super) struct Ticking {
    stop: Option<mpsc::SyncSender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Ticking {
    /// Begins to tell about `what`, where people watch.
    pub(super) fn start(what: &'static str, output: &Output) -> Self {
        let mut progress = Progress::new(what, output);
        if !progress.is_on {
            return Self {
                stop: None,
                ticker: None,
            };
        }
        let (stop, stopped) = mpsc::sync_channel(NOTHING);
        let ticker = std::thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                progress.since();
            }
        });
        Self {
            stop: Some(stop),
            ticker: Some(ticker),
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The line is gone once the thread is.
        if let Some(Err(panic)) = self.ticker.take().map(JoinHandle::join) {
            tracing::debug!(?panic, "progress ended early");
        }
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    let done = done.min(total);
    let filled = (done * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let bar: String = (0..WIDTH)
        .map(|at| if at < filled { '#' } else { '.' })
        .collect();
    format!("{what} [{bar}] {done}/{total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_at_first_full_at_the_end_and_never_longer() {
        assert_eq!(line("x", 0, 4), "x [........................] 0/4");
        assert_eq!(line("x", 2, 4), "x [############............] 2/4");
        assert_eq!(line("x", 9, 4), "x [########################] 4/4");
        assert_eq!(line("x", 0, 0), "x [########################] 0/0");
    }

    #[test]
    fn nothing_is_drawn_where_nobody_watches() {
        let mut progress = Progress::new("x", &Output::new(false, true));
        progress.started -= PATIENCE;
        progress.at(1, 2);
        assert!(!progress.is_drawn);
    }
}
