//! The network over real loopback TCP. One binary, so that libp2p is linked once.

mod backpressure;
mod connecting;
mod hostile;
mod lifecycle;
mod limits;
mod listening;
mod liveness;
mod reload;
mod requests;
mod support;
