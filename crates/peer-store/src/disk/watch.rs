//! Noticing that somebody touched the file: events of its directory, with a cheap poll as the safety net.
//!
//! The directory is watched and not the file, because a watch on a file dies with the first rename over it. Events only
//! say *look*; what counts is the content.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::shared::Shared;

/// How often the file is looked at without any event: catches lost events and file systems that send none.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Starts watching the directories of `paths`. `None` when the system refuses; the poll then does it alone.
    pub(crate) fn start(shared: &Arc<Shared>, paths: &[PathBuf]) -> Option<Self> {
        let names: Vec<OsString> = paths
            .iter()
            .filter_map(|path| path.file_name().map(OsString::from))
            .collect();
        let shared = Arc::downgrade(shared);
        let handler = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(&event, &names)) {
                look_soon(&shared);
            }
        };
        let config = notify::Config::default().with_follow_symlinks(false);
        let started = RecommendedWatcher::new(handler, config).and_then(|mut watcher| {
            let mut directories: Vec<&Path> =
                paths.iter().filter_map(|path| path.parent()).collect();
            directories.dedup();
            for directory in directories {
                let directory = if directory.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    directory
                };
                watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match started {
            Ok(watcher) => Some(Self { _watcher: watcher }),
            Err(error) => {
                tracing::info!(%error, "no file events here; edits are noticed by looking every second");
                None
            }
        }
    }
}

fn look_soon(shared: &Weak<Shared>) {
    let Some(shared) = shared.upgrade() else {
        return;
    };
    let mut state = shared.state();
    if !state.tuning.watch {
        return;
    }
    state.look_at = Some(Instant::now() + state.tuning.debounce);
    drop(state);
    shared.wake.notify_one();
}

/// True for events that may mean new content. Reading raises events too.
fn is_change(event: &notify::Event, names: &[OsString]) -> bool {
    let matters = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    let is_ours = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| names.iter().any(|ours| ours == name))
    };
    matters && (event.need_rescan() || event.paths.iter().any(is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, ModifyKind};

    #[test]
    fn reading_the_file_and_other_files_wake_nobody() {
        let names = [OsString::from("peers.yaml")];
        let event = |kind, path: &str| notify::Event::new(kind).add_path(path.into());
        let modify = EventKind::Modify(ModifyKind::Any);
        assert!(is_change(&event(modify, "/d/peers.yaml"), &names));
        assert!(is_change(
            &event(EventKind::Create(CreateKind::File), "/d/peers.yaml"),
            &names
        ));
        assert!(is_change(
            &event(
                EventKind::Access(AccessKind::Close(AccessMode::Write)),
                "/d/peers.yaml"
            ),
            &names
        ));
        assert!(!is_change(
            &event(
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                "/d/peers.yaml"
            ),
            &names
        ));
        assert!(!is_change(&event(modify, "/d/peers.yaml.lock"), &names));
    }
}
