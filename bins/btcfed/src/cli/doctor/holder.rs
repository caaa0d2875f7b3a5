//! Who holds a port: the listening socket in `/proc/net/tcp*`, and the process that has it open.

use std::fs;
use std::path::Path;

/// Most processes that are looked at.
const MAX_PROCESSES: usize = 32_768;

/// The state of a socket that listens, as the kernel writes it.
const LISTENING: &str = "0A";

/// The process that listens on a TCP port, as far as the kernel tells; `None` when nobody does.
pub(super) fn of_port(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| inode(&table, port))?;
    Some(
        process(&inode).unwrap_or_else(|| {
            "a process of another user (run this as root to see which)".to_owned()
        }),
    )
}

/// The inode of the socket that listens on a port.
fn inode(table: &str, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTENING;
        // Remote address and state are read; queues, timer, retransmissions, user and time-out stand before the inode.
        let inode = fields.nth(5)?;
        is_it.then(|| inode.to_owned())
    })
}

/// The process that has a socket open.
fn process(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let has_it = |dir: &Path| {
        let open = fs::read_dir(dir.join("fd")).ok()?;
        let mut links = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        links
            .any(|link| link.as_os_str() == wanted.as_str())
            .then_some(())
    };
    for entry in fs::read_dir("/proc").ok()?.flatten().take(MAX_PROCESSES) {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.bytes().all(|byte| byte.is_ascii_digit()) && has_it(&entry.path()).is_some() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("process {id} ({})", name.trim().escape_debug()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_that_listens_is_found_and_no_other() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2328 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 00000000:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0 100 0 0 10 0
   2: broken
   3: 00000000:2329 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33 1 0 100 0 0 10 0
";
        assert_eq!(inode(table, 9000).as_deref(), Some("22"));
        assert_eq!(inode(table, 9001).as_deref(), Some("33"));
        assert_eq!(inode(table, 9002), None);
        assert_eq!(inode("", 9000), None);
    }

    #[test]
    fn this_process_is_found_by_the_port_it_holds() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let told = of_port(port).unwrap();
        assert!(
            told.starts_with(&format!("process {} (", std::process::id())),
            "{told}"
        );
        drop(held);
        assert_eq!(of_port(port), None);
    }
}
