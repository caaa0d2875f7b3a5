//! The commands of `btcfed gen`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GenCommand {
    /// Print a commented conf.yaml with the defaults
    ///
    /// Example: btcfed gen conf > /etc/btcfed/conf.yaml
    Conf,
    /// Print a logrotate rule for nodes that log into a file
    ///
    /// Example: btcfed gen logrotate > /etc/logrotate.d/btcfed
    Logrotate,
    /// Write a man page for every command into a directory
    ///
    /// Example: btcfed gen man /usr/local/share/man/man1
    Man {
        /// An existing directory
        dir: PathBuf,
    },
    /// Print a hardened systemd unit
    ///
    /// Example: btcfed gen systemd > /etc/systemd/system/btcfed.service
    Systemd,
    /// Print a sysusers.d line for the group that may use the admin socket
    ///
    /// Example: btcfed gen sysusers > /etc/sysusers.d/btcfed.conf
    Sysusers,
}
