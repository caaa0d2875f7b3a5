//! `peers repair`: the best that file and copies come to, and a list of what is lost.

use std::path::PathBuf;

use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::PeerRecord;
use btcfed_peer_store::{CopyKind, StoredCopy, Unreadable};
use serde_json::{Value, json};

use super::field;
use super::history::present;
use super::verify::refuse_secret;
use super::workbench::Workbench;
use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// What a repair brings back, and what it cannot.
#[derive(Debug, Default)]
struct Plan<'a> {
    back: Vec<PeerRecord>,
    lost: Vec<&'a Unreadable>,
}

pub(super) fn run(global: &Global, dry_run: bool, output: &Output) -> Result<Exit, CliError> {
    let bench = Workbench::open(global)?;
    let copies = bench.copies()?;
    let Some(file) = present(&copies) else {
        let error = CliError::new(Exit::Failed, "config", "there is no peers file");
        return Err(error.file(bench.path.display()).hint(
            "nothing is known yet; where a copy exists, the next start writes the file again from it",
        ));
    };
    refuse_secret(&file.bytes)?;
    let plan = Plan::new(file, &copies);
    let needed = !file.unreadable.is_empty();
    let kept = if needed && !dry_run {
        mend(global, bench, file, &plan)?
    } else {
        None
    };
    let document = with_schema(
        "peers-repair",
        json!({
            "dry_run": dry_run,
            "changed": needed && !dry_run,
            "file": file.path.display().to_string(),
            "read": file.set.len(),
            "unreadable": file.unreadable.iter().map(told).collect::<Vec<_>>(),
            "from_copies": plan.back.iter().map(|record| {
                json!({ "peer_id": record.peer_id().to_string(), "name": record.name })
            }).collect::<Vec<_>>(),
            "lost": plan.lost.iter().copied().map(told).collect::<Vec<_>>(),
            "kept": kept.map(|path| path.display().to_string()),
        }),
    );
    output.result(&document, text);
    Ok(if plan.lost.is_empty() {
        Exit::Ok
    } else {
        Exit::Data
    })
}

/// Writes the file anew. Returns where the damaged bytes are kept.
fn mend(
    global: &Global,
    bench: Workbench,
    file: &StoredCopy,
    plan: &Plan<'_>,
) -> Result<Option<PathBuf>, CliError> {
    let store = bench.store(global)?;
    // Opening the store already keeps torn bytes; what is left are entries that would stay in the file as they are.
    store.repair()?;
    let known = store.snapshot();
    let missing = plan
        .back
        .iter()
        .filter(|record| !known.contains(&record.key));
    let create = |record: &PeerRecord| PeerOp::Create(Box::new(record.clone()));
    let patch: PeerPatch = missing.map(create).collect();
    if !patch.is_empty() {
        store.apply(&patch)?;
    }
    let copies = bench.copies()?;
    bench.done(&store)?;
    let kept = copies
        .into_iter()
        .find(|copy| copy.kind == CopyKind::Damaged && copy.bytes == file.bytes);
    Ok(kept.map(|copy| copy.path))
}

impl<'a> Plan<'a> {
    /// Entries that name their peer come back from the newest copy that has it. Where lines name nobody, every peer of the
    /// newest intact copy comes back that the file lacks and nobody removed.
    fn new(file: &'a StoredCopy, copies: &'a [StoredCopy]) -> Self {
        let mut plan = Self::default();
        let is_gone =
            |key: &PeerKey| !file.set.contains(key) && file.set.forgotten_mark(key).is_none();
        let others = || {
            let is_other = |copy: &&StoredCopy| copy.kind != CopyKind::Current;
            copies.iter().filter(is_other)
        };
        for lines in file.unreadable.iter().filter(|lines| lines.key.is_some()) {
            let key = lines.key.filter(is_gone);
            let found = key.map(|key| others().find_map(|copy| copy.set.get(&key)));
            match found {
                Some(Some(record)) => plan.back.push(record),
                Some(None) => plan.lost.push(lines),
                // Another entry says the same, or the peer was removed on purpose.
                None => {}
            }
        }
        let nameless: Vec<&Unreadable> = file
            .unreadable
            .iter()
            .filter(|lines| lines.key.is_none())
            .collect();
        if nameless.is_empty() {
            return plan;
        }
        let named = plan.back.len();
        let intact = others().find(|copy| copy.is_intact);
        for record in intact.into_iter().flat_map(|copy| copy.set.iter()) {
            if is_gone(&record.key) && !plan.back.iter().any(|known| known.key == record.key) {
                plan.back.push(record);
            }
        }
        // Torn places are made good by a copy of the same save; of entries, each wants a peer that came back.
        let entries = nameless.iter().filter(|lines| !lines.is_damage).count();
        let is_same_save = intact.is_some_and(|copy| copy.generation >= file.generation);
        if plan.back.len() - named < entries || !is_same_save {
            plan.lost.extend(nameless);
        }
        plan
    }
}

fn told(lines: &Unreadable) -> Value {
    json!({ "line": lines.line, "message": lines.reason })
}

fn text(document: &Value) -> String {
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let file = field(document, "file");
    if list("unreadable").is_empty() {
        return format!("{file}: nothing to repair; {} peers", document["read"]);
    }
    let would = if document["dry_run"] == true {
        "would be "
    } else {
        ""
    };
    let mut lines: Vec<String> = list("unreadable")
        .iter()
        .map(|entry| {
            format!(
                "{file}:{}: {would}taken out: {}",
                entry["line"],
                field(entry, "message")
            )
        })
        .collect();
    for peer in list("from_copies") {
        let name = peer["name"].as_str().unwrap_or("-");
        lines.push(format!("+ {} {name}, from a copy", field(&peer, "peer_id")));
    }
    for entry in list("lost") {
        lines.push(format!("lost: line {}: no copy has it", entry["line"]));
    }
    lines.push(format!(
        "{} kept, {} {would}brought back, {} lost",
        document["read"],
        list("from_copies").len(),
        list("lost").len()
    ));
    if let Some(kept) = document["kept"].as_str() {
        lines.push(format!("the damaged file is kept in {kept}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    fn copy(kind: CopyKind, text: &str) -> StoredCopy {
        let bytes = text.as_bytes().to_vec();
        StoredCopy::parse(kind, PathBuf::from(kind.as_str()), None, bytes)
    }

    fn entry(n: u16) -> String {
        format!("  - public_key: {}\n", test_key(n))
    }

    #[test]
    fn an_unreadable_entry_comes_back_from_the_newest_copy_that_has_its_peer() {
        let bad = format!("{}    addresses: [x]\n", entry(1));
        let lost = format!("{}    addresses: [x]\n", entry(2));
        let file = copy(
            CopyKind::Current,
            &format!("peers:\n{bad}{lost}{}", entry(3)),
        );
        let base = copy(CopyKind::Base, &format!("peers:\n{}{}", entry(1), entry(4)));
        let copies = [file.clone(), base];
        let plan = Plan::new(&file, &copies);
        let back: Vec<PeerKey> = plan.back.iter().map(|record| record.key).collect();
        assert_eq!(back, [test_key(1)], "whom no bad line names stays away");
        assert_eq!(plan.lost.len(), 1);
        assert_eq!(plan.lost[0].key, Some(test_key(2)));
    }

    #[test]
    fn lines_that_name_nobody_are_lost_unless_a_copy_makes_up_for_them() {
        let file = copy(CopyKind::Current, "peers:\n  - public_key: nonsense\n");
        assert_eq!(Plan::new(&file, &[]).lost.len(), 1);
    }
}
