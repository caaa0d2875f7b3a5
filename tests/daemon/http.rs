//! The HTTP endpoint of the real daemon: off unless asked for, probes that tell the truth, counters that scrapers read.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(10);

fn configure(dir: &Path, http: &str) {
    let text = format!("{}admin:\n  http: {http}\n", yaml(&[]));
    fs::write(dir.join("conf.yaml"), text).unwrap();
}

/// Where a daemon answers HTTP, as its log says.
fn place(node: &Daemon) -> String {
    wait_for("the endpoint", LIMIT, || {
        let log = node.log();
        let line = log.lines().find(|line| line.contains("answering HTTP"))?;
        let (_, rest) = line.split_once("127.0.0.1:")?;
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("127.0.0.1:{port}"))
    })
}

/// Status code and body.
fn get(place: &str, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

#[test]
fn probes_tell_the_truth_while_the_node_lives_and_the_command_reads_the_same_counters() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    configure(dir.path(), "127.0.0.1:0");
    let mut node = Daemon::start(dir.path());
    let place = place(&node);
    assert_eq!(get(&place, "/livez"), (200, "alive\n".to_owned()));
    assert_eq!(get(&place, "/readyz"), (200, "ready\n".to_owned()));
    let lonely = get(&place, "/readyz?min-peers=1");
    assert_eq!(lonely, (503, "0 of 1 peers connected\n".to_owned()));
    for nonsense in ["min-peers=", "min-peers=-1", "min-peers=x", "max-peers=1"] {
        assert_eq!(get(&place, &format!("/readyz?{nonsense}")).0, 400);
    }
    let other = Daemon::start_with(other_dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    node.json(&["peers", "add", &other.full_addr()]);
    wait_for("company", LIMIT, || {
        (get(&place, "/readyz?min-peers=1").0 == 200).then_some(())
    });
    let (code, text) = get(&place, "/metrics");
    assert_eq!(code, 200);
    let names = check(&text);
    let printed = node.json(&["metrics"])["text"].as_str().unwrap().to_owned();
    assert_eq!(names, check(&printed));
    assert!(text.contains("btcfed_peers{state=\"connected\"} 1\n"));
    node.terminate();
    assert!(TcpStream::connect(&place).is_err(), "gone with the node");
}

#[test]
fn it_is_off_by_default_and_refuses_to_speak_to_other_machines_or_on_a_taken_port() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    assert!(!node.log().contains("answering HTTP"));
    drop(node);
    configure(dir.path(), "0.0.0.0:0");
    let (code, refused) = run_json(dir.path(), &["run"]);
    assert_eq!(code, 78, "{refused}");
    let told = refused.to_string();
    assert!(told.contains("admin.http") && told.contains("http_insecure"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    configure(dir.path(), &format!("127.0.0.1:{port}"));
    let (code, refused) = run_json(dir.path(), &["run"]);
    assert_eq!(
        (code, refused["error"]["key"].as_str()),
        (69, Some("admin.http"))
    );
}

/// Checks the text as a scraper reads it, and returns the names of the series. Every series has HELP and TYPE once and
/// before its samples, names and labels are spelled right, values are numbers, and no sample comes twice.
fn check(text: &str) -> Vec<String> {
    let name_is_good = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut names, mut samples, mut helped) = (Vec::new(), Vec::new(), None);
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(name_is_good(name) && !help.is_empty(), "{line}");
            assert!(!names.contains(&name.to_owned()), "twice: {line}");
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(helped.take().as_deref(), Some(name), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", is_total(name), "{line}");
            names.push(name.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert_eq!(names.last().map(String::as_str), Some(name), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            labels(series.strip_prefix(name).unwrap());
            assert!(!samples.contains(&series.to_owned()), "twice: {line}");
            samples.push(series.to_owned());
        }
    }
    assert!(names.len() > 10 && samples.len() >= names.len());
    names
}

/// Counters end in `_total`, but for the generation of the store, which is a number of its file.
fn is_total(name: &str) -> bool {
    name.ends_with("_total") || name == "btcfed_store_generation"
}

/// `{name="value",...}` or nothing; a value escapes quotes, backslashes and line feeds.
fn labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut rest = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{text}"
        );
        let mut end = None;
        let mut escaped = false;
        for (at, c) in value.char_indices() {
            match (escaped, c) {
                (true, '\\' | '"' | 'n') => escaped = false,
                (true, other) => panic!("\\{other} is no escape: {text}"),
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, _) => {}
            }
        }
        rest = &value[end.unwrap() + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}
