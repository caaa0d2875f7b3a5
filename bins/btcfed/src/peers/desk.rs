//! One place that answers every request about peers, in the daemon and without it.

use std::collections::BTreeMap;

use btcfed_core::key::PeerKey;
use btcfed_core::store::PeerStore;
use btcfed_core::time::Timestamp;
use btcfed_node_orchestrator::Connection;
use serde_json::{Value, json};

use crate::admin::protocol::Request;
use crate::exit::CliError;
use crate::peers::{self, BanRequest, Contacts, NewPeer, approve, bans, import, labels, why};
use crate::view;

/// What requests about peers are answered from.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// Where peers are kept.
    pub store: &'a dyn PeerStore,
    /// This node, which is no peer of itself; unknown before there is a key.
    pub own: Option<PeerKey>,
    /// Who is connected; nobody while the daemon is stopped.
    pub connections: &'a [Connection],
    /// The configuration in force in the daemon.
    pub config: Option<&'a BTreeMap<&'static str, String>>,
    /// What contact with peers was like since the daemon started.
    pub contacts: &'a Contacts,
    /// The time of the request.
    pub now: Timestamp,
}

impl Desk<'_> {
    /// Answers a request, or `None` when there is no such method.
    pub async fn answer(&self, request: &Request) -> Option<Result<Value, CliError>> {
        Some(match request.method.as_str() {
            "peers.add" => self.add(request).await,
            "peers.approve" => match request.text("peer") {
                Ok(wanted) => approve::approve(self.store, wanted).await,
                Err(error) => Err(error),
            },
            "peers.ban" => self.ban(request).await,
            "peers.bans" => Ok(bans::list(&self.store.snapshot(), self.now)),
            "peers.import" => import::apply(self.store, self.own, request, self.now).await,
            "peers.list" => Ok(view::peers_list(&self.store.snapshot(), self.connections)),
            "peers.pin" => self.pin(request, true).await,
            "peers.remove" => match request.text("peer") {
                Ok(wanted) => peers::remove(self.store, wanted).await,
                Err(error) => Err(error),
            },
            "peers.rename" => self.rename(request).await,
            "peers.replace" => self.replace(request).await,
            "peers.show" => self.show(request),
            "peers.sync" => self.sync().await,
            "peers.unban" => match request.text("target") {
                Ok(wanted) => bans::unban(self.store, wanted).await,
                Err(error) => Err(error),
            },
            "peers.unpin" => self.pin(request, false).await,
            "peers.waiting" => approve::waiting(self),
            "peers.why" => match request.text("peer") {
                Ok(wanted) => why::explain(self, wanted),
                Err(error) => Err(error),
            },
            _ => return None,
        })
    }

    /// Saves what waits and takes in what people did to the file, so that file and memory say the same.
    async fn sync(&self) -> Result<Value, CliError> {
        // A disk that cannot be written may still be read.
        let saved = self.store.flush().await;
        let taken = self.store.reload().await?;
        saved?;
        let fields = json!({ "changed": taken.changes.len(), "skipped": taken.skipped.len() });
        Ok(view::with_schema("peers-sync", fields))
    }

    async fn add(&self, request: &Request) -> Result<Value, CliError> {
        let (key, addr) = peers::parse_target(request.text("target")?)?;
        let new = NewPeer {
            key,
            addr,
            name: request.optional_text("name").map(str::to_owned),
            pinned: request.flag("pinned"),
        };
        peers::add(self.store, self.own, &new).await
    }

    async fn ban(&self, request: &Request) -> Result<Value, CliError> {
        let wanted = BanRequest {
            target: request.text("target")?,
            lasting: request
                .number("for_ms")
                .map(std::time::Duration::from_millis),
            reason: request.optional_text("reason"),
        };
        bans::ban(self.store, self.own, self.now, &wanted).await
    }

    async fn pin(&self, request: &Request, pinned: bool) -> Result<Value, CliError> {
        labels::pin(self.store, request.text("peer")?, pinned).await
    }

    async fn rename(&self, request: &Request) -> Result<Value, CliError> {
        labels::rename(self.store, request.text("peer")?, request.text("name")?).await
    }

    async fn replace(&self, request: &Request) -> Result<Value, CliError> {
        let (key, addr) = peers::parse_target(request.text("target")?)?;
        labels::replace(self.store, self.own, request.text("peer")?, key, addr).await
    }

    fn show(&self, request: &Request) -> Result<Value, CliError> {
        peers::show(
            &self.store.snapshot(),
            self.connections,
            self.now,
            request.text("peer")?,
        )
    }
}
