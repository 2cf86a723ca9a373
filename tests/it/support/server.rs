//! A dispatcher in this process, built from its public parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use axum::serve::ListenerExt;
use gangline::api::http;
use gangline::api::ws::{self, Registry, WsState};
use gangline::auth::Auth;
use gangline::base::clock::Clock;
use gangline::base::secret::Secret;
use gangline::base::shutdown::Shutdown;
use gangline::blobs::Blobs;
use gangline::config::ServerSettings;
use gangline::dispatcher::{Dispatcher, Parts, Templates};
use gangline::protocol::auth::{Role, TokenCreate, UserAdd};
use gangline::store::redis::RedisOptions;
use gangline::store::sqlite::{SqliteOptions, SqliteStore};
use gangline::store::{RedisStore, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Peer, Web, Worker, eventually};

/// A running dispatcher with its own data directory.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) clock: Clock,
    admin_token: String,
    worker_token: String,
    shutdown: Shutdown,
    store: Weak<dyn Store>,
    dir: Option<TempDir>,
}

/// What a [`TestServer`] is made of.
pub(crate) struct Stage {
    settings: ServerSettings,
    clock: Clock,
    wrap: Wrap,
    dir: Option<TempDir>,
    /// What the keys in Redis begin with; of its own unless another shares it.
    prefix: Option<String>,
}

type Wrap = Box<dyn FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send>;

impl TestServer {
    /// With the defaults.
    pub(crate) async fn start() -> Self {
        Stage::new().start().await
    }

    /// Two dispatchers that share a Redis, whatever else the stories are told on.
    pub(crate) async fn pair() -> [Self; 2] {
        Self::pair_on(Stage::new).await
    }

    /// Two such dispatchers whose clocks stand still at the same moment.
    pub(crate) async fn pair_with_manual_clocks() -> [Self; 2] {
        Self::pair_on(|| Stage::new().manual_clock()).await
    }

    async fn pair_on(stage: impl Fn() -> Stage) -> [Self; 2] {
        let prefix = format!("pair-{}", uuid::Uuid::new_v4());
        let one = || Stage { prefix: Some(prefix.clone()), ..stage() };
        [one().start().await, one().start().await]
    }

    /// Its HTTP side.
    pub(crate) fn web(&self) -> Web {
        Web::at(self.address)
    }

    /// With settings that differ from the defaults.
    pub(crate) async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        Stage::new().settings(change).start().await
    }

    /// With a clock that stands still until it is told to move.
    pub(crate) async fn with_manual_clock() -> Self {
        Stage::new().manual_clock().start().await
    }

    /// A socket that has said nothing yet, and the server's `hello`.
    pub(crate) async fn stranger(&self) -> (Peer, Value) {
        Peer::connect(self.address, &[]).await
    }

    /// An administrator's connection.
    pub(crate) async fn admin(&self) -> Peer {
        Peer::with_token(self.address, &self.admin_token).await
    }

    /// A connection of a new account of role `user`.
    pub(crate) async fn user(&self, name: &str) -> Peer {
        let token = self.user_token(name).await;
        Peer::with_token(self.address, &token).await
    }

    /// A token of an account of role `user`, made if it is not there.
    pub(crate) async fn user_token(&self, name: &str) -> String {
        let user = UserAdd { account: name.to_owned(), role: Some(Role::User), email: None, password: None };
        let _ = self.dispatcher.auth().add_user(user).await;
        self.token(Role::User, name).await
    }

    /// An API token.
    pub(crate) async fn token(&self, role: Role, account: &str) -> String {
        let create = TokenCreate { role, account: Some(account.to_owned()), ttl_secs: None, name: None };
        let asker = "admin".parse().expect("an account name");
        self.dispatcher.auth().create_token(create, &asker).await.expect("a token").token
    }

    pub(crate) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    pub(crate) fn worker_token(&self) -> &str {
        &self.worker_token
    }

    /// A worker with one slot; `more` are fields of its `register`.
    pub(crate) async fn worker(&self, id: &str, more: &Value) -> Worker {
        Worker::register(self.address, &self.worker_token, id, more).await
    }

    /// A worker with so many slots.
    pub(crate) async fn worker_with_slots(&self, id: &str, slots: u32) -> Worker {
        self.worker(id, &json!({"slots": slots})).await
    }

    /// Moves the server's clock in one go, as if its machine had slept.
    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// Lets time pass while the server looks after everything.
    pub(crate) async fn pass_time(&self, secs: u64) {
        // A server that finds more than a third of a lease gone begins leases anew.
        const STEP: u64 = 9;
        let mut left = secs;
        while left > 0 {
            self.advance(left.min(STEP));
            left -= left.min(STEP);
            self.settled().await;
        }
    }

    /// Waits until everything that time demands by now was done.
    pub(crate) async fn settled(&self) {
        let mut admin = self.admin().await;
        // Limits are looked after in passes: when the second job has ended, so has a whole pass
        // that began after this.
        for _ in 0..2 {
            let canary = json!({"command": "x", "queueTimeoutSecs": 0.001, "requires": {"workerId": "_canary"}});
            let job = admin.queue(&canary).await;
            eventually("a pass over the limits", async || {
                // Again and again, because a pass that comes late lets waits begin anew.
                self.clock.advance(Duration::from_millis(1));
                (admin.job(&job).await["status"] == "failed").then_some(())
            })
            .await;
        }
    }

    /// Ends the server and hands its data directory on.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.shutdown.start_cut();
        assert!(self.shutdown.finished(Duration::from_secs(10)).await, "tasks ended");
        let (dir, store) = (self.dir.take().expect("it is taken once"), Weak::clone(&self.store));
        drop(self);
        // The lock on the directory goes with the store, and that with the last connection.
        eventually("the store to close", async || store.upgrade().is_none().then_some(())).await;
        dir
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.start_cut();
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let settings = ServerSettings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..ServerSettings::default() };
        Self { settings, clock: Clock::default(), wrap: Box::new(|store| store), dir: None, prefix: None }
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut ServerSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// With the clock of another stage.
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The clock stands at a moment of 2025 until it is told to move.
    pub(crate) fn manual_clock(mut self) -> Self {
        self.clock = Clock::manual(1_750_000_000_000);
        self
    }

    /// Puts something between the dispatcher and its store.
    pub(crate) fn store(mut self, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send + 'static) -> Self {
        self.wrap = Box::new(wrap);
        self
    }

    /// On the data directory of a server that was stopped.
    pub(crate) fn dir(mut self, dir: TempDir) -> Self {
        self.dir = Some(dir);
        self
    }

    pub(crate) async fn start(self) -> TestServer {
        let Self { mut settings, clock, wrap, dir, prefix } = self;
        let dir = dir.unwrap_or_else(|| TempDir::new().expect("a temporary directory"));
        let own = dir.path().file_name().expect("a name").to_string_lossy().into_owned();
        let is_shared = prefix.is_some();
        let prefix = prefix.unwrap_or(own);
        settings.data_dir = dir.path().to_owned();
        let options = SqliteOptions {
            durability: settings.durability,
            output_bytes: settings.limits.output_bytes,
            lease: settings.lease,
        };
        // Every story must hold with a log that is moved as soon as it is finished.
        settings.archive_after = Duration::ZERO;
        let redis = is_shared || tests_use_redis();
        let shared = redis.then(|| redis_store(prefix, &settings, clock.clone()));
        let store: Arc<dyn Store> = match &shared {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(SqliteStore::open(dir.path(), &options, clock.clone()).expect("the store opens")),
        };
        let store = wrap(store);
        let auth = Auth::new(Arc::clone(&store), clock.clone(), settings.access_token_ttl);
        auth.bootstrap(dir.path()).await.expect("the first tokens are made");
        let token = |name: &str| read_token(dir.path().join(name));
        let (admin_token, worker_token) = (token("admin.token"), token("worker.token"));
        let blobs = Blobs::open(&dir.path().join("blobs")).expect("files can be kept");
        let shutdown = Shutdown::new();
        let weak = Arc::downgrade(&store);
        let listener = TcpListener::bind(settings.listen).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let templates = Templates::load(settings.templates.as_deref()).expect("templates can be read");
        let parts =
            Parts { store, shared, auth, blobs, templates, clock: clock.clone(), settings, shutdown: shutdown.clone() };
        let dispatcher = Dispatcher::start(parts).await.expect("the dispatcher starts");
        let registry = Registry::default();
        shutdown.spawn(registry.clone().run(dispatcher.clone()));
        let state = WsState { dispatcher: dispatcher.clone(), registry };
        let router =
            http::router(dispatcher.clone()).merge(Router::new().route("/ws", any(ws::upgrade)).with_state(state));
        let listener = listener.tap_io(|io| {
            let _ = io.set_nodelay(true);
        });
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let cut = shutdown.cut().clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => (),
                served = async { axum::serve(listener, service).await } => served.expect("it serves"),
            }
        });
        TestServer { address, dispatcher, clock, admin_token, worker_token, shutdown, store: weak, dir: Some(dir) }
    }
}

/// Whether the stories are told on Redis: `GANGLINE_TEST_STORE=redis`.
pub(crate) fn tests_use_redis() -> bool {
    std::env::var("GANGLINE_TEST_STORE").is_ok_and(|store| store == "redis")
}

/// The store of a data directory: its name is what the keys begin with.
fn redis_store(prefix: String, settings: &ServerSettings, clock: Clock) -> RedisStore {
    let output_bytes = settings.limits.output_bytes;
    let options = RedisOptions { url: Secret::new(super::redis::url()), prefix, partitions: 1, output_bytes };
    RedisStore::new(options, clock).expect("a URL that makes sense")
}

fn read_token(path: PathBuf) -> String {
    std::fs::read_to_string(path).expect("a token file").trim().to_owned()
}
