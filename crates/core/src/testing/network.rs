//! A network that carries nothing and remembers everything.

use std::sync::Mutex;

use super::lock;
use crate::addr::PeerAddr;
use crate::key::PeerId;
use crate::limits;
use crate::network::{Network, NetworkCommand, NetworkError};

/// A [`Network`] that records the commands it is given. Events are the test's business: it feeds them to the node.
///
/// Like the real one it is bounded: with [`limits::NETWORK_COMMAND_QUEUE`] commands waiting to be taken by the test, it
/// is busy.
#[derive(Debug)]
pub struct ScriptedNetwork {
    local: PeerId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<NetworkCommand>,
    listen_addrs: Vec<PeerAddr>,
    busy: bool,
    closed: bool,
}

impl ScriptedNetwork {
    /// A network without listeners for the node `local`.
    #[must_use]
    pub fn new(local: PeerId) -> Self {
        Self {
            local,
            state: Mutex::default(),
        }
    }

    /// The commands that wait to be taken, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<NetworkCommand> {
        lock(&self.state).commands.clone()
    }

    /// Takes the waiting commands, oldest first.
    #[must_use]
    pub fn take_commands(&self) -> Vec<NetworkCommand> {
        std::mem::take(&mut lock(&self.state).commands)
    }

    /// From now on every command is refused as [`NetworkError::Busy`], or taken again.
    pub fn set_busy(&self, busy: bool) {
        lock(&self.state).busy = busy;
    }

    /// From now on every command is refused as [`NetworkError::Closed`].
    pub fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// What [`Network::listen_addrs`] answers from now on.
    pub fn set_listen_addrs(&self, addrs: Vec<PeerAddr>) {
        lock(&self.state).listen_addrs = addrs;
    }
}

impl Network for ScriptedNetwork {
    fn local_peer(&self) -> PeerId {
        self.local
    }

    fn submit(&self, command: NetworkCommand) -> Result<(), NetworkError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(NetworkError::Closed);
        }
        if state.busy || state.commands.len() >= limits::NETWORK_COMMAND_QUEUE {
            return Err(NetworkError::Busy);
        }
        state.commands.push(command);
        Ok(())
    }

    fn listen_addrs(&self) -> Vec<PeerAddr> {
        lock(&self.state).listen_addrs.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{test_addr, test_key};

    fn command(seed: u16) -> NetworkCommand {
        NetworkCommand::Disconnect {
            peer: test_key(seed),
        }
    }

    #[test]
    fn commands_are_kept_in_order_until_they_are_taken() {
        let network = ScriptedNetwork::new(test_key(0).peer_id());
        network.submit(command(1)).unwrap();
        network.submit(command(2)).unwrap();
        assert_eq!(network.commands(), [command(1), command(2)]);
        assert_eq!(network.take_commands(), [command(1), command(2)]);
        assert_eq!(network.commands(), []);
        assert_eq!(network.local_peer(), test_key(0).peer_id());
    }

    #[test]
    fn a_busy_or_closed_network_takes_nothing() {
        let network = ScriptedNetwork::new(test_key(0).peer_id());
        network.set_busy(true);
        assert_eq!(network.submit(command(1)), Err(NetworkError::Busy));
        network.set_busy(false);
        assert_eq!(network.submit(command(1)), Ok(()));
        network.close();
        assert_eq!(network.submit(command(1)), Err(NetworkError::Closed));
        assert_eq!(network.commands().len(), 1);
    }

    #[test]
    fn the_queue_is_bounded_like_the_real_one() {
        let network = ScriptedNetwork::new(test_key(0).peer_id());
        for _ in 0..limits::NETWORK_COMMAND_QUEUE {
            network.submit(command(1)).unwrap();
        }
        assert_eq!(network.submit(command(1)), Err(NetworkError::Busy));
        assert_eq!(network.take_commands().len(), limits::NETWORK_COMMAND_QUEUE);
        assert_eq!(network.submit(command(1)), Ok(()));
    }

    #[test]
    fn listen_addresses_are_the_ones_that_were_set() {
        let network = ScriptedNetwork::new(test_key(0).peer_id());
        assert_eq!(network.listen_addrs(), []);
        network.set_listen_addrs(vec![test_addr(9000)]);
        assert_eq!(network.listen_addrs(), [test_addr(9000)]);
    }
}
