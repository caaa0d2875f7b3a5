//! A name server on loopback that says what a test wants.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// Seconds that every answer is good for.
const TTL: u32 = 1;

/// What a name leads to.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Alias(&'static str),
    Ip4(Vec<Ipv4Addr>),
    Ip6(Vec<Ipv6Addr>),
    Nothing,
    Silence,
    Text(String),
}

#[derive(Clone, Debug)]
pub(crate) struct NameServer {
    pub(crate) addr: SocketAddr,
    answers: Arc<Mutex<HashMap<&'static str, Answer>>>,
}

impl NameServer {
    /// Answers until the test ends. A name it was not told of does not exist.
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            addr: socket.local_addr().unwrap(),
            answers: Arc::default(),
        };
        let answers = Arc::clone(&this.answers);
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = respond(&buffer[..length], &answers.lock().unwrap());
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        this
    }

    pub(crate) fn says(&self, name: &'static str, answer: Answer) {
        self.answers.lock().unwrap().insert(name, answer);
    }
}

/// The answer to a question, in the form of RFC 1035.
fn respond(query: &[u8], answers: &HashMap<&'static str, Answer>) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let name = labels.join(".");
    let records: Vec<(u16, Vec<u8>)> = match answers.get(name.as_str()) {
        Some(Answer::Silence) => return None,
        Some(Answer::Alias(to)) => vec![(CNAME, encoded(to))],
        Some(Answer::Ip4(ips)) if kind == A => {
            ips.iter().map(|ip| (A, ip.octets().to_vec())).collect()
        }
        Some(Answer::Ip6(ips)) if kind == AAAA => {
            ips.iter().map(|ip| (AAAA, ip.octets().to_vec())).collect()
        }
        Some(Answer::Text(text)) if kind == TXT => {
            let length = u8::try_from(text.len()).unwrap();
            vec![(TXT, [&[length], text.as_bytes()].concat())]
        }
        Some(_) | None => Vec::new(),
    };
    let is_known = !matches!(answers.get(name.as_str()), Some(Answer::Nothing) | None);
    let mut out = query[..2].to_vec();
    out.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1]);
    out.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    out.extend([0; 4]);
    out.extend(&query[12..at + 5]);
    for (kind, data) in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(TTL.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
