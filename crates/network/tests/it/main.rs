//! The network over real loopback TCP. One binary, so that libp2p is linked once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod applications;
mod backpressure;
mod cancel;
mod connecting;
mod hostile;
mod lifecycle;
mod limits;
mod listening;
mod liveness;
mod names;
mod reload;
mod requests;
mod support;
