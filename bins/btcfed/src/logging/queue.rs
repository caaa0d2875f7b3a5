//! Log lines on their way out: a bounded queue and a thread that writes. Whoever reads standard error may be slow, or stop
//! reading; the node goes on, and lines that do not fit are left out and counted.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::watch;
use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written.
pub const MAX_WAITING_LINES: usize = 8192;

/// What the lines are written to.
pub(super) trait Sink: Write + Send + fmt::Debug {
    /// Called before each line: a chance to notice that the place has changed.
    ///
    /// # Errors
    /// The new place cannot be used; lines go on to the old one.
    fn follow(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Entry {
    Flush(SyncSender<()>),
    Line(Vec<u8>),
    Switch(Box<dyn Sink>),
}

/// The entrance to the queue.
#[derive(Clone, Debug)]
pub(super) struct LogQueue {
    sender: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
    /// Closed when the thread ends.
    alive: watch::Receiver<()>,
}

impl LogQueue {
    /// Starts the thread that writes to `to`.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(to: impl Sink + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING_LINES);
        let left_out = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&left_out);
        let (lives, alive) = watch::channel(());
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let _alive_until_the_end = lives;
                write_lines(&receiver, Box::new(to), &told);
            })?;
        Ok(Self {
            sender,
            left_out,
            alive,
        })
    }

    /// Resolves when the thread that writes has ended. Does not keep it alive.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Lets all later lines go to `to`. False when the queue is full: whoever reads the old place is too slow.
    pub(super) fn switch(&self, to: impl Sink + 'static) -> bool {
        self.sender.try_send(Entry::Switch(Box::new(to))).is_ok()
    }

    /// Waits until everything that was logged before is written, but not longer than `limit`. False when it was not.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        if self.sender.try_send(Entry::Flush(done)).is_err() {
            return false;
        }
        !matches!(wait.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogQueue {
    /// Takes a whole line, as the formatter gives it. Never waits and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Entry::Line(line.to_vec())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends when the last entrance is gone.
fn write_lines(entries: &Receiver<Entry>, mut to: Box<dyn Sink>, left_out: &AtomicU64) {
    while let Ok(entry) = entries.recv() {
        match entry {
            Entry::Line(line) => {
                if let Err(error) = to.follow() {
                    tracing::warn!(%error, "the log file was moved away and cannot be made anew");
                }
                // A closed standard error takes nothing, and there is nobody to tell.
                drop(to.write_all(&line));
            }
            Entry::Switch(other) => {
                drop(to.flush());
                to = other;
            }
            Entry::Flush(done) => {
                drop(to.flush());
                // Whoever waited may have given up.
                done.try_send(()).unwrap_or_default();
            }
        }
        let lines = left_out.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(
                lines,
                "log lines were left out: whoever reads them was too slow"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex, PoisonError};

    /// A reader that can stop reading.
    #[derive(Clone, Debug, Default)]
    struct Pipe(Arc<Shared>);

    #[derive(Debug, Default)]
    struct Shared(Mutex<(bool, Vec<u8>)>, Condvar);

    impl Pipe {
        fn block(&self, blocked: bool) {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).0 = blocked;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            let state = self.0.0.lock().unwrap();
            String::from_utf8(state.1.clone()).unwrap()
        }
    }

    impl Sink for Pipe {}

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.0.lock().unwrap();
            while state.0 {
                state = self.0.1.wait(state).unwrap();
            }
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A place that makes its writer panic.
    #[derive(Debug)]
    struct Trap;

    impl Sink for Trap {}

    impl Write for Trap {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("injected")
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_writer_that_panics_is_noticed_and_one_that_works_is_not() {
        let good = LogQueue::start(Pipe::default()).unwrap();
        let mut bad = LogQueue::start(Trap).unwrap();
        bad.write_all(b"line\n").unwrap();
        let limit = Duration::from_secs(10);
        assert_eq!(tokio::time::timeout(limit, bad.ended()).await, Ok(()));
        assert!(LogQueue::flush(&good, limit));
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, good.ended()).await.is_err());
        // Lines to a writer that is gone cost nothing and hold up nobody.
        bad.write_all(b"line\n").unwrap();
    }

    #[test]
    fn lines_are_written_in_order_and_flushed_on_request() {
        let pipe = Pipe::default();
        let mut queue = LogQueue::start(pipe.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        assert!(LogQueue::flush(&queue, Duration::from_secs(10)));
        assert_eq!(pipe.text(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_after_a_switch_go_to_the_other_place_and_none_is_lost() {
        let (old, new) = (Pipe::default(), Pipe::default());
        let mut queue = LogQueue::start(old.clone()).unwrap();
        queue.write_all(b"one\n").unwrap();
        assert!(queue.switch(new.clone()));
        queue.write_all(b"two\n").unwrap();
        assert!(LogQueue::flush(&queue, Duration::from_secs(10)));
        assert_eq!((old.text(), new.text()), ("one\n".into(), "two\n".into()));
    }

    #[test]
    fn a_reader_that_stops_reading_holds_up_nobody_and_costs_only_what_does_not_fit() {
        let pipe = Pipe::default();
        pipe.block(true);
        let mut queue = LogQueue::start(pipe.clone()).unwrap();
        // One line is in the writer's hands at most, beside the full queue.
        for _ in 0..MAX_WAITING_LINES + 100 {
            queue.write_all(b"x\n").unwrap();
        }
        assert!(queue.left_out.load(Ordering::Relaxed) >= 99);
        assert!(!LogQueue::flush(&queue, Duration::from_millis(10)));
        pipe.block(false);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !LogQueue::flush(&queue, Duration::from_secs(10)) {
            assert!(std::time::Instant::now() < deadline);
        }
        let written = pipe.text().lines().count();
        assert!(
            (MAX_WAITING_LINES..=MAX_WAITING_LINES + 1).contains(&written),
            "{written}"
        );
    }
}
