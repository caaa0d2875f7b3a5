//! What systemd wants to hear (`sd_notify`): ready, alive, stopping. Silent where no supervisor listens.

use std::env;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use btcfed_node_orchestrator::{NodeHandle, NodeStatus};

/// How often the status line is refreshed where systemd asks for no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Where a supervisor listens, if there is one.
#[must_use]
pub fn supervisor() -> Option<OsString> {
    env::var_os("NOTIFY_SOCKET")
}

/// Tells the supervisor at `socket` how the node does until the node stops; never ends by itself. A node that does not
/// answer is not reported as alive, so that the watchdog restarts it.
pub async fn serve(socket: OsString, node: NodeHandle) {
    let interval = interval(env::var("WATCHDOG_USEC").ok().as_deref());
    let mut greeting = "READY=1\n";
    while let Ok(status) = node.status().await {
        tell(
            &socket,
            &format!("{greeting}WATCHDOG=1\nSTATUS={}", line(&status)),
        );
        greeting = "";
        tokio::time::sleep(interval).await;
    }
    tell(&socket, "STOPPING=1");
    pending::<()>().await;
}

/// Twice as often as the watchdog wants it.
fn interval(watchdog_usec: Option<&str>) -> Duration {
    let micros: Option<u64> = watchdog_usec.and_then(|text| text.parse().ok());
    let half = micros
        .filter(|micros| *micros > 1)
        .map(|micros| Duration::from_micros(micros / 2));
    half.map_or(STATUS_INTERVAL, |half| half.min(STATUS_INTERVAL))
}

/// What `systemctl status` shows.
fn line(status: &NodeStatus) -> String {
    let (connected, known) = (status.connections.len(), status.known);
    let store = match &status.store.degraded {
        Some(_) => "; the peers file cannot be written",
        None => "",
    };
    format!("{connected} of {known} peers connected{store}")
}

fn tell(socket: &OsString, message: &str) {
    if let Err(error) = send(socket, message) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

fn send(socket: &OsString, message: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
            let addr = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            return datagram.send_to_addr(message.as_bytes(), &addr).map(drop);
        }
    }
    datagram.send_to(message.as_bytes(), socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time() {
        assert_eq!(interval(Some("3000000")), Duration::from_millis(1500));
        for text in [None, Some("0"), Some("nonsense"), Some("99999999999")] {
            assert_eq!(interval(text), STATUS_INTERVAL, "{text:?}");
        }
    }

    #[test]
    fn a_message_arrives_and_a_missing_socket_is_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(&path.into_os_string(), "READY=1");
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        tell(&OsString::from("/nowhere/notify"), "READY=1");
        tell(&OsString::from("@btcfed-nowhere"), "READY=1");
    }
}
