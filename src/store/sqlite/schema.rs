//! The tables.
//!
//! A row of `jobs` is the record and at the same time the first entry of the latest attempt
//! (`a-0`) and, once the job is over, the last entry of all. `log` holds every other entry, so a
//! job without output costs three statements in its whole life.
//!
//! Jobs that wait or run have no index here: the writer keeps them in memory (see `live`).

/// Marks a file as ours: "GNGL".
pub(super) const APPLICATION_ID: i32 = 0x474e_474c;

/// What makes a file's tables what they are: `user_version` says how many of these were done.
pub(super) const STEPS: [&str; 3] = [CREATE, DOCUMENTS, TOKENS];

/// Bytes a page. Measured: against 4 KiB output streams faster by a third and small commits cost the same; 16 KiB
/// gains nothing further.
pub(super) const PAGE_BYTES: u32 = 8192;

/// The writer's cache. Filled as it is needed.
pub(super) const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// What the write-ahead log gives back to the disk when it starts over: all above this.
pub(super) const LOG_KEPT_BYTES: i64 = 128 * 1024 * 1024;

/// The first tables.
const CREATE: &str = "
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE jobs (
    number          INTEGER PRIMARY KEY,
    nonce           INTEGER NOT NULL,
    account         TEXT    NOT NULL,
    status          INTEGER NOT NULL, -- 0 pending, 1 running, 2 completed, 3 failed, 4 cancelled
    reason          INTEGER,
    attempt         INTEGER NOT NULL,
    last_n          INTEGER NOT NULL, -- of the latest attempt; while it runs, the log knows better
    charged         INTEGER NOT NULL,
    rejections      INTEGER NOT NULL,
    worker          TEXT,
    gpu_ids         TEXT,
    exit_code       INTEGER,
    error_message   TEXT,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    completed_at    INTEGER,
    stdout_bytes    INTEGER NOT NULL,
    stderr_bytes    INTEGER NOT NULL,
    cancel_grace_ms INTEGER,
    key             TEXT,
    spec            TEXT    NOT NULL
);
CREATE UNIQUE INDEX jobs_by_key ON jobs (account, key) WHERE key IS NOT NULL;
CREATE INDEX over_by_account ON jobs (account, status) WHERE status >= 2;
CREATE INDEX over_by_status ON jobs (status) WHERE status >= 2;
CREATE INDEX over_by_end ON jobs (completed_at) WHERE status >= 2;

CREATE TABLE log (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    first   INTEGER NOT NULL, -- n of the first entry
    last    INTEGER NOT NULL, -- n of the last entry
    stdout  INTEGER NOT NULL, -- bytes of the stream in this attempt, up to and with this row
    stderr  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL, -- output in this row; 0: a change of status
    entries BLOB    NOT NULL
);
-- Not the table's own key: a search compares whole rows there, and these are large.
CREATE UNIQUE INDEX log_by_place ON log (job, attempt, first);

CREATE TABLE workers (
    id        TEXT PRIMARY KEY,
    boot      INTEGER NOT NULL,
    draining  INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    record    TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    name        TEXT PRIMARY KEY,
    folded_name TEXT NOT NULL,
    email       TEXT, -- in lower case
    record      TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX accounts_by_email ON accounts (email) WHERE email IS NOT NULL;
CREATE INDEX accounts_by_folded_name ON accounts (folded_name);

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    account    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    record     TEXT    NOT NULL
) WITHOUT ROWID;
";

/// Small documents of the older systems' front doors, and the counter of their versions.
const DOCUMENTS: &str = "
CREATE TABLE documents (
    collection TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    value      TEXT    NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
CREATE INDEX documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE document_versions (last INTEGER NOT NULL);
INSERT INTO document_versions VALUES (0);
";

/// Who has few tokens does not wait for who has many.
const TOKENS: &str = "
CREATE INDEX tokens_by_account ON tokens (account);
";
