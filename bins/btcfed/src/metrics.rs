//! The node's counters as Prometheus text: what the command prints and what the HTTP endpoint answers.

use serde_json::Value;

/// Name, kind, help, and one line per label with the place of its value in `btcfed.status/1`.
type Metric = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const METRICS: [Metric; 14] = [
    (
        "btcfed_uptime_seconds",
        "gauge",
        "time since the start",
        &[("", "/uptime_s")],
    ),
    (
        "btcfed_tasks",
        "gauge",
        "tasks alive in the process",
        &[("", "/tasks")],
    ),
    (
        "btcfed_peers",
        "gauge",
        "peers by state",
        &[
            ("state=\"known\"", "/peers/known"),
            ("state=\"connected\"", "/peers/connected"),
            ("state=\"banned\"", "/peers/banned"),
        ],
    ),
    (
        "btcfed_config_revision",
        "gauge",
        "configurations since the start",
        &[("", "/config/revision")],
    ),
    (
        "btcfed_store_generation",
        "counter",
        "saves of the peers file",
        &[("", "/store/generation")],
    ),
    (
        "btcfed_connections_established_total",
        "counter",
        "connections that were established",
        &[("", "/connections/established")],
    ),
    (
        "btcfed_connections_ended_total",
        "counter",
        "connections that ended",
        &[("", "/connections/ended")],
    ),
    (
        "btcfed_dials_total",
        "counter",
        "dials that were started",
        &[("", "/connections/dials")],
    ),
    (
        "btcfed_dials_failed_total",
        "counter",
        "dials that ended without a connection",
        &[("", "/connections/dials_failed")],
    ),
    (
        "btcfed_messages_total",
        "counter",
        "messages of the exchange protocol",
        &[
            ("direction=\"in\"", "/traffic/messages_in"),
            ("direction=\"out\"", "/traffic/messages_out"),
        ],
    ),
    (
        "btcfed_bytes_total",
        "counter",
        "bytes of the exchange protocol",
        &[
            ("direction=\"in\"", "/traffic/bytes_in"),
            ("direction=\"out\"", "/traffic/bytes_out"),
        ],
    ),
    (
        "btcfed_records_total",
        "counter",
        "peer records by outcome",
        &[
            ("outcome=\"offered\"", "/discovery/records_offered"),
            ("outcome=\"accepted\"", "/discovery/records_accepted"),
            ("outcome=\"refused\"", "/discovery/records_refused"),
        ],
    ),
    (
        "btcfed_signatures_checked_total",
        "counter",
        "signatures that were checked",
        &[("", "/discovery/signatures_checked")],
    ),
    (
        "btcfed_peers_added_total",
        "counter",
        "peers that became known",
        &[("", "/discovery/peers_added")],
    ),
];

/// The text, from a `btcfed.status/1` document.
#[must_use]
pub fn prometheus(status: &Value) -> String {
    let label = |path: &str| {
        let text = status
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default();
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let mut text = format!(
        "# HELP btcfed_info who runs here\n# TYPE btcfed_info gauge\nbtcfed_info{{version=\"{}\",peer_id=\"{}\"}} 1\n",
        label("/version"),
        label("/peer_id")
    );
    for (name, kind, help, lines) in METRICS {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, path) in lines {
            let value = status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
    let degraded = u8::from(status.pointer("/store/state").and_then(Value::as_str) != Some("ok"));
    let ready = u8::from(status["state"] == "running" && degraded == 0);
    for (name, help, value) in [
        (
            "btcfed_store_degraded",
            "1 while changes are kept in memory only",
            degraded,
        ),
        (
            "btcfed_ready",
            "1 while the node runs and its store is writable",
            ready,
        ),
    ] {
        text.push_str(&format!(
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_labels_are_escaped() {
        let status = json!({ "version": "a\"b\\c\nd", "state": "running", "store": { "state": "ok" }, "peers": { "known": 3 } });
        let text = prometheus(&status);
        assert!(text.contains("version=\"a\\\"b\\\\c\\nd\""), "{text}");
        assert!(
            text.contains("btcfed_peers{state=\"known\"} 3\n") && text.contains("btcfed_ready 1\n"),
            "{text}"
        );
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                name.starts_with("btcfed_") && value.parse::<u64>().is_ok(),
                "{line}"
            );
        }
    }
}
