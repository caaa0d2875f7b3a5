//! A name server on loopback that says what a test wants.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// Seconds that every answer is good for.
const TTL: u32 = 1;
/// Seconds that it is good for that a name does not exist, as the server says.
const NEGATIVE_TTL: u32 = 3600;
/// Longest answer over UDP, in bytes: a longer one is told to be cut off, and asked for again over TCP.
const MAX_UDP_BYTES: usize = 512;

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
    asked: Arc<AtomicUsize>,
    asked_by_tcp: Arc<AtomicUsize>,
}

impl NameServer {
    /// Answers until the test ends. A name it was not told of does not exist.
    pub(crate) async fn start() -> Self {
        // Both protocols at one port; another test may have one of the two.
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let this = Self {
            addr: socket.local_addr().unwrap(),
            answers: Arc::default(),
            asked: Arc::default(),
            asked_by_tcp: Arc::default(),
        };
        tokio::spawn(this.clone().serve_tcp(listener));
        let (answers, asked) = (Arc::clone(&this.answers), Arc::clone(&this.asked));
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = respond(&buffer[..length], &answers.lock().unwrap());
                if let Some(mut answer) = answer {
                    if answer.len() > MAX_UDP_BYTES {
                        answer = cut_off(&answer, length);
                    }
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        this
    }

    async fn serve_tcp(self, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let this = self.clone();
            tokio::spawn(async move { while this.converse(&mut stream).await.is_ok() {} });
        }
    }

    /// One question and its answer, each with its length before it.
    async fn converse(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut query = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut query).await?;
        self.asked_by_tcp.fetch_add(1, Ordering::SeqCst);
        let answer = respond(&query, &self.answers.lock().unwrap()).unwrap_or_default();
        stream
            .write_u16(u16::try_from(answer.len()).unwrap())
            .await?;
        stream.write_all(&answer).await
    }

    /// How often it was asked over UDP and over TCP.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.asked), count(&self.asked_by_tcp))
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
    out.extend([0, 0, 0, 0]);
    out.extend(&query[12..at + 5]);
    for (kind, data) in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(TTL.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    if !is_known {
        out[9] = 1;
        out.extend(authority());
    }
    Some(out)
}

/// What a server says beside "no such name": how long that is good for (RFC 2308).
fn authority() -> Vec<u8> {
    let mut data = [encoded("ns.example.net"), encoded("admin.example.net")].concat();
    for number in [1, 3600, 600, 86_400, NEGATIVE_TTL] {
        data.extend(number.to_be_bytes());
    }
    let mut out = encoded("example.net");
    out.extend(SOA.to_be_bytes());
    out.extend([0, 1]);
    out.extend(NEGATIVE_TTL.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

/// The head and the question of an answer that is too long, marked as cut off.
fn cut_off(answer: &[u8], query_length: usize) -> Vec<u8> {
    let question = answer[12..].iter().position(|byte| *byte == 0).unwrap() + 12 + 5;
    let mut out = answer[..question.min(query_length)].to_vec();
    out[2] |= 0x02;
    out[6..12].fill(0);
    out
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
