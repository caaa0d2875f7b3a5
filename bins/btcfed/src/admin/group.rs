//! Who may use the admin socket, by group.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::chown;
use std::path::Path;

use crate::exit::{CliError, Exit};

/// Where the groups of a system stand, one `name:password:number:members` a line (group(5)).
const GROUPS: &str = "/etc/group";

/// Where the users stand, in the same form as far as name and number go (passwd(5)).
const USERS: &str = "/etc/passwd";

/// Most of such a file that is read, in bytes: several times what a large site has.
const MAX_GROUPS_BYTES: u64 = 4 * 1024 * 1024;

/// Gives the socket at `path` to `group`, a name or a number. On error the socket is removed: nobody may use it by
/// accident.
///
/// # Errors
/// There is no such group, or this user may not give files to it.
pub(super) fn give(path: &Path, group: &str) -> Result<(), CliError> {
    let given = number(group).and_then(|gid| {
        chown(path, None, Some(gid)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => refuse(
                Exit::Permission,
                format!("cannot give the admin socket to group {group}: {error}"),
                "run the node as a member of that group, or leave admin.group empty",
            ),
            _ => refuse(
                Exit::CannotCreate,
                format!("cannot give the admin socket to group {group}: {error}"),
                "leave admin.group empty",
            ),
        })
    });
    if given.is_err() {
        // It may be gone already; then there is nothing to undo.
        fs::remove_file(path).unwrap_or_default();
    }
    given
}

fn number(group: &str) -> Result<u32, CliError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    read(GROUPS)
        .and_then(|text| find(&text, group))
        .ok_or_else(|| {
            refuse(
                Exit::Config,
                format!("there is no group {group:?} in {GROUPS}"),
                "create it (groupadd --system NAME), or write its number",
            )
        })
}

fn read(path: &str) -> Option<String> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_GROUPS_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The names of a user and a group; their numbers where they have none.
pub(super) fn names(user: u32, group: u32) -> (String, String) {
    let name = |path, number: u32| {
        let text = read(path).unwrap_or_default();
        name_of(&text, number).unwrap_or_else(|| number.to_string())
    };
    (name(USERS, user), name(GROUPS, group))
}

/// The name of `number` in the text of a group or user file.
fn name_of(text: &str, number: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// The number of `group` in the text of a group file.
fn find(text: &str, group: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn refuse(exit: Exit, reason: String, hint: &str) -> CliError {
    let mut error = CliError::new(exit, "config", reason).hint(hint);
    error.key = Some("admin.group".to_owned());
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name_or_is_its_number() {
        let text = "root:x:0:\nbtc:x:7:a,b\nbtcfed:x:999:alice\nbroken\nodd:x:many:\n";
        assert_eq!(find(text, "btcfed"), Some(999));
        assert_eq!(find(text, "btc"), Some(7));
        for missing in ["", "btcf", "broken", "odd", "x"] {
            assert_eq!(find(text, missing), None, "{missing}");
        }
        assert_eq!(number("1234").unwrap(), 1234);
        assert_eq!(name_of(text, 999).as_deref(), Some("btcfed"));
        assert_eq!(name_of(text, 1), None);
        assert_eq!(
            names(0, 4_000_000_000),
            ("root".into(), "4000000000".into())
        );
    }

    #[test]
    fn a_socket_for_a_group_that_does_not_exist_is_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        fs::write(&path, "").unwrap();
        let error = give(&path, "no such group").unwrap_err();
        assert_eq!(error.key.as_deref(), Some("admin.group"));
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let own = std::os::unix::fs::MetadataExt::gid(&path.metadata().unwrap());
        give(&path, &own.to_string()).unwrap();
        assert!(path.exists());
    }
}
