//! Signals become calls on the node: SIGHUP reloads, SIGTERM and SIGINT stop, a second one forces.

use std::io;

use btcfed_node_orchestrator::NodeHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::Logging;

/// The signals a daemon listens to. From the moment this exists, none of them kills the process.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    logging: Option<Logging>,
}

/// SIGHUP from the very beginning of a daemon, before it has read anything: it kills no more, and those that come are
/// kept for [`Signals`].
#[derive(Debug)]
pub struct EarlyHangup(Signal);

impl EarlyHangup {
    /// Starts listening. Needs no runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        // Handler and listener belong to the process: they stay when this runtime, which only installs them, is gone.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _entered = runtime.enter();
        signal(SignalKind::hangup()).map(Self)
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

impl Signals {
    /// Starts listening; a SIGHUP that `early` has caught is the first to be told.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen(early: Option<EarlyHangup>) -> io::Result<Self> {
        let hangup = match early {
            Some(EarlyHangup(hangup)) => hangup,
            None => signal(SignalKind::hangup())?,
        };
        Ok(Self {
            hangup,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            logging: None,
        })
    }

    /// The log that a reload brings back to the level of the configuration.
    #[must_use]
    pub fn with_logging(mut self, logging: Logging) -> Self {
        self.logging = Some(logging);
        self
    }

    /// Waits for the next signal. Signals of one kind that arrive together count once. Cancellation safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Serves a node until the second request to stop.
    pub async fn serve(mut self, node: NodeHandle) {
        let mut stopping = false;
        loop {
            match self.next().await {
                Asked::Stop if stopping => return,
                Asked::Stop => {
                    tracing::info!("asked to stop by a signal; a second one forces");
                    stopping = true;
                    node.shutdown().await;
                }
                Asked::Reload if stopping => tracing::info!("stopping; not reloading"),
                Asked::Reload => {
                    tracing::info!("asked to reload by a signal");
                    let (node, logging) = (node.clone(), self.logging.clone());
                    // The node logs the outcome; a signal has nobody to answer to.
                    tokio::spawn(async move {
                        let reloaded = node.reload().await.is_ok();
                        if let Some(logging) = logging.filter(|_| reloaded) {
                            logging.use_configured();
                        }
                    });
                }
            }
        }
    }
}
