//! What cargo says about the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name, `btcfed-...`.
    pub(crate) name: String,
    /// The folder of its manifest.
    pub(crate) folder: PathBuf,
    /// What it needs to be built and run, without what only its tests need.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A direct dependency.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The name of the package, whatever it is called in the manifest.
    pub(crate) name: String,
    /// True for packages of this workspace.
    pub(crate) ours: bool,
}

/// A line of a dependency tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TreeEntry {
    /// The name of the package.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The features it is built with.
    pub(crate) features: Vec<String>,
}

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    core.ancestors()
        .nth(2)
        .expect("crates/core lies two levels below the top")
        .to_owned()
}

/// The text of a file of the repository.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every package of the workspace, by name.
pub(crate) fn packages() -> Vec<Package> {
    let text = cargo(&["metadata", "--no-deps", "--format-version=1"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata writes JSON");
    let mut packages: Vec<Package> = list(&metadata["packages"]).map(package).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// The dependency tree of a package as others build it: no tests, only the default features, on this platform.
pub(crate) fn tree(package: &str) -> Vec<TreeEntry> {
    let args = [
        "tree", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}|{f}",
    ];
    let text = cargo(&args);
    let mut entries: Vec<TreeEntry> = text.lines().map(tree_entry).collect();
    entries.sort();
    entries.dedup();
    entries
}

fn package(value: &Value) -> Package {
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let normal = list(&value["dependencies"]).filter(|dependency| dependency["kind"] != "dev");
    Package {
        name: text(&value["name"]),
        folder: manifest
            .parent()
            .expect("a manifest lies in a folder")
            .to_owned(),
        dependencies: normal
            .map(|d| Dependency {
                name: text(&d["name"]),
                ours: d["path"].is_string(),
            })
            .collect(),
    }
}

/// Reads `name v1.2.3 (path) (*)|feature,feature (*)`.
fn tree_entry(line: &str) -> TreeEntry {
    let (package, features) = line.split_once('|').unwrap_or((line, ""));
    let mut words = package.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let features = features
        .split_whitespace()
        .next()
        .filter(|f| *f != "(*)")
        .unwrap_or_default();
    let features = features
        .split(',')
        .filter(|f| !f.is_empty())
        .map(str::to_owned)
        .collect();
    TreeEntry {
        name: word(),
        version: word(),
        features,
    }
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(args)
        .args(["--offline", "--locked"]);
    let output = command.output().expect("cargo runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {}: {complaints}",
        args.join(" ")
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
