//! Connections and discovery, beside the least a libp2p program does and beside others who find peers.

mod chitchat;
mod connect;
mod discover;
mod floor;
mod foca;
mod idle;
mod kad;
mod newcomers;
mod process;

pub(crate) use connect::run as connect;
pub(crate) use discover::{GIVEN_UP, run as discover};
pub(crate) use idle::{run as idle, serve as idle_server};
pub(crate) use newcomers::run as newcomers;

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}
