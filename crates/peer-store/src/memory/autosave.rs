//! A thread that does the same work again and again until it is dropped, and once more then.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct AutoSave {
    /// Dropped to end the thread.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AutoSave {
    pub(super) fn start(interval: Duration, save: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let work = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                save();
            }
            save();
        };
        let builder = std::thread::Builder::new().name("peer-auto-save".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(builder.spawn(work)?),
        })
    }
}

impl Drop for AutoSave {
    fn drop(&mut self) {
        self.stop = None;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread that saves by itself panicked");
        }
    }
}
