//! What `devnet` tells: progress while it runs, a table at the end.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::cli::devnet::Outcome;
use crate::view::with_schema;

/// Width of the progress bar, in characters.
const BAR_WIDTH: usize = 30;

/// One line of progress.
pub(super) fn progress(elapsed: Duration, known: usize, all: usize) -> String {
    let filled = known * BAR_WIDTH / all.max(1);
    format!(
        "{:>6.2} s  [{}{}]  {known} of {all} places in peer lists filled",
        elapsed.as_secs_f64(),
        "#".repeat(filled),
        ".".repeat(BAR_WIDTH - filled),
    )
}

/// The table and the verdict.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "NODE",
        "PEER ID",
        "KNOWS",
        "CONNECTED",
        "KNOWS ALL AFTER",
        "SENT",
        "RECEIVED",
    ]);
    for (index, (status, after)) in outcome.members.iter().enumerate() {
        let id = status.peer_id.to_string();
        table.add_row([
            index.to_string(),
            format!("..{}", &id[id.len().saturating_sub(8)..]),
            status.known.to_string(),
            status.connections.len().to_string(),
            after.map_or_else(
                || "never".to_owned(),
                |after| format!("{} ms", after.as_millis()),
            ),
            format!("{} B", status.exchange.bytes_out),
            format!("{} B", status.exchange.bytes_in),
        ]);
    }
    let total: u64 = outcome
        .members
        .iter()
        .map(|(status, _)| status.exchange.bytes_out)
        .sum();
    let messages: u64 = outcome
        .members
        .iter()
        .map(|(status, _)| status.exchange.messages_out)
        .sum();
    let verdict = match outcome.converged {
        Some(after) => format!(
            "all {} nodes know all after {} ms",
            outcome.members.len(),
            after.as_millis()
        ),
        None => format!(
            "not all nodes know all after {} ms",
            outcome.elapsed.as_millis()
        ),
    };
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    format!(
        "{}\n{verdict}; {messages} messages, {total} bytes of exchange traffic",
        lines.join("\n")
    )
}

/// `btcfed.devnet/1`.
pub(super) fn document(outcome: &Outcome) -> Value {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let nodes: Vec<Value> = outcome
        .members
        .iter()
        .map(|(status, after)| {
            json!({
                "peer_id": status.peer_id.to_string(),
                "known": status.known,
                "connected": status.connections.len(),
                "knows_all_after_ms": after.map(millis),
                "bytes_out": status.exchange.bytes_out,
                "bytes_in": status.exchange.bytes_in,
                "messages_out": status.exchange.messages_out,
            })
        })
        .collect();
    with_schema(
        "devnet",
        json!({
            "converged": outcome.converged.is_some(),
            "converged_ms": outcome.converged.map(millis),
            "elapsed_ms": millis(outcome.elapsed),
            "nodes": nodes,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_how_full_the_lists_are() {
        let line = progress(Duration::from_millis(1500), 190, 380);
        assert!(line.starts_with("  1.50 s"), "{line}");
        assert_eq!(line.matches('#').count(), BAR_WIDTH / 2);
        assert!(progress(Duration::ZERO, 0, 0).contains("0 of 0"));
    }
}
