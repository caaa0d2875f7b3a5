//! What a connection costs that nobody uses: memory and processor time of a process that holds a thousand of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::Multiaddr;
use libp2p::swarm::SwarmEvent;
use tokio::sync::mpsc;

use super::{connect, floor, process};

/// How long the idle processor time is watched.
const WATCH: Duration = Duration::from_secs(20);

/// How long all connections may take to be there, and how long they may settle.
const LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(5);

/// The server under test, until its standard input ends: `ours` or `raw`.
pub(crate) fn serve(which: &str) -> Result<String, String> {
    super::runtime()?.block_on(async {
        let mut held = None;
        let addr = match which {
            "ours" => {
                let ours = connect::ours().await?;
                let addr = ours.addrs.first().map(ToString::to_string);
                held = Some(ours);
                addr.ok_or("listening nowhere")?
            }
            "raw" => {
                let mut swarm = floor::node()?;
                let addr = floor::listen(&mut swarm).await?.to_string();
                tokio::spawn(floor::echo(swarm));
                addr
            }
            other => return Err(format!("{other}: ours or raw")),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{addr}").map_err(|error| error.to_string())?;
        out.flush().map_err(|error| error.to_string())?;
        drop(out);
        let ended = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)
        });
        ended
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        drop(held);
        Ok(String::new())
    })
}

/// A server in a process of its own.
struct Server {
    process: Child,
    addr: Multiaddr,
}

impl Server {
    fn start(which: &str) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let program = std::env::current_exe().map_err(text)?;
        let mut process = Command::new(program)
            .args(["idle-server", which])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let out = process.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(text)?;
        let addr = line.trim().parse();
        let addr = addr.map_err(|error: libp2p::multiaddr::Error| error.to_string())?;
        Ok(Self { process, addr })
    }

    fn memory(&self) -> Result<u64, String> {
        process::memory(&self.process.id().to_string())
    }

    fn processor_time(&self) -> Result<Duration, String> {
        process::processor_time(&self.process.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What `count` idle connections cost a server.
struct Cost {
    bytes_each: f64,
    processor: f64,
}

/// Compares `count` idle connections to a node of ours with as many to the floor.
pub(crate) fn run(count: usize) -> Result<String, String> {
    let runtime = super::runtime()?;
    let raw = runtime.block_on(cost("raw", count))?;
    let ours = runtime.block_on(cost("ours", count))?;
    let row = |name: &str, cost: &Cost| {
        format!(
            "| {name} | {:.1} KiB | {:.2} | {:.2} % of a core | {:.2} |",
            cost.bytes_each / 1024.0,
            cost.bytes_each / raw.bytes_each.max(1.0),
            cost.processor * 100.0,
            cost.processor / raw.processor.max(f64::MIN_POSITIVE),
        )
    };
    Ok([
        format!("| {count} idle connections | memory each | / raw | processor | / raw |"),
        "|---|---|---|---|---|".to_owned(),
        row("btcfed-network", &ours),
        row("raw libp2p", &raw),
    ]
    .join("\n"))
}

async fn cost(which: &str, count: usize) -> Result<Cost, String> {
    let server = Server::start(which)?;
    let before = server.memory()?;
    let (there, mut established) = mpsc::channel(count.max(1));
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut swarm = floor::node()?;
        swarm
            .dial(server.addr.clone())
            .map_err(|error| error.to_string())?;
        let there = there.clone();
        clients.push(tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => drop(there.try_send(Ok(()))),
                    SwarmEvent::OutgoingConnectionError { error, .. } => {
                        drop(there.try_send(Err(error.to_string())));
                    }
                    _ => {}
                }
            }
        }));
        // One after the other: what is measured is idleness, not a storm.
        tokio::time::timeout(LIMIT, established.recv())
            .await
            .map_err(|_| "a connection took too long")?
            .ok_or("the clients ended")??;
    }
    tokio::time::sleep(SETTLE).await;
    let used = server.processor_time()?;
    tokio::time::sleep(WATCH).await;
    let used = server.processor_time()?.saturating_sub(used);
    let grown = server.memory()?.saturating_sub(before);
    for client in clients {
        client.abort();
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let cost = Cost {
        bytes_each: grown as f64 / count as f64,
        processor: used.as_secs_f64() / WATCH.as_secs_f64(),
    };
    Ok(cost)
}
