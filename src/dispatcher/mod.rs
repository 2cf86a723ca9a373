//! The application: named operations that every front door uses.
//!
//! One cloneable [`Dispatcher`]. Front doors translate and call; this room decides who may, tells
//! the store, and passes on what came of it. It owns the tasks that act by themselves: the
//! matchmaker, which claims jobs for the workers connected here, the reaper, which does what
//! time demands, the upkeep, which moves finished logs and removes files, and the history, which
//! writes down what was used.
//!
//! Invariants: nothing is shown to anyone before the store has it; no instance places work on
//! another's worker.

mod accounts;
mod audit;
mod broker;
mod containers;
mod error;
mod excerpt;
mod fleet;
mod follow;
mod handing;
mod history;
mod intake;
mod introduction;
mod jobs;
mod listing;
mod logs;
mod machines;
mod matchmaker;
mod measure;
mod paging;
mod peers;
mod photos;
mod plugins;
mod polling;
mod reader;
mod reaper;
mod records;
mod register;
mod results;
mod resumable;
mod settling;
mod sftp;
mod standing;
mod tasks;
mod templates;
mod upkeep;
mod workers;

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::broadcast;
use tracing::debug;

pub use accounts::PasswordChanged;
pub use broker::{Brokered, NewClient};
pub use error::DispatchError;
pub use excerpt::Excerpt;
pub use fleet::Agent;
pub use intake::Intake;
pub use jobs::Submission;
pub use listing::Page;
pub use machines::gpus_of_job;
pub use paging::LogPart;
pub use photos::{PHOTO_BYTES, PhotoError};
pub use plugins::Plugin;
pub use polling::PollingWorker;
pub use reader::{LogReader, Piece};
pub use register::Registration;
pub use results::BroughtBack;
pub use resumable::Progress;
pub use standing::Standing;
pub use templates::{TemplateError, Templates};

use crate::auth::{Auth, Identity, Revoked};
use crate::base::clock::{Clock, Millis, millis};
use crate::base::rate::Rate;
use crate::base::shutdown::Shutdown;
use crate::blobs::{Blobs, Neighbours};
use crate::config::ServerSettings;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::model::job::is_over;
use crate::model::{AccountName, Role};
use crate::store::jobs::Change;
use crate::store::redis::bus::Bus;
use crate::store::{RedisStore, Store, StoreError};

/// So many seconds' worth of submits may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).expect("it is not 0");

/// See the module.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    auth: Auth,
    blobs: Blobs,
    hub: Hub,
    clock: Clock,
    settings: ServerSettings,
    instance: String,
    fleet: fleet::Fleet,
    handing: handing::Handing,
    queue: matchmaker::Queue,
    introductions: introduction::Introductions,
    looks: standing::Looks,
    sftp: sftp::Turns,
    /// Submits, by account.
    submits: Rate,
    metrics: Arc<Metrics>,
    audit: audit::Audit,
    /// Who is handed out next; see [`broker`].
    brokering: tokio::sync::Mutex<()>,
    book: containers::Book,
    container_changes: containers::Changes,
    /// Who looks at what containers use.
    stats: containers::Stats,
    /// What was used lately.
    history: history::History,
    peers: Option<peers::Peers>,
    templates: Templates,
    plugins: plugins::Plugins,
    revoked: broadcast::Sender<Revoked>,
    shutdown: Shutdown,
}

/// What a dispatcher stands on.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The same, where other dispatchers share it.
    pub shared: Option<RedisStore>,
    /// Who may.
    pub auth: Auth,
    /// Files.
    pub blobs: Blobs,
    /// What jobs it offers by name.
    pub templates: Templates,
    /// The time.
    pub clock: Clock,
    /// What it was told.
    pub settings: ServerSettings,
    /// Owns its tasks.
    pub shutdown: Shutdown,
}

impl Dispatcher {
    /// A dispatcher with its tasks running on the shutdown's tracker.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let Parts { store, shared, auth, blobs, templates, clock, settings, shutdown } = parts;
        let instance = uuid::Uuid::new_v4().to_string();
        let mut blobs = blobs;
        let (peers, heard) = match shared {
            Some(shared) => {
                if !blobs.is_shared() {
                    let key = store.signing_key(rand::random()).await?;
                    blobs = blobs.with_neighbours(Neighbours::new(shared.clone(), &instance, &key));
                }
                let (bus, heard) = Bus::start(&shared, &shutdown)?;
                (Some(peers::Peers::new(shared, bus)), Some(heard))
            }
            None => (None, None),
        };
        if peers.is_some() {
            // As a file does when it is opened; unless others have looked after it all the time.
            store.start_anew(settings.lease).await?;
        }
        let fleet = fleet::Fleet::new(store.workers().await?);
        let queue = matchmaker::Queue::default();
        for class in store.ready().await? {
            queue.add(&class.requires);
        }
        let submits = settings.limits.submits_per_second;
        let submits = Rate::per_second(submits, submits.saturating_mul(BURST));
        let plugins = plugins::Plugins::new(&settings.plugins);
        let dispatcher = Self(Arc::new(Inner {
            book: containers::Book::new(Arc::clone(&store)),
            container_changes: containers::Changes::default(),
            stats: containers::Stats::default(),
            history: history::History::default(),
            store,
            auth,
            blobs,
            hub: Hub::new(),
            clock,
            settings,
            instance,
            fleet,
            handing: handing::Handing::default(),
            queue,
            introductions: introduction::Introductions::default(),
            looks: standing::Looks::default(),
            sftp: sftp::Turns::default(),
            submits,
            metrics: Arc::default(),
            audit: audit::Audit::default(),
            brokering: tokio::sync::Mutex::default(),
            peers,
            templates,
            plugins,
            // A connection sweep that misses this many revocations checks every socket anew.
            revoked: broadcast::Sender::new(256),
            shutdown: shutdown.clone(),
        }));
        shutdown.spawn(matchmaker::run(dispatcher.clone()));
        shutdown.spawn(reaper::run(dispatcher.clone()));
        shutdown.spawn(upkeep::run(dispatcher.clone()));
        shutdown.spawn(history::run(dispatcher.clone()));
        shutdown.spawn(templates::watch(dispatcher.clone()));
        if let Some(heard) = heard {
            shutdown.spawn(peers::run(dispatcher.clone(), heard));
        }
        Ok(dispatcher)
    }

    /// Which dispatcher this is; new at every start.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// What it was told.
    pub fn settings(&self) -> &ServerSettings {
        &self.0.settings
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Accounts and tokens.
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// Files.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Live connections.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Where everything is kept; for front doors only to look. Logs are read with [`Dispatcher::read_log`].
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Owns every task.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Credentials that ended, as they end.
    pub fn revocations(&self) -> broadcast::Receiver<Revoked> {
        self.0.revoked.subscribe()
    }

    /// Tells every connection here that credentials have ended.
    fn revoke_here(&self, revoked: Revoked) {
        // No receiver means no connection to tell.
        let _ = self.0.revoked.send(revoked);
    }

    /// Whether the store answers, and takes what is written.
    ///
    /// # Errors
    /// It does not.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.0.store.check().await
    }

    /// Passes a change of status on: to followers, to watchers, and to the queue.
    async fn publish(&self, change: &Change) {
        let Change { job, entry } = change;
        self.0.introductions.over(job.id.nonce).await;
        self.show(job.id, std::slice::from_ref(entry));
        self.announce(job);
        self.count_end(job);
        if job.status == crate::protocol::job::Status::Pending {
            self.is_ready(&job.spec.requires);
        }
    }

    /// A worker that was not heard of since this moment is offline.
    fn online_since(&self) -> Millis {
        self.0.clock.now().saturating_sub(millis(self.0.settings.lease))
    }

    /// Counts a job that is over.
    fn count_end(&self, job: &crate::model::Job) {
        if job.id.is_container() {
            return;
        }
        if let Some(reason) = job.reason.filter(|_| is_over(job.status)) {
            self.0.metrics.ended.of(reason).inc();
            debug!(job = %job.id, attempt = job.attempt, status = ?job.status, ?reason, "job ended");
        }
    }

    /// Tells watchers and plugins where a job stands now.
    fn announce(&self, job: &crate::model::Job) {
        if job.id.is_container() {
            return self.container_moved(job);
        }
        if self.0.hub.jobs.is_watched() {
            let frame = records::job_changed(job, self.0.clock.now());
            self.0.hub.jobs.push(Some(job.account.clone()), frame);
        }
        self.tell_of_job(job, || records::job_changed(job, self.0.clock.now()).as_str().to_owned());
        self.tell_plugins_of_job(job);
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").field("instance", &self.0.instance).finish_non_exhaustive()
    }
}

/// Whose jobs `who` may see: its own, or all.
fn audience(who: &Identity) -> Result<Option<AccountName>, DispatchError> {
    match who.role {
        Role::Admin => Ok(None),
        Role::User => Ok(Some(who.account.clone())),
        Role::Worker | Role::Plugin => Err(DispatchError::Forbidden("this role has no part in clients' frames")),
    }
}
