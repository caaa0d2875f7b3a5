use super::*;

#[test]
fn durations_are_written_the_way_the_file_spells_them() {
    for (millis, text) in [
        (0, "0s"),
        (500, "500ms"),
        (30_000, "30s"),
        (90_000, "1m30s"),
        (86_400_000, "24h"),
        (3_661_001, "1h1m1s1ms"),
    ] {
        assert_eq!(format_duration(Duration::from_millis(millis)), text);
    }
}

#[test]
fn the_difference_of_two_configurations_names_every_changed_key_and_no_other() {
    let old = NodeConfig::default();
    let mut new = old.clone();
    assert_eq!(old.diff(&new), []);
    new.peers.exchange_interval = Duration::from_secs(15);
    new.peers.file = "other.yaml".into();
    let changes = old.diff(&new);
    let told: Vec<_> = changes
        .iter()
        .map(|c| (c.key, c.old.as_str(), c.new.as_str(), c.needs_restart))
        .collect();
    assert_eq!(
        told,
        [
            ("peers.exchange_interval", "30s", "15s", false),
            ("peers.file", "peers.yaml", "other.yaml", true),
        ]
    );
}

#[test]
fn a_problem_names_file_line_key_reason_and_hint() {
    let mut problem = ConfigProblem {
        origin: "conf.yaml".into(),
        line: Some(12),
        key: Some("network.adresses".into()),
        reason: "unknown key".into(),
        hint: Some("did you mean addresses?".into()),
    };
    assert_eq!(
        problem.to_string(),
        "conf.yaml:12: network.adresses: unknown key; did you mean addresses?"
    );
    problem.line = None;
    problem.key = None;
    problem.hint = None;
    assert_eq!(problem.to_string(), "conf.yaml: unknown key");
}

#[test]
fn liveness_allows_exactly_the_configured_missed_pings() {
    let config = NetworkConfig::default();
    assert_eq!(config.liveness_deadline(), Duration::from_secs(55));
}
