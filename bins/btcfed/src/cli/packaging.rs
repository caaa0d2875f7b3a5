//! `gen`: what a package or an administrator puts beside the program.

use std::fs;
use std::io;
use std::path::Path;

use btcfed_config::FlagValue;
use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::args::{Cli, GenCommand};
use crate::cli::completion;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// The unit. `systemd-analyze security` rates it 1.3 ("OK"); the reload is blocking and its exit code is real.
const UNIT: &str = "\
[Unit]
Description=btcfed, a Bitcoin federation node
Documentation=man:btcfed(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=5min
StartLimitBurst=10

[Service]
Type=notify
ExecStart=/usr/bin/btcfed --config /etc/btcfed/conf.yaml run
ExecReload=/usr/bin/btcfed --config /etc/btcfed/conf.yaml reload
Restart=on-failure
RestartSec=2s
# Not permitted, and bad configuration: nothing to gain from another try.
RestartPreventExitStatus=77 78
TimeoutStopSec=15s
WatchdogSec=60s
LimitNOFILE=4096

# Who: a user made for the occasion, a fixed group that people may join to use the admin socket.
# The two have different names: systemd makes no user with the name of a group that exists.
DynamicUser=yes
User=btcfed-node
Group=btcfed
UMask=0007
StateDirectory=btcfed
StateDirectoryMode=0750
LogsDirectory=btcfed
LogsDirectoryMode=0750
# The state of such a user is closed to others, members of the group included: the admin socket stands elsewhere.
RuntimeDirectory=btcfed
RuntimeDirectoryMode=0750
Environment=BTCFED_ADMIN__SOCKET=/run/btcfed/btcfed.sock
# A key from the outside, with node.private_key_file: /run/credentials/btcfed.service/node.key in conf.yaml:
#LoadCredential=node.key:/etc/btcfed/node.key

# What it may do: files in its state directory, TCP and the admin socket. Nothing else.
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink tells which addresses this machine has.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
";

const SYSUSERS: &str = "\
# Members of this group may use the admin socket of btcfed.
g btcfed - -
";

const TMPFILES: &str = "\
# Only root writes the configuration, and only the node reads it: it may hold a private key.
d /etc/btcfed 0750 root btcfed -
z /etc/btcfed/conf.yaml 0640 root btcfed -
";

/// Where the unit has the admin socket, and where the packaged configuration tells commands to look for it.
const SOCKET: &str = "/run/btcfed/btcfed.sock";

const LOGROTATE: &str = "\
# Only for nodes with logging.file: /var/log/btcfed/NAME.log; journald rotates by itself.
/var/log/btcfed/*.log {
    weekly
    rotate 8
    compress
    delaycompress
    missingok
    notifempty
    # The node notices that its file was moved away and begins a new one: no signal is needed.
    nocreate
}
";

pub(super) fn run(command: &GenCommand, output: &Output) -> Result<Exit, CliError> {
    let (schema, text) = match command {
        GenCommand::Conf => ("gen-conf", btcfed_config::default_text()),
        GenCommand::Logrotate => ("gen-logrotate", LOGROTATE.to_owned()),
        GenCommand::Man { dir } => return man(dir, output),
        GenCommand::Package { dir } => return package(dir, output),
        GenCommand::Systemd => ("gen-systemd", UNIT.to_owned()),
        GenCommand::Sysusers => ("gen-sysusers", SYSUSERS.to_owned()),
        GenCommand::Tmpfiles => ("gen-tmpfiles", TMPFILES.to_owned()),
    };
    let document = with_schema(schema, json!({ "text": text }));
    output.result(&document, |_| text.trim_end().to_owned());
    Ok(Exit::Ok)
}

fn man(dir: &Path, output: &Output) -> Result<Exit, CliError> {
    let written = fs::create_dir_all(dir);
    let written = written.and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|error| refused(&error, dir))?;
    let document = with_schema("gen-man", json!({ "dir": dir.display().to_string() }));
    output.result(&document, |_| {
        format!("wrote man pages to {}", dir.display())
    });
    Ok(Exit::Ok)
}

/// Everything that stands beside the program in a package, in one directory.
fn package(dir: &Path, output: &Output) -> Result<Exit, CliError> {
    let socket = FlagValue::new("--socket", "admin.socket", SOCKET);
    let conf = btcfed_config::text_with(&[socket])?;
    let mut files = vec![
        ("conf.yaml".to_owned(), conf),
        ("btcfed.service".to_owned(), UNIT.to_owned()),
        ("btcfed.sysusers".to_owned(), SYSUSERS.to_owned()),
        ("btcfed.tmpfiles".to_owned(), TMPFILES.to_owned()),
        ("btcfed.logrotate".to_owned(), LOGROTATE.to_owned()),
    ];
    let shells = [
        (Shell::Bash, "btcfed.bash"),
        (Shell::Fish, "btcfed.fish"),
        (Shell::Zsh, "_btcfed"),
    ];
    files.extend(shells.map(|(shell, name)| (name.to_owned(), completion::script(shell))));
    let pages = dir.join("man");
    let made = fs::create_dir_all(&pages);
    made.map_err(|error| refused(&error, &pages))?;
    for (name, text) in &files {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| refused(&error, &path))?;
    }
    let written = clap_mangen::generate_to(Cli::command(), &pages);
    written.map_err(|error| refused(&error, &pages))?;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let document = with_schema(
        "gen-package",
        json!({ "dir": dir.display().to_string(), "files": names }),
    );
    output.result(&document, |_| {
        format!(
            "wrote {} and man pages to {}",
            names.join(", "),
            dir.display()
        )
    });
    Ok(Exit::Ok)
}

fn refused(error: &io::Error, path: &Path) -> CliError {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::CannotCreate,
    };
    CliError::new(exit, "config", format!("cannot write: {error}"))
        .file(path.display())
        .hint("name a directory that you may write to")
}
