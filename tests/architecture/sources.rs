//! The source files of the workspace, and what counts as code in them.

use std::path::{Path, PathBuf};

use crate::workspace::root;

/// One source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the top of the repository, with `/`.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
}

impl Source {
    /// True for files that hold only tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// The lines before the tests at its end.
    pub(crate) fn lines_before_tests(&self) -> impl Iterator<Item = &str> {
        let tests = self
            .text
            .find("\n#[cfg(test)]\nmod ")
            .unwrap_or(self.text.len());
        self.text[..tests].lines()
    }

    /// The lines before the tests that hold code: neither empty nor comment. Numbered from 1 within these lines' file.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines_before_tests().enumerate();
        let trimmed = numbered.map(|(index, line)| (index + 1, line.trim()));
        trimmed.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }

    /// Places where code contains one of `patterns`, as `path:line: text`.
    pub(crate) fn find(&self, patterns: &[&str]) -> Vec<String> {
        let hits = self
            .code()
            .filter(|(_, line)| patterns.iter().any(|p| line.contains(p)));
        hits.map(|(number, line)| format!("{}:{number}: {line}", self.path))
            .collect()
    }
}

/// Every file under `folders` whose name ends in `.EXTENSION`, by path.
pub(crate) fn files(folders: &[&str], extension: &str) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), extension, &mut paths);
    }
    paths.sort();
    paths.iter().map(|path| source(&root, path)).collect()
}

/// Every Rust file under `folders`.
pub(crate) fn rust(folders: &[&str]) -> Vec<Source> {
    files(folders, "rs")
}

fn collect(folder: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if path.is_dir()
            && !hidden
            && entry.file_name() != "target"
            && entry.file_name() != "node_modules"
        {
            collect(&path, extension, paths);
        } else if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
}

fn source(root: &Path, path: &Path) -> Source {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let relative = path.strip_prefix(root).expect("it was found below the top");
    let path = relative.to_string_lossy().replace('\\', "/");
    Source {
        path,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}
