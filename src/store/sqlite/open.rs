//! Opening: whose directory it is, whether the file is ours and whole, and its first tables.
//!
//! Nothing is written to a file before it is known to be ours.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::{Failure, Run, is_damage};
use super::schema;
use crate::config::Durability;

/// Files up to this size are checked page by page at open: a fraction of a second. Damage in a larger
/// one is found when it is met.
const CHECKED_BYTES: u64 = 64 * 1024 * 1024;

/// How long a connection waits for another of ours that holds a lock. They do for moments only.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or written.
    #[error("{} cannot be written: {reason}", path.display())]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file is not a database, not of this program, or damaged.
    #[error("{} is not a usable database: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later version of this program wrote it.
    #[error("{} was written by a later version (its tables are version {found}, this program knows {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i32,
        /// The version that this program writes.
        known: i32,
    },
    /// There is no room.
    #[error("no space left for {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{} cannot be opened: {reason}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

impl OpenError {
    fn io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            // Whatever else the system says, it comes to this.
            _ => Self::NotWritable { path, reason: error.to_string() },
        }
    }

    pub(super) fn database(path: &Path, failure: &Failure) -> Self {
        let (path, reason) = (path.to_owned(), failure.to_string());
        match failure {
            Failure::Unreadable(_) => Self::Corrupt { path, reason },
            Failure::Sqlite(error) if is_damage(error) => Self::Corrupt { path, reason },
            Failure::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::DiskFull { path },
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    Self::NotWritable { path, reason }
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
                Some(_) | None => Self::Other { path, reason },
            },
        }
    }
}

/// Makes the directory where there is none, and keeps other processes out of it for as long as
/// the lock is held.
pub(super) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|error| OpenError::io(data_dir, &error))?;
    let path = data_dir.join("gangline.lock");
    let file = touch(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: data_dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path, &error)),
    }
}

/// Opens a file for writing, or makes it for its owner's eyes only.
fn touch(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    file.map_err(|error| OpenError::io(path, &error))
}

/// Opens the file for the writer, and makes its tables where there are none.
pub(super) fn database(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    // It holds password hashes and the signing key. SQLite gives its other files the same permissions.
    touch(path)?;
    let fail = |failure: Failure| OpenError::database(path, &failure);
    let conn = connect(path).map_err(fail)?;
    let found = version(&conn).map_err(fail)?;
    let done = found.map_or(Some(0), |found| usize::try_from(found).ok());
    let Some(missing) = done.and_then(|done| schema::STEPS.get(done..)) else {
        let (path, found) = (path.to_owned(), found.unwrap_or_default());
        return Err(OpenError::Newer { path, found, known: version_of(schema::STEPS.len()) });
    };
    if found.is_some() {
        check(path, &conn).map_err(fail)?;
    }
    prepare(&conn, durability).map_err(fail)?;
    if !missing.is_empty() {
        complete(&conn, missing).map_err(fail)?;
    }
    Ok(conn)
}

/// One more connection to a file that is open already.
pub(super) fn connect(path: &Path) -> Run<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(PATIENCE)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(conn)
}

/// The version of the tables; `None`: there are none.
fn version(conn: &Connection) -> Run<Option<i32>> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != schema::APPLICATION_ID {
        return Err(Failure::Unreadable("it belongs to another program".to_owned()));
    }
    Ok(Some(conn.pragma_query_value(None, "user_version", |row| row.get(0))?))
}

fn check(path: &Path, conn: &Connection) -> Run<()> {
    if std::fs::metadata(path).map_err(Failure::unreadable)?.len() > CHECKED_BYTES {
        return Ok(());
    }
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Failure::Unreadable(verdict)) }
}

fn prepare(conn: &Connection, durability: Durability) -> Run<()> {
    conn.pragma_update(None, "page_size", schema::PAGE_BYTES)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Unreadable(format!("its journal stays in mode {mode:?}")));
    }
    conn.pragma_update(None, "cache_size", -schema::WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "journal_size_limit", schema::LOG_KEPT_BYTES)?;
    match durability {
        Durability::Process => {}
        Durability::Full => conn.pragma_update(None, "synchronous", "FULL")?,
    }
    Ok(())
}

/// Makes the tables that a file does not have yet, all or none.
fn complete(conn: &Connection, missing: &[&str]) -> Run<()> {
    let transaction = conn.unchecked_transaction()?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version_of(schema::STEPS.len()))?;
    transaction.commit()?;
    Ok(())
}

/// A few steps are far below the limit of an `i32`.
fn version_of(steps: usize) -> i32 {
    i32::try_from(steps).unwrap_or(i32::MAX)
}
