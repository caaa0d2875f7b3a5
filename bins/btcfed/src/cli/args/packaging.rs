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
    /// Write everything that stands beside the program in a package into a directory
    ///
    /// The unit, sysusers.d, tmpfiles.d and logrotate files, a conf.yaml, completions, and man pages in man/.
    ///
    /// Example: btcfed gen package target/package
    Package {
        /// The directory; it is made if need be
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
    /// Print the tmpfiles.d lines for the directory of the configuration
    ///
    /// Example: btcfed gen tmpfiles > /etc/tmpfiles.d/btcfed.conf
    Tmpfiles,
}
