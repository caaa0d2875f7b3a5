//! One run of everything, written as `results.md` with pictures: first every bar of the design, then the tables.

mod bar;
mod bars;
mod lists;
mod machine;
mod missed;
mod page;
mod plan;
mod plot;
mod stress;
mod tables;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use self::page::{Page, Section};
use self::plan::Plan;
use self::tables::Tables;
use crate::{crypto, network, peers, reconcile, simulate};

/// Below the folder of the page.
const PICTURES: &str = "plots";

/// Measures everything, one section after the other, and writes the page and its pictures to `out`. A section that fails
/// stands on the page as failed; the run goes on, and ends with an error.
pub(crate) fn run(is_quick: bool, out: &Path, stress: &Path) -> Result<String, String> {
    let plan = if is_quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    let load_before = machine::load();
    let sections = measure(&plan);
    let page = Page {
        machine: machine::shape(&std::env::temp_dir()),
        rivals: machine::rivals(),
        load: (load_before, machine::load()),
        stress: stress::bars(stress),
        plan,
        sections,
    };
    let written = |error: std::io::Error| format!("{}: {error}", out.display());
    fs::create_dir_all(out.join(PICTURES)).map_err(written)?;
    for (name, picture) in page.pictures() {
        fs::write(out.join(PICTURES).join(name), picture).map_err(written)?;
    }
    fs::write(out.join("results.md"), page.text()).map_err(written)?;
    let failed = page.failed();
    if failed.is_empty() {
        Ok(page.summary())
    } else {
        Err(format!(
            "{}\n\nfailed: {}",
            page.summary(),
            failed.join(", ")
        ))
    }
}

type Measure<'a> = Box<dyn Fn() -> Result<String, String> + 'a>;

/// Every section in its turn.
fn measure(plan: &Plan) -> Vec<Section> {
    let mut all: Vec<(String, Measure<'_>)> = vec![
        ("crypto".to_owned(), Box::new(|| crypto::run(plan.rounds))),
        (
            "peers".to_owned(),
            Box::new(|| peers::run(plan.rounds, plan.peers)),
        ),
        (
            "journal".to_owned(),
            Box::new(|| peers::run_journal(plan.disk_rounds, plan.peers)),
        ),
        ("hostile".to_owned(), Box::new(peers::hostile)),
        (
            "connect".to_owned(),
            Box::new(|| network::connect(plan.connections)),
        ),
        ("idle".to_owned(), Box::new(|| network::idle(plan.idle))),
        (
            "newcomers".to_owned(),
            Box::new(|| network::newcomers(plan.newcomer_rounds, plan.newcomers)),
        ),
    ];
    for nodes in &plan.nodes {
        all.push((
            format!("discover, {nodes} nodes"),
            Box::new(|| network::discover(plan.starts, *nodes)),
        ));
    }
    all.push((
        "reconcile".to_owned(),
        Box::new(|| reconcile::run(plan.list_rounds, &plan.lists)),
    ));
    all.push((
        "simulate".to_owned(),
        Box::new(|| simulate::run(&plan.simulated)),
    ));
    let count = all.len();
    let mut sections = Vec::with_capacity(count);
    for (place, (name, work)) in (1..).zip(all) {
        progress(&format!("[{place}/{count}] {name} ..."));
        let start = Instant::now();
        let text = work();
        let took = start.elapsed();
        let ended = text
            .as_ref()
            .map_or_else(|problem| problem.as_str(), |_| "done");
        progress(&format!(
            "[{place}/{count}] {name}: {ended} after {took:.1?}"
        ));
        sections.push(Section { name, text, took });
    }
    sections
}

/// A reader that went away is no failure of a benchmark.
fn progress(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
