//! A newcomer of a federation on virtual time: the engine of the node, the links of a local network.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use btcfed_exchange_protocol::simulate::series::{LAN, joins, median, worst};

/// The title of the table.
pub(crate) const TITLE: &str = "newcomer over links of 20 ms; nodes";

/// Most nodes beside the newcomer: a list has room for 10,000, and some of it is left.
pub(crate) const MAX_NODES: usize = 9_990;

/// Stands where something did not happen.
pub(crate) const NEVER: &str = "never";

/// The least in which a newcomer can be known by all: the connection, its hello, and the way through the tree.
const KNOWN_LIMIT: Duration = Duration::from_millis(220);

/// The least in which it can know all, without the time its list takes.
const KNOWS_LIMIT: Duration = Duration::from_millis(280);

/// The time of one record of its list: 205 bytes over four uplinks of 100 Mbit/s.
const RECORD_LIMIT: Duration = Duration::from_nanos(4_100);

/// A row for every number of nodes and of seeds.
pub(crate) fn run(sizes: &[(usize, u64)]) -> Result<String, String> {
    let mut table = format!(
        "| {TITLE} | seeds | known by all, median | known by all, worst | limit | knows all, worst | limit | records per \
         node, worst | messages per node, worst | idle, B/s of a node | idle, messages/s of a node | computed in |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (nodes, seeds) in sizes {
        let start = Instant::now();
        let joins = joins(LAN, *nodes, 1..=*seeds);
        let records = RECORD_LIMIT * u32::try_from(*nodes).unwrap_or(u32::MAX);
        let knows_limit = (KNOWS_LIMIT + records).as_millis();
        let (idle, took) = (joins.idle, start.elapsed());
        writeln!(
            table,
            "| {nodes} | {seeds} | {} | {} | {} ms | {} | {knows_limit} ms | {:.3} | {:.2} | {:.2} | {:.3} | {took:.0?} |",
            millis(median(&joins.known_by_all)),
            millis(worst(&joins.known_by_all)),
            KNOWN_LIMIT.as_millis(),
            millis(worst(&joins.knows_all)),
            joins.records_per_node,
            joins.messages_per_node,
            idle.bytes,
            idle.messages,
        )
        .map_err(|error| error.to_string())?;
    }
    Ok(table)
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(
        || NEVER.to_owned(),
        |time| format!("{} ms", time.as_millis()),
    )
}
