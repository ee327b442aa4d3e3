//! The catalogue: the only memory of the project. Everything else can be killed at any moment.
//!
//! What lives here: the SQLite database, its schema (`migrations/`), and every statement that reads or writes it. Each
//! change of state is one transaction that also writes why.
//! What never lives here: decisions. Ingest, association, scheduler and delivery decide; the catalogue records and
//! refuses what its constraints forbid.
//!
//! One process writes (a lock file beside the database says which), through one connection whose transactions begin
//! immediately; any number of processes read, also while nothing writes. The program never deletes its database: when the
//! integrity check fails it refuses to run and says how to restore a backup.

pub mod acts;
pub mod alerts;
pub mod deliveries;
pub mod files;
pub mod ids;
pub mod jobs;
pub mod maintenance;
pub mod measures;
pub mod nights;
pub mod products;
#[cfg(test)]
pub(crate) mod seeded;
pub mod sets;
pub mod snapshot;
pub mod story;
pub mod target;
pub mod views;
pub mod vigil;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::fault::{Classified, FaultClass};

pub use ids::{DeliveryId, FileId, FrameId, JobId, ProductId, SetId, TemplateId, VersionId};

/// Why the catalogue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The database cannot be opened or created.
    #[error("cannot open the catalogue {path}")]
    Open {
        /// Database file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: sqlx::Error,
    },
    /// No database where one was expected.
    #[error("there is no catalogue at {path}; run `soxsd run` or `soxsd reduce` first, or give --work")]
    NotThere {
        /// Database file.
        path: PathBuf,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the catalogue {path}")]
    Migrate {
        /// Database file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// The database was written by another version, or not at all yet.
    #[error(
        "the catalogue {path} has schema {found}, this soxsd needs {expected}: start this version's daemon once, or use the version that wrote it"
    )]
    OtherSchema {
        /// Database file.
        path: PathBuf,
        /// Number of the newest migration applied, 0 for none.
        found: i64,
        /// Number that this version needs.
        expected: i64,
    },
    /// The integrity check failed. The database is left as it is.
    #[error(
        "the catalogue {path} is damaged ({finding}); it was left untouched: stop, move it aside and copy the newest backup from {backups} in its place"
    )]
    Damaged {
        /// Database file.
        path: PathBuf,
        /// First line of the check.
        finding: String,
        /// Folder with the dated backups.
        backups: PathBuf,
    },
    /// Another process holds the writer's lock.
    #[error("another soxsd process already works on {path} (lock {lock}); stop it first, or use its commands")]
    Locked {
        /// Database file.
        path: PathBuf,
        /// Lock file.
        lock: PathBuf,
    },
    /// The lock file could not be made.
    #[error("cannot make the lock file {lock}")]
    Lock {
        /// Lock file.
        lock: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("the catalogue could not {what}")]
    Statement {
        /// What was tried, as a verb: "claim a job".
        what: &'static str,
        /// Cause.
        #[source]
        source: sqlx::Error,
    },
    /// A job was not in the state that the change supposes: somebody else changed it first.
    #[error("{what} {id} is not in state {expected}")]
    LostRace {
        /// Kind of row.
        what: &'static str,
        /// Its id.
        id: i64,
        /// States that were expected.
        expected: String,
    },
    /// A stored JSON text cannot be read back.
    #[error("the catalogue holds an unreadable {what}")]
    Content {
        /// What it should be.
        what: &'static str,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
}

impl Classified for CatalogueError {
    fn class(&self) -> FaultClass {
        match self {
            _ if self.is_damage() => FaultClass::Bug,
            _ if self.is_full_disk() => FaultClass::Resource,
            CatalogueError::Open { .. } | CatalogueError::NotThere { .. } | CatalogueError::Lock { .. } => {
                FaultClass::Config
            }
            CatalogueError::Locked { .. } | CatalogueError::OtherSchema { .. } => FaultClass::Config,
            CatalogueError::Statement { .. } => FaultClass::Transient,
            CatalogueError::LostRace { .. } => FaultClass::Transient,
            CatalogueError::Migrate { .. } | CatalogueError::Damaged { .. } | CatalogueError::Content { .. } => {
                FaultClass::Bug
            }
        }
    }
}

impl CatalogueError {
    /// The database file is not what SQLite wrote: pages are damaged, or it is another file altogether.
    pub fn is_damage(&self) -> bool {
        matches!(self, CatalogueError::Damaged { .. }) || matches!(self.sqlite_code(), Some(11 | 26))
    }

    /// There was no room for a change.
    pub fn is_full_disk(&self) -> bool {
        let is_full = |source: &std::io::Error| source.kind() == std::io::ErrorKind::StorageFull;
        self.sqlite_code() == Some(13) || matches!(self, CatalogueError::Lock { source, .. } if is_full(source))
    }

    /// SQLite's primary result code, when one lies below.
    fn sqlite_code(&self) -> Option<i32> {
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            if let Some(sqlx::Error::Database(refusal)) = cause.downcast_ref::<sqlx::Error>() {
                return refusal.code()?.parse::<i32>().ok().map(|code| code & 0xff);
            }
            source = cause.source();
        }
        None
    }
}

/// Result of a catalogue call.
pub type Result<T> = std::result::Result<T, CatalogueError>;

/// Names a failed statement.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, sqlx::Error> {
    fn during(self, what: &'static str) -> Result<T> {
        self.map_err(|source| CatalogueError::Statement { what, source })
    }
}

/// The schema, embedded.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A handle on the catalogue. Clones share connections.
#[derive(Clone)]
pub struct Catalogue {
    path: PathBuf,
    reader: SqlitePool,
    writer: Option<Writer>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Writer {
    pool: SqlitePool,
    changed: Arc<watch::Sender<u64>>,
    /// Held for its lock; the operating system drops it with the process, however that ends.
    _lock: Arc<std::fs::File>,
}

/// A transaction that writes. Nothing is kept unless [`WriteTx::commit`] is called.
pub struct WriteTx {
    pub(crate) tx: Transaction<'static, Sqlite>,
    changed: Arc<watch::Sender<u64>>,
    /// Time of the transaction, used for every row it writes.
    pub(crate) now_us: i64,
}

impl WriteTx {
    /// Time of the transaction, microseconds UTC.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Make the changes durable and wake whoever waits for changes.
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await.during("commit a transaction")?;
        self.changed.send_modify(|generation| *generation += 1);
        Ok(())
    }
}

impl Catalogue {
    /// Open for writing: take the lock, bring the schema up to date, check integrity. One process at a time.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Catalogue> {
        let lock = take_lock(path)?;
        let options = options(path).create_if_missing(true);
        let pool = connect(path, options, 1).await?;
        maintenance::quick_check(&pool, path).await?;
        MIGRATIONS
            .run(&pool)
            .await
            .map_err(|source| CatalogueError::Migrate { path: path.to_path_buf(), source: Box::new(source) })?;
        let reader = connect(path, options_read_only(path), 4).await?;
        let (changed, _) = watch::channel(0);
        let writer = Writer { pool, changed: Arc::new(changed), _lock: Arc::new(lock) };
        Ok(Catalogue { path: path.to_path_buf(), reader, writer: Some(writer), clock })
    }

    /// Open for reading, while another process writes or while none does.
    pub async fn open_read_only(path: &Path, clock: Arc<dyn Clock>) -> Result<Catalogue> {
        if !path.is_file() {
            return Err(CatalogueError::NotThere { path: path.to_path_buf() });
        }
        let reader = connect(path, options_read_only(path), 4).await?;
        check_schema(&reader, path).await?;
        Ok(Catalogue { path: path.to_path_buf(), reader, writer: None, clock })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The clock that stamps every row.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// A receiver that is woken after every committed change. A read-only catalogue never wakes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        match &self.writer {
            Some(writer) => writer.changed.subscribe(),
            None => watch::channel(0).1,
        }
    }

    /// Begin a transaction that writes; waits for the one before it.
    pub async fn begin(&self) -> Result<WriteTx> {
        let Some(writer) = &self.writer else {
            return Err(CatalogueError::LostRace {
                what: "catalogue",
                id: 0,
                expected: "open for writing".to_string(),
            });
        };
        let tx = writer.pool.begin_with("BEGIN IMMEDIATE").await.during("begin a transaction")?;
        Ok(WriteTx { tx, changed: writer.changed.clone(), now_us: self.clock.now_us() })
    }

    /// Close all connections after writing back the log.
    pub async fn close(&self) {
        // Readers first: only the last connection writes the log back, and a reader cannot.
        self.reader.close().await;
        if let Some(writer) = &self.writer {
            writer.pool.close().await;
        }
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A summit machine loses power: the last commit must be there when it comes back.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("temp_store", "memory")
        .statement_cache_capacity(256)
}

fn options_read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("temp_store", "memory")
}

async fn connect(path: &Path, options: SqliteConnectOptions, connections: u32) -> Result<SqlitePool> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|source| CatalogueError::Open { path: path.to_path_buf(), source })
}

/// A reader cannot bring the schema up to date: it says what it found.
async fn check_schema(reader: &SqlitePool, path: &Path) -> Result<()> {
    let expected = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let asked: std::result::Result<Option<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(reader).await;
    let found = match asked {
        // Nothing was ever written here.
        Err(sqlx::Error::Database(error)) if error.message().contains("no such table") => None,
        asked => asked.during("read its schema")?,
    };
    match found {
        Some(found) if found == expected => Ok(()),
        _ => Err(CatalogueError::OtherSchema { path: path.to_path_buf(), found: found.unwrap_or_default(), expected }),
    }
}

/// The writer's lock: `<database>.lock`, held by the open file as long as the process lives.
fn take_lock(path: &Path) -> Result<std::fs::File> {
    let lock = lock_path(path);
    let open = || {
        if let Some(folder) = lock.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock)
    };
    let file = open().map_err(|source| CatalogueError::Lock { lock: lock.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(CatalogueError::Locked { path: path.to_path_buf(), lock: lock.clone() })
        }
        Err(std::fs::TryLockError::Error(source)) => Err(CatalogueError::Lock { lock: lock.clone(), source }),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".lock");
    PathBuf::from(name)
}
