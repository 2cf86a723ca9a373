//! The connection: made when it is needed, and made anew once it has failed.
//!
//! Guards: every call ends in time, with an answer or with "outcome unknown". A response that does
//! not come does not tell whether the connection still lives, so it is given up then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind, Value};

use super::recent::Recent;
use super::script::{Call, Script};
use super::script_time;
use crate::base::clock::Clock;
use crate::store::error::StoreError;

/// How long Redis may take to answer: it answers within a millisecond unless it is stopped or stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Bytes that were sent and not acknowledged for so long mean that the connection is gone.
const SILENT_AT_MOST: Duration = Duration::from_secs(5);

/// Between two tries to connect. Who asks meanwhile is told why the last one failed.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// How long what was written may not be on disk, unless each write is synced: Redis syncs every second, and a
/// sync that is under way holds the next one up.
const UNSETTLED: Duration = Duration::from_secs(2);

/// Changes that are brought back in one go.
const AT_ONCE: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// What is brought back to a server that may have lost it.
    recent: Option<(Arc<Recent>, Clock)>,
    state: Mutex<State>,
    /// One connects, the others wait for it. Held while waiting for Redis, which is what it is for.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<(u64, MultiplexedConnectionDebug)>,
    made: u64,
    failed: Option<(Instant, StoreError)>,
    /// The run id of the server, once it was asked.
    server: Option<String>,
    servers_met: u64,
    syncs_each_write: bool,
}

/// The library's connection does not say what it is.
#[derive(Clone)]
struct MultiplexedConnectionDebug(MultiplexedConnection);

impl std::fmt::Debug for MultiplexedConnectionDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MultiplexedConnection")
    }
}

impl Link {
    /// A link to the Redis at `url`.
    ///
    /// # Errors
    /// The URL makes no sense.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        // The library's own words may repeat the URL, which holds a password.
        let wrong = |_| {
            StoreError::Unavailable(
                "the URL of Redis makes no sense: redis://[user:password@]host:port[/db]".to_owned(),
            )
        };
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(socket2::TcpKeepalive::new().with_time(SILENT_AT_MOST).with_interval(SILENT_AT_MOST))
            .set_user_timeout(SILENT_AT_MOST);
        let info = url.into_connection_info().map_err(wrong)?.set_tcp_settings(tcp);
        Ok(Self {
            client: Client::open(info).map_err(wrong)?,
            recent: None,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })
    }

    /// Brings back what the server has lost, before anything else is asked of it.
    pub(super) fn bringing_back(self, recent: Arc<Recent>, clock: Clock) -> Self {
        Self { recent: Some((recent, clock)), ..self }
    }

    /// How often the server turned out to be another than before.
    pub(super) fn servers_met(&self) -> u64 {
        self.state.lock().servers_met
    }

    /// How long what was written may not be on disk.
    pub(super) fn unsettled(&self) -> Duration {
        if self.state.lock().syncs_each_write { Duration::ZERO } else { UNSETTLED }
    }

    /// Runs a script.
    pub(super) async fn run(&self, call: &Call) -> Result<Value, StoreError> {
        let begun = Instant::now();
        let mut loaded_again = false;
        loop {
            let (number, mut connection) = self.connection().await?;
            let error = match connection.send_packed_command(&call.0).await.and_then(Value::extract_error) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.code() == Some("HOLD") && begun.elapsed() < ANSWER_WITHIN {
                // It did not run: instances are bringing back what Redis has lost.
                tokio::time::sleep(TRY_EVERY).await;
            } else if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) && !loaded_again {
                // Nor now: somebody has flushed the scripts. A new connection loads them.
                loaded_again = true;
                self.give_up(number);
            } else {
                return Err(self.failed(number, &error));
            }
        }
    }

    /// Runs commands in one go, all or none.
    pub(super) async fn query<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, StoreError> {
        let (number, mut connection) = self.connection().await?;
        pipeline.query_async(&mut connection).await.map_err(|error| self.failed(number, &error))
    }

    /// What the server says where it is there and wants another password, or none of this: no matter of time.
    pub(super) async fn refused(&self) -> Option<String> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN));
        let error = match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(mut connection) => redis::cmd("PING").query_async::<String>(&mut connection).await.err()?,
            Err(error) => error,
        };
        let by_code = matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED"));
        (by_code || error.kind() == ErrorKind::AuthenticationFailed).then(|| error.to_string())
    }

    /// The client, for connections of another kind.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), StoreError> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let _alone = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        if let Some((at, error)) = &self.state.lock().failed
            && at.elapsed() < TRY_EVERY
        {
            return Err(error.clone());
        }
        let made = self.connect().await;
        let mut state = self.state.lock();
        match made {
            Ok(connection) => {
                state.made += 1;
                state.failed = None;
                state.connection = Some((state.made, MultiplexedConnectionDebug(connection.clone())));
                Ok((state.made, connection))
            }
            Err(error) => {
                let error = unavailable(&error);
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.state.lock().connection.as_ref().map(|(number, connection)| (*number, connection.0.clone()))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut load = redis::pipe();
        for script in Script::ALL {
            load.cmd("SCRIPT").arg("LOAD").arg(script.source()).ignore();
        }
        load.query_async::<()>(&mut connection).await?;
        if let Some((recent, clock)) = &self.recent {
            self.meet(&mut connection, recent, clock).await?;
        }
        Ok(connection)
    }

    /// Looks who answers. Another one than before is told what it may have lost.
    async fn meet(
        &self,
        connection: &mut MultiplexedConnection,
        recent: &Recent,
        clock: &Clock,
    ) -> Result<(), RedisError> {
        let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
        let server = info.lines().find_map(|line| line.trim().strip_prefix("run_id:")).unwrap_or_default().to_owned();
        // Who may not ask assumes the worse.
        let syncs: Result<Vec<String>, _> =
            redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await;
        let syncs_each_write = syncs.is_ok_and(|said| said.get(1).is_some_and(|when| when == "always"));
        let is_another = self.state.lock().server.as_ref().is_some_and(|before| *before != server);
        if is_another {
            let calls = recent.calls(&server, &script_time(clock));
            tracing::warn!(server, "Redis is another server than before; writing again what it may have lost");
            for some in calls.chunks(AT_ONCE) {
                let mut pipeline = redis::pipe();
                for call in some {
                    pipeline.add_command(call.0.clone()).ignore();
                }
                pipeline.query_async::<()>(connection).await?;
            }
        }
        let mut state = self.state.lock();
        state.servers_met += u64::from(is_another);
        state.server = Some(server);
        state.syncs_each_write = syncs_each_write;
        Ok(())
    }

    /// What a failure means to who asked; the connection is given up where it may be the cause.
    fn failed(&self, number: u64, error: &RedisError) -> StoreError {
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_unrecoverable_error()
        {
            self.give_up(number);
        }
        unavailable(error)
    }

    fn give_up(&self, number: u64) {
        let mut state = self.state.lock();
        if state.connection.as_ref().is_some_and(|(current, _)| *current == number) {
            state.connection = None;
        }
    }
}

fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(format!("Redis: {error}"))
}
