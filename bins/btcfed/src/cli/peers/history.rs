//! `peers history` and `peers restore`: what the copies of the peers file hold, and how to go back to one.

use btcfed_core::set::PeerSet;
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{CopyKind, StoredCopy};
use serde_json::{Value, json};

use super::backend::wall_now;
use super::verify::refuse_secret;
use super::workbench::Workbench;
use super::{table, transfer};
use crate::cli::args::{Global, RestoreOptions};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::peers::{Restoration, restoration};
use crate::view::{time_text, with_schema};

pub(super) fn history(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let copies = Workbench::open(global)?.copies()?;
    let empty = PeerSet::default();
    let present = present(&copies).map_or(&empty, |copy| &copy.set);
    let shown: Vec<Value> = copies.iter().map(|copy| described(copy, present)).collect();
    let document = with_schema("peers-history", json!({ "copies": shown }));
    output.result(&document, table::history);
    Ok(Exit::Ok)
}

pub(super) fn present(copies: &[StoredCopy]) -> Option<&StoredCopy> {
    copies.iter().find(|copy| copy.kind == CopyKind::Current)
}

fn described(copy: &StoredCopy, present: &PeerSet) -> Value {
    let now = wall_now();
    let way = restoration(present, &copy.set, now);
    let count = |action: &str| {
        let is = |change: &&Value| change["action"] == action;
        way.changes.iter().filter(is).count()
    };
    json!({
        "kind": copy.kind.as_str(),
        "file": file_name(copy),
        "generation": copy.generation,
        "written": copy.written.map(time_text),
        "intact": copy.is_intact,
        "peers": copy.set.len(),
        "chosen": copy.set.views().filter(|peer| peer.is_reserved()).count(),
        "bans": copy.set.bans().filter(|ban| ban.is_active(now)).count(),
        "unreadable": copy.unreadable.len(),
        "restoring": {
            "added": count("add"), "updated": count("update"), "removed": count("remove"),
            "banned": count("ban"), "unbanned": count("unban"),
        },
    })
}

fn file_name(copy: &StoredCopy) -> String {
    let name = copy.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

pub(super) fn restore(
    global: &Global,
    options: &RestoreOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let bench = Workbench::open(global)?;
    let copies = bench.copies()?;
    let copy = chosen(&copies, &options.copy)?;
    refuse_secret(&copy.bytes)?;
    let (way, kept) = if options.dry_run {
        let empty = PeerSet::default();
        let present = present(&copies).map_or(&empty, |copy| &copy.set);
        (restoration(present, &copy.set, wall_now()), None)
    } else {
        let store = bench.store(global)?;
        let way = restoration(&store.snapshot(), &copy.set, wall_now());
        let kept = apply(&store, &way)?;
        bench.done(&store)?;
        (way, kept)
    };
    let changed = !way.patch.is_empty() && !options.dry_run;
    let document = with_schema(
        "peers-restore",
        json!({
            "dry_run": options.dry_run,
            "changed": changed,
            "from": described(copy, &copy.set),
            "kept": kept,
            "counts": counts(&way),
            "changes": way.changes,
        }),
    );
    output.result(&document, |document| {
        let mut text = transfer::diff(document);
        if let Some(kept) = document["kept"].as_str() {
            text.push_str(&format!("\nthe file as it was is kept in {kept}"));
        }
        text
    });
    Ok(Exit::Ok)
}

/// Keeps the present, then goes back. Without anything to change nothing is kept either.
fn apply(
    store: &btcfed_peer_store::FilePeerStore,
    way: &Restoration,
) -> Result<Option<String>, CliError> {
    if way.patch.is_empty() {
        return Ok(None);
    }
    let kept = store.keep_before()?.kept;
    store.apply(&way.patch)?;
    Ok(kept.map(|path| path.display().to_string()))
}

fn counts(way: &Restoration) -> Value {
    let count = |action: &str| {
        let is = |change: &&Value| change["action"] == action;
        way.changes.iter().filter(is).count()
    };
    json!({
        "added": count("add"), "updated": count("update"), "removed": count("remove"),
        "banned": count("ban"), "unbanned": count("unban"),
    })
}

/// The copy a person means: by kind, file name, generation, or time.
fn chosen<'a>(copies: &'a [StoredCopy], wanted: &str) -> Result<&'a StoredCopy, CliError> {
    let mut others = copies.iter().filter(|copy| copy.kind != CopyKind::Current);
    let found = if let Ok(generation) = wanted.parse::<u64>() {
        others.find(|copy| copy.generation == generation && copy.kind != CopyKind::Damaged)
    } else if let Ok(at) = wanted.parse::<jiff::Timestamp>() {
        let at = Timestamp::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
        others.find(|copy| copy.kind != CopyKind::Damaged && copy.written <= Some(at))
    } else {
        others.find(|copy| copy.kind.as_str() == wanted || file_name(copy) == wanted)
    };
    found.ok_or_else(|| {
        let reason = format!("there is no copy {:?}", crate::peers::shorten(wanted));
        CliError::new(Exit::Failed, "config", reason)
            .hint("`btcfed peers history` lists the copies, their generations and times")
    })
}
