//! Sizes and times of protocol version 1. Those that a server can be configured with are the
//! defaults of `config`.

use std::time::Duration;

/// Largest frame a client may send.
pub const CLIENT_FRAME_BYTES: usize = 64 * 1024;
/// Largest frame a worker may send.
pub const WORKER_FRAME_BYTES: usize = 1024 * 1024;
/// Largest frame before `auth`.
pub const UNAUTHENTICATED_FRAME_BYTES: usize = 4 * 1024;
/// Frames a second that one connection may send for long.
pub const FRAMES_PER_SECOND: u32 = 200;
/// Frames that one connection may send at once.
pub const FRAME_BURST: u32 = 5_000;
/// Logs that one connection may follow at a time.
pub const FOLLOWS_PER_CONNECTION: usize = 128;
/// Errors in a minute after which a socket is closed.
pub const ERRORS_PER_MINUTE: usize = 100;
/// How often the server sends a WebSocket ping.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// Silence after which a connection counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Time to authenticate.
pub const AUTH_WITHIN: Duration = Duration::from_secs(10);
/// How long before the end of a token `expiring` is sent.
pub const EXPIRING_AHEAD: Duration = Duration::from_secs(60);
/// Clock skew forgiven when a token runs out.
pub const EXPIRY_LEEWAY: Duration = Duration::from_secs(30);
/// How often a worker sends a heartbeat.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// How often what workers and containers use is kept for `history`.
pub const HISTORY_EVERY: Duration = Duration::from_secs(10);
/// How far back `history` goes.
pub const HISTORY: Duration = Duration::from_secs(3_600);
/// How long a lease lasts: three heartbeats.
pub const LEASE: Duration = Duration::from_secs(30);
/// Unacknowledged bytes that a worker may have under way for one job.
pub const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Raw bytes of output in one chunk at the most: small enough that base64, or text that JSON's escapes
/// double, keeps the frame under a worker's limit, large enough that a frame's fixed cost does not show.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Plugins that may be connected to one dispatcher at a time, those included that it was told of.
pub const PLUGINS: usize = 64;
/// How long a plugin may take for an answer, unless the settings say otherwise.
pub const PLUGIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Output in one page of a log, in bytes, unless asked otherwise.
pub const LOG_PAGE_BYTES: u32 = 64 * 1024;
/// Output in one page of a log at the most, in bytes.
pub const LOG_PAGE_BYTES_MOST: u32 = 512 * 1024;
/// Entries in one page of a log at the most.
pub const LOG_PAGE_ENTRIES: usize = 4_096;
/// Jobs in one page unless asked otherwise.
pub const PAGE: u32 = 50;
/// Jobs in one page at the most.
pub const PAGE_MOST: u32 = 1_000;
