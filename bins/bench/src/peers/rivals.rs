//! What others would keep peers in: `SQLite`, redb and fjall, each durable with every commit, and each with the same group
//! commit around it: who finds nobody committing commits for all who wait.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::journal::Writer;

/// A key and what stands under it.
type Change = ([u8; 32], Vec<u8>);

/// A store that makes changes durable together.
trait Rival: Send {
    fn commit(&mut self, changes: &[Change]) -> Result<(), String>;
}

struct Sqlite(rusqlite::Connection);

impl Rival for Sqlite {
    fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        let mut work = || -> rusqlite::Result<()> {
            let transaction = self.0.transaction()?;
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO peers VALUES (?1, ?2)")?;
            for (key, value) in changes {
                put.execute((key.as_slice(), value.as_slice()))?;
            }
            drop(put);
            transaction.commit()
        };
        work().map_err(|e| e.to_string())
    }
}

fn sqlite(path: &Path) -> rusqlite::Result<Sqlite> {
    let db = rusqlite::Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute(
        "CREATE TABLE peers (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID",
        (),
    )?;
    Ok(Sqlite(db))
}

struct Redb(redb::Database);

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("peers");

impl Rival for Redb {
    fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        let work = || -> Result<(), redb::Error> {
            let mut transaction = self.0.begin_write()?;
            transaction.set_durability(redb::Durability::Immediate);
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in changes {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            drop(table);
            transaction.commit()?;
            Ok(())
        };
        work().map_err(|e| e.to_string())
    }
}

struct Fjall {
    keyspace: fjall::Keyspace,
    partition: fjall::PartitionHandle,
}

impl Rival for Fjall {
    fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        let mut batch = self
            .keyspace
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in changes {
            batch.insert(&self.partition, key.as_slice(), value.as_slice());
        }
        batch.commit().map_err(|e| e.to_string())
    }
}

fn fjall(path: &Path) -> fjall::Result<Fjall> {
    let keyspace = fjall::Config::new(path).open()?;
    let partition = keyspace.open_partition("peers", fjall::PartitionCreateOptions::default())?;
    Ok(Fjall {
        keyspace,
        partition,
    })
}

/// Who waits, and what for.
#[derive(Default)]
struct Queue {
    waiting: Vec<Change>,
    /// How many changes were ever handed in, and how many of them are durable.
    handed_in: u64,
    durable: u64,
    is_committing: bool,
}

/// A rival behind a group commit.
pub(super) struct Group {
    rival: Mutex<Box<dyn Rival>>,
    queue: Mutex<Queue>,
    committed: Condvar,
    bytes: usize,
}

impl Group {
    fn new(rival: impl Rival + 'static, bytes: usize, peers: usize) -> Result<Self, String> {
        let group = Self {
            rival: Mutex::new(Box::new(rival)),
            queue: Mutex::default(),
            committed: Condvar::new(),
            bytes,
        };
        let all: Vec<Change> = (0..peers).map(|peer| group.change(peer, 0)).collect();
        lock(&group.rival).commit(&all)?;
        Ok(group)
    }

    pub(super) fn sqlite(path: &Path, bytes: usize, peers: usize) -> Result<Self, String> {
        Self::new(sqlite(path).map_err(|e| e.to_string())?, bytes, peers)
    }

    pub(super) fn redb(path: &Path, bytes: usize, peers: usize) -> Result<Self, String> {
        let db = redb::Database::create(path).map_err(|e| e.to_string())?;
        Self::new(Redb(db), bytes, peers)
    }

    pub(super) fn fjall(path: &Path, bytes: usize, peers: usize) -> Result<Self, String> {
        Self::new(fjall(path).map_err(|e| e.to_string())?, bytes, peers)
    }

    /// A record of the agreed size: the key and the rest.
    fn change(&self, peer: usize, count: u64) -> Change {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&peer.to_be_bytes());
        let mut value = vec![5; self.bytes.saturating_sub(key.len()).max(8)];
        value[..8].copy_from_slice(&count.to_be_bytes());
        (key, value)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer for Group {
    fn write(&self, peer: usize, count: u64) -> Result<(), String> {
        let mut queue = lock(&self.queue);
        queue.waiting.push(self.change(peer, count));
        queue.handed_in += 1;
        let own = queue.handed_in;
        while queue.durable < own {
            if queue.is_committing {
                let woken = self.committed.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_committing = true;
            let (changes, upto) = (std::mem::take(&mut queue.waiting), queue.handed_in);
            drop(queue);
            let result = lock(&self.rival).commit(&changes);
            queue = lock(&self.queue);
            queue.is_committing = false;
            queue.durable = upto;
            self.committed.notify_all();
            result?;
        }
        Ok(())
    }
}
