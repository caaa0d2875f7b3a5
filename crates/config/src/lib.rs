//! `conf.yaml`: found, read, checked and converted into the core's `NodeConfig`; and the private key file.
//!
//! ```
//! use btcfed_config::{Environment, FileSource, FlagValue, KeySource, Location, Origin, Overrides, is_there};
//! use btcfed_config::{load_or_generate_key, text_with, write_new_config};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! // `btcfed init`: a file that explains itself.
//! let path = folder.join("conf.yaml");
//! write_new_config(&path, &text_with(&[FlagValue::new("--name", "node.name", "alice")])?, false)?;
//!
//! // `btcfed run`: find the file and load it. Flags go before the environment, the environment before the file.
//! let env: Environment = [("BTCFED_PEERS__EXCHANGE_INTERVAL", "15s")].into_iter().collect();
//! let location = Location::search(Some(&path), &env, is_there);
//! let state_dir = location.state_dir(None, &env);
//! let source = FileSource::new(location, state_dir, Overrides { env, flags: Vec::new() });
//! let loaded = source.load_full()?;
//! assert_eq!(loaded.config.name, "alice");
//! assert_eq!(loaded.config.peers.exchange_interval.as_secs(), 15);
//! assert_eq!(loaded.origins["peers.exchange_interval"], Origin::Env("BTCFED_PEERS__EXCHANGE_INTERVAL".into()));
//!
//! // The identity is made once, in a file of its own.
//! let KeySource::File(key_file) = &loaded.key else { panic!("no key in this file") };
//! let first = load_or_generate_key(key_file)?;
//! assert!(first.generated);
//! assert_eq!(load_or_generate_key(key_file)?.key.public(), first.key.public());
//!
//! // A mistake is told with its line and what to write instead, and every mistake at once.
//! std::fs::write(&path, "peers:\n  exchange_intervall: 30s\n  connection_timeout: 10\n")?;
//! assert_eq!(
//!     source.load_full().unwrap_err().to_string().replace(path.to_str().unwrap(), "conf.yaml"),
//!     "conf.yaml:2: peers.exchange_intervall: unknown key; did you mean exchange_interval?\n\
//!      conf.yaml:3: peers.connection_timeout: 10 has no unit; write a duration such as 10s (allowed: 100ms to 5m)"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rules:
//!
//! - Nothing is written but new key files and, when asked, new configuration files and the copy of the last good one. What an operator wrote stays.
//! - All problems are told at once, each with file, line, key and hint.
//! - No private key is ever shown: not in errors, not in `Debug`, not when it was pasted into the wrong place.
//! - Reading takes time and memory in proportion to the file, whatever it holds, and never waits for a pipe.
//!
//! | Module | Owns |
//! |---|---|
//! | `keys`, `rule` | the table of every key: kind, range, default, effect of a change |
//! | `text`, `raw`, `lines` | bytes to text to plain values; which key stands on which line |
//! | `convert`, `value`, `address`, `duration` | plain values to configuration, with all problems |
//! | `env`, `search`, `source` | environment and flags; where files are; loading |
//! | `key_file`, `template`, `disk` | the private key file; new configuration files |
//! | `last_good` | the copy of the last configuration a node ran with |

mod address;
mod convert;
mod disk;
mod draft;
mod duration;
mod env;
mod error;
mod key_file;
mod keys;
mod last_good;
mod lines;
mod log_filter;
mod not_offered;
mod problems;
mod quote;
mod raw;
mod rule;
mod search;
mod source;
mod suggest;
mod template;
mod text;
mod value;

pub use convert::Origin;
pub use duration::parse_duration;
pub use env::{Environment, FlagValue, Overrides};
pub use error::{KeyError, WriteError};
pub use key_file::{LoadedKey, load_key, load_or_generate_key};
pub use keys::{Effect, Key, key, keys};
pub use last_good::{LAST_GOOD_FILE, is_blank, keep_last_good, last_good_path};
pub use rule::Kind;
pub use search::{CONFIG_FILE, KEY_FILE, Location, is_there};
pub use source::{FileSource, KeySource, LoadedConfig};
pub use template::{default_text, reference, text_with, write_new_config};
pub use text::MAX_CONFIG_BYTES;
