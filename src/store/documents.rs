//! Small documents that change by compare-and-swap: what the front doors of older systems keep, and containers.
//!
//! A document is JSON under a collection and a key, with a version that is never given twice. Several are written in one go,
//! all or none, each under the condition that it is still as it was read: that is all it takes to hand out n workers at
//! once, or to use a token up exactly once, over any number of dispatchers. Who loses reads again and decides anew; each
//! loss means that another has won.

use async_trait::async_trait;

use super::error::StoreError;
use crate::base::clock::Millis;

/// What a document is about. The names are part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Who can be brokered, by account.
    BrokerClients,
    /// Sets of clients that were handed out, by token.
    BrokerSessions,
    /// Logins that can be refreshed, and logins that are over, by the login's id.
    RefreshFamilies,
    /// How many logins were tried lately, by a hash of the account's name.
    LoginAttempts,
    /// Attempts that were handed to a polling worker, by number and attempt.
    Bookings,
    /// Polling workers that are being given a job right now, by id.
    PollTurns,
    /// Uploads that come in pieces, by id.
    PartialUploads,
    /// Jobs that were taken off their account's list, by account.
    RemovedJobs,
    /// Containers, by id.
    Containers,
    /// Which container goes by a name, by account and name.
    ContainerNames,
    /// What workers used within the last hour, by id.
    WorkerUsage,
    /// The same of containers.
    ContainerUsage,
    /// Logins by password that last, by account.
    SignIns,
    /// Who did what, by time.
    Audit,
    /// The same, by account and time.
    AuditByAccount,
}

impl Collection {
    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrokerClients => "broker_clients",
            Self::BrokerSessions => "broker_sessions",
            Self::RefreshFamilies => "refresh_families",
            Self::LoginAttempts => "login_attempts",
            Self::Bookings => "bookings",
            Self::PollTurns => "poll_turns",
            Self::PartialUploads => "partial_uploads",
            Self::RemovedJobs => "removed_jobs",
            Self::Containers => "containers",
            Self::ContainerNames => "container_names",
            Self::WorkerUsage => "worker_usage",
            Self::ContainerUsage => "container_usage",
            Self::SignIns => "sign_ins",
            Self::Audit => "audit",
            Self::AuditByAccount => "audit_by_account",
        }
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name within the collection.
    pub key: String,
    /// Changes with every write, and never comes again.
    pub version: u64,
    /// JSON.
    pub value: String,
}

/// One of the changes of [`DocumentStore::write_documents`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// Where.
    pub collection: Collection,
    /// The document's name.
    pub key: String,
    /// The version that must still be there; none: there must be no such document.
    pub expected: Option<u64>,
    /// JSON; none removes the document.
    pub value: Option<String>,
    /// When the document is gone by itself, by the store's clock.
    pub expires_at: Option<Millis>,
}

/// See the module.
#[async_trait]
pub trait DocumentStore {
    /// A document; none too once it has expired.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn document(&self, collection: Collection, key: &str) -> Result<Option<Document>, StoreError>;

    /// All documents of a collection, by key. For collections whose size is bounded by who writes them.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn documents(&self, collection: Collection) -> Result<Vec<Document>, StoreError>;

    /// The documents with the greatest keys below `before`, or of all, in falling order of their keys; so many at the most.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn documents_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// Makes all changes, or none where one of the documents is not as it was expected to be: `false`.
    ///
    /// # Errors
    /// It may have been done. A repeat is refused then, so that nothing is done twice.
    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<bool, StoreError>;
}
