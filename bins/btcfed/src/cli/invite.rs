//! `invite create`, `invite show`, and what `join` and `peers add` do with an invite.

mod code;
mod qr;

use btcfed_core::NodeConfig;
use btcfed_core::addr::{AddrScope, AddrWithId, PeerAddr};
use btcfed_core::time::Timestamp;
use serde_json::{Value, json};

use crate::cli::args::{CreateOptions, Global, InviteCommand};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::{Backend, wall_now};
use crate::exit::{CliError, Exit};
use crate::peers::Entry;
use crate::view::{time_text, with_schema};

pub(super) use code::{Contact, Invite};

pub(super) fn run(
    global: &Global,
    command: &InviteCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        InviteCommand::Create(options) => create(global, options, output),
        InviteCommand::Show { invite: code, qr } => {
            let invite = read(code)?;
            let document = with_schema("invite-show", describe(&invite));
            output.result(&document, text);
            qr::show(code, qr, global.color, output)?;
            Ok(Exit::Ok)
        }
    }
}

/// Reads the text of an invite, expired or not.
pub(super) fn read(text: &str) -> Result<Invite, CliError> {
    Invite::decode(text).map_err(|reason| {
        CliError::new(
            Exit::Data,
            "config",
            format!("this invite is not good: {reason}"),
        )
        .hint("ask whoever invited you for a new one: `btcfed invite create`")
    })
}

/// Refuses an invite that is over, or leads elsewhere than this node's configuration.
pub(super) fn check(invite: &Invite, config: &NodeConfig) -> Result<(), CliError> {
    check_expiry(invite)?;
    let mismatch = |key: &str, theirs: &str, ours: &str| {
        let message = format!("the invite is for {key} {theirs:?}, this node has {ours:?}");
        let mut error = CliError::new(Exit::Config, "config", message);
        error.key = Some(key.to_owned());
        Err(error.hint(format!(
            "set {key} in conf.yaml and restart the node, or use another directory for another federation"
        )))
    };
    if invite.federation != config.federation {
        return mismatch("node.federation", &invite.federation, &config.federation);
    }
    if invite.network != config.bitcoin_network {
        let (theirs, ours) = (invite.network.as_str(), config.bitcoin_network.as_str());
        return mismatch("node.network", theirs, ours);
    }
    Ok(())
}

/// Refuses an invite that is over.
pub(super) fn check_expiry(invite: &Invite) -> Result<(), CliError> {
    if wall_now() < invite.expires {
        return Ok(());
    }
    let message = format!("this invite was good until {}", time_text(invite.expires));
    Err(CliError::new(Exit::Data, "config", message)
        .hint("ask for a new one; or is this machine's clock wrong?"))
}

/// The contacts as entries of an import; the name is the issuer's.
pub(super) fn entries(invite: &Invite, name: Option<&str>, pinned: bool) -> Vec<Value> {
    let entry = |(at, contact): (usize, &Contact)| {
        let entry = Entry {
            key: contact.key,
            addresses: contact.addresses.clone(),
            name: name.filter(|_| at == 0).map(str::to_owned),
            note: None,
            pinned,
        };
        entry.to_json()
    };
    invite.contacts.iter().enumerate().map(entry).collect()
}

/// `peers add INVITE`.
pub(super) fn add(
    global: &Global,
    text: &str,
    name: Option<&str>,
    pinned: bool,
    output: &Output,
) -> Result<Exit, CliError> {
    let invite = read(text)?;
    check(&invite, &context::load(global)?.full.config)?;
    let mut backend = Backend::open(global)?;
    let entries = entries(&invite, name, pinned);
    let answer = backend.call("peers.import", json!({ "entries": entries }))?;
    backend.close(output)?;
    let changes = answer["changes"].as_array();
    let changed = changes
        .into_iter()
        .flatten()
        .any(|change| matches!(change["action"].as_str(), Some("add" | "update")));
    let issuer = invite
        .contacts
        .first()
        .map(|contact| contact.key.peer_id().to_string());
    let fields = json!({
        "changed": changed, "durable": answer["durable"], "peer_id": issuer, "changes": answer["changes"],
    });
    output.result(&with_schema("peers-add", fields), |_| {
        if changed {
            format!("added {} contacts of the invite", invite.contacts.len())
        } else {
            "all contacts of the invite are known; nothing changed".to_owned()
        }
    });
    Ok(Exit::Ok)
}

fn create(global: &Global, options: &CreateOptions, output: &Output) -> Result<Exit, CliError> {
    let loaded = context::load(global)?;
    let secret = loaded.existing_key()?;
    let config = &loaded.full.config;
    let mut backend = Backend::open(global)?;
    let own = own_addresses(&options.address, config, &mut backend)?;
    let mut contacts = vec![Contact {
        key: secret.public(),
        addresses: own,
    }];
    let list = backend.call("peers.list", json!({}))?;
    let wanted = usize::from(options.contacts) - 1;
    contacts.extend(others(&list, wanted, &contacts));
    backend.close(output)?;
    let invite = Invite {
        expires: wall_now().saturating_add(options.expires),
        network: config.bitcoin_network,
        federation: config.federation.clone(),
        contacts,
    };
    let code = invite
        .encode(&secret)
        .map_err(|reason| CliError::new(Exit::Failed, "config", format!("no invite: {reason}")))?;
    let mut fields = describe(&invite);
    fields["invite"] = json!(code);
    output.result(&with_schema("invite-create", fields), |_| code.clone());
    qr::show(&code, &options.qr, global.color, output)?;
    let until = time_text(invite.expires);
    let count = invite.contacts.len();
    output.talk(&format!(
        "contacts: {count}; good until {until}; the new member runs: btcfed join INVITE"
    ));
    Ok(Exit::Ok)
}

/// Where a stranger can reach this node: as told, else as announced, else where it listens.
pub(super) fn own_addresses(
    told: &[String],
    config: &NodeConfig,
    backend: &mut Backend,
) -> Result<Vec<PeerAddr>, CliError> {
    let mut addresses = Vec::new();
    for text in told {
        let parsed: AddrWithId = text
            .parse()
            .map_err(|error| CliError::new(Exit::Data, "config", format!("{error}")))?;
        addresses.push(parsed.addr);
    }
    if addresses.is_empty() {
        addresses.clone_from(&config.network.announce);
    }
    if addresses.is_empty()
        && let Backend::Daemon(client) = backend
    {
        let status = client.call("status", json!({}))?;
        let texts = ["announce", "listen"].into_iter();
        let texts = texts.flat_map(|list| status[list].as_array().into_iter().flatten());
        addresses.extend(texts.filter_map(|text| text.as_str()?.parse::<PeerAddr>().ok()));
    }
    if addresses.is_empty() {
        addresses.clone_from(&config.network.addresses);
    }
    addresses.retain(PeerAddr::is_dialable);
    addresses.sort_by_key(reach);
    addresses.dedup();
    addresses.truncate(code::MAX_ADDRESSES);
    if addresses.is_empty() {
        let mut error = CliError::new(
            Exit::Failed,
            "config",
            "this node knows no address at which others can reach it",
        );
        error.key = Some("network.announce".to_owned());
        return Err(
            error.hint("name one with --address /dns4/HOST/tcp/PORT, or set network.announce")
        );
    }
    Ok(addresses)
}

/// Far-reaching addresses first.
fn reach(addr: &PeerAddr) -> u8 {
    match addr.scope() {
        AddrScope::Public | AddrScope::Dns => 0,
        AddrScope::Private => 1,
        AddrScope::LinkLocal | AddrScope::Loopback | AddrScope::Unspecified => 2,
    }
}

/// Further contacts: connected and chosen peers first.
fn others(list: &Value, wanted: usize, known: &[Contact]) -> Vec<Contact> {
    let mut found: Vec<(u8, Contact)> = Vec::new();
    for peer in list["peers"].as_array().into_iter().flatten() {
        let Ok(entry) = Entry::from_json(peer) else {
            continue;
        };
        let mut addresses = entry.addresses;
        addresses.retain(PeerAddr::is_dialable);
        addresses.sort_by_key(reach);
        addresses.truncate(code::MAX_ADDRESSES);
        let is_known = known.iter().any(|contact| contact.key == entry.key);
        if peer["status"] == "banned" || addresses.is_empty() || is_known {
            continue;
        }
        let away = u8::from(peer["connection"]["state"] != "connected");
        let learned = u8::from(!matches!(
            peer["source"].as_str(),
            Some("operator" | "bootstrap")
        ));
        let contact = Contact {
            key: entry.key,
            addresses,
        };
        found.push((2 * away + learned, contact));
    }
    found.sort_by_key(|(rank, _)| *rank);
    found
        .into_iter()
        .take(wanted)
        .map(|(_, contact)| contact)
        .collect()
}

/// Everything an invite says.
pub(super) fn describe(invite: &Invite) -> Value {
    let contacts: Vec<Value> = invite
        .contacts
        .iter()
        .map(|contact| {
            json!({
                "peer_id": contact.key.peer_id().to_string(),
                "public_key": contact.key.to_string(),
                "addresses": contact.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "federation": invite.federation,
        "network": invite.network.as_str(),
        "expires": time_text(invite.expires),
        "expired": is_over(invite.expires),
        "issuer": contacts.first().map(|contact| contact["peer_id"].clone()),
        "contacts": contacts,
    })
}

fn is_over(expires: Timestamp) -> bool {
    wall_now() >= expires
}

/// The same for people.
pub(super) fn text(invite: &Value) -> String {
    let text = |key: &str| invite[key].as_str().unwrap_or_default().to_owned();
    let federation = match text("federation").as_str() {
        "" => "(no id)".to_owned(),
        federation => federation.to_owned(),
    };
    let over = if invite["expired"] == true {
        " (over)"
    } else {
        ""
    };
    let mut lines = vec![
        format!("federation  {federation} on {}", text("network")),
        format!("good until  {}{over}", text("expires")),
        format!("issued by   {}", text("issuer")),
    ];
    for contact in invite["contacts"].as_array().into_iter().flatten() {
        lines.push(format!(
            "contact     {}",
            contact["peer_id"].as_str().unwrap_or("?")
        ));
        for addr in contact["addresses"].as_array().into_iter().flatten() {
            lines.push(format!("            {}", addr.as_str().unwrap_or("?")));
        }
    }
    lines.join("\n")
}
