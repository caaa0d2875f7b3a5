//! The endpoint on real sockets: its bounds, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Plain;
use std::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// An endpoint whose node starts for ever, on a runtime of its own.
fn endpoint(deadline: Duration) -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let bound = runtime.block_on(HttpEndpoint::bind(any, Subject::default()));
    let mut bound = bound.unwrap();
    bound.deadline = deadline;
    let at = bound.local_addr().unwrap();
    runtime.spawn(bound.serve());
    (runtime, at)
}

fn open(at: SocketAddr) -> Plain {
    let stream = Plain::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(at: SocketAddr, request: &str) -> String {
    let mut stream = open(at);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn a_node_that_starts_is_alive_and_not_ready() {
    let (_runtime, at) = endpoint(PATIENCE);
    for (target, expected) in [
        ("/livez", "200"),
        ("/readyz", "503"),
        ("/readyz?min-peers=0", "503"),
        ("/metrics", "503"),
        ("/", "404"),
        ("/livez/", "404"),
        ("/metrics/../livez", "404"),
    ] {
        let answer = ask(at, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(code(&answer), expected, "{target}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn only_get_and_head_are_answered_and_nonsense_is_told_so() {
    let (_runtime, at) = endpoint(PATIENCE);
    let head = ask(at, "HEAD /livez HTTP/1.1\r\n\r\n");
    assert_eq!(code(&head), "200");
    assert!(
        head.contains("Content-Length: 6\r\n") && head.ends_with("\r\n\r\n"),
        "no body: {head}"
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "CONNECT"] {
        let answer = ask(at, &format!("{method} /livez HTTP/1.1\r\n\r\n"));
        assert_eq!(code(&answer), "405", "{method}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
    for line in [
        "GET",
        "GET /livez",
        "GET /livez HTTP/2",
        "GET http://x/livez HTTP/1.1",
        "GET /livez HTTP/1.1 more",
        "",
        "\u{fffd}",
    ] {
        let answer = ask(at, &format!("{line}\r\n\r\n"));
        assert_eq!(code(&answer), "400", "{line:?}");
    }
}

#[test]
fn a_request_at_the_limit_is_answered_and_one_past_it_is_not() {
    let (_runtime, at) = endpoint(PATIENCE);
    let frame = "GET /livez HTTP/1.1\r\nX: \r\n\r\n".len();
    let request = |length: usize| {
        let filler = "x".repeat(length - frame);
        format!("GET /livez HTTP/1.1\r\nX: {filler}\r\n\r\n")
    };
    assert_eq!(code(&ask(at, &request(MAX_HTTP_REQUEST_BYTES))), "200");
    assert_eq!(code(&ask(at, &request(MAX_HTTP_REQUEST_BYTES + 1))), "431");
    assert_eq!(code(&ask(at, &request(20 * 1024))), "431");
}

#[test]
fn the_last_place_is_served_at_once_and_one_past_it_when_a_slow_client_is_cut() {
    let deadline = Duration::from_millis(1500);
    let (_runtime, at) = endpoint(deadline);
    let started = Instant::now();
    let mut slow: Vec<Plain> = (1..MAX_HTTP_CONNECTIONS).map(|_| open(at)).collect();
    assert_eq!(code(&ask(at, "GET /livez HTTP/1.1\r\n\r\n")), "200");
    assert!(started.elapsed() < deadline, "the last place was free");
    slow.push(open(at));
    for stream in &mut slow {
        stream.write_all(b"GET /live").unwrap();
    }
    assert_eq!(code(&ask(at, "GET /livez HTTP/1.1\r\n\r\n")), "200");
    assert!(started.elapsed() >= deadline, "every place was taken");
    for mut stream in slow {
        let mut rest = Vec::new();
        // Cut: an end or a reset, but never an answer.
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.is_empty());
    }
}

#[test]
fn a_port_that_is_taken_says_so_and_names_the_key() {
    let (runtime, at) = endpoint(PATIENCE);
    let error = runtime
        .block_on(HttpEndpoint::bind(at, Subject::default()))
        .unwrap_err();
    assert_eq!(error.exit, Exit::Unavailable);
    assert_eq!(error.key.as_deref(), Some("admin.http"));
}
