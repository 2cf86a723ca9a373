//! The broker: clients that offer to work for each other directly, and sessions that hand some of them out.
//!
//! A client is an account whose profile has `pubKey` and `address`. It signals how many workloads it is ready for, each
//! session that it is part of takes one of them, and when it is ready for more it signals anew. A worker that registered
//! with both is brokered, too: it is ready for as many as it has free slots, less the sessions of the last hour that it is
//! part of. Nobody says when a session is over, so that an hour has to do.
//!
//! Invariant: of any number of sessions at once, on any number of instances, none takes what another has taken. All that
//! a session changes is one write, which is refused as a whole where anything has changed since it was read.
//! Not here: jobs. A slot that a session has taken may still be given to a job.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use rand::seq::SliceRandom;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DispatchError, Dispatcher};
use crate::auth::{AuthError, Credential, Identity, NewAccount};
use crate::base::clock::{Millis, millis};
use crate::model::account::InvalidContact;
use crate::model::{Account, AccountName, Contact, Role, Worker};
use crate::protocol::WireError;
use crate::store::StoreError;
use crate::store::documents::{Collection, Document, DocumentWrite};

/// How long a session can be looked at again, and how long it takes a slot of a worker.
const SESSION: Duration = Duration::from_secs(3600);

/// How often a choice is made anew because somebody else was faster. Each loss is another instance's session, or a
/// client's signal.
const CHOSEN_WITHIN: u32 = 100;

/// The fields of a profile that make a [`Contact`].
const PUB_KEY: &str = "pubKey";
const ADDRESS: &str = "address";

/// Somebody who registers in order to be brokered.
pub struct NewClient {
    /// The account's name and its email.
    pub email: String,
    /// 1 to 1024 bytes.
    pub password: String,
    /// By which others know them.
    pub pub_key: String,
    /// Where others reach them, `address:port`.
    pub address: String,
}

/// What came of the wish for a session.
pub enum Brokered {
    /// It has begun.
    Session {
        /// Who was handed out.
        workers: Vec<Contact>,
        /// Brings the list back.
        token: String,
    },
    /// There are not enough; nothing was taken.
    TooFew {
        /// How many there are.
        available: u64,
    },
}

/// What is kept of a client that is ready for something.
#[derive(Serialize, Deserialize)]
struct Offer {
    /// When its account was made: a namesake has offered nothing.
    since: Millis,
    available: u32,
}

/// What is kept of a worker that is part of sessions.
#[derive(Default, Serialize, Deserialize)]
struct Lent {
    /// When each of the sessions is over.
    until: Vec<Millis>,
}

/// What is kept of a session.
#[derive(Serialize, Deserialize)]
struct Session {
    owner: AccountName,
    workers: Vec<Contact>,
}

/// Who may be handed out, as far as one knows without a closer look.
enum Maybe {
    Client(Document),
    Worker(Box<Worker>, Option<Document>),
}

/// Somebody who can be handed out, and what is written when they are.
struct Candidate {
    contact: Contact,
    taken: DocumentWrite,
}

impl Dispatcher {
    /// Registers a client; it is ready for nothing before it says so.
    ///
    /// # Errors
    /// A wrong field; `conflict` for a known email; too many from this address; the store.
    pub async fn register_client(&self, client: NewClient, from: IpAddr) -> Result<(), DispatchError> {
        let NewClient { email, password, pub_key, address } = client;
        let Contact { pub_key, address } = Contact::new(pub_key, address).map_err(bad_contact)?;
        let profile = BTreeMap::from([(PUB_KEY.to_owned(), pub_key.into()), (ADDRESS.to_owned(), address.into())]);
        let account = NewAccount { account: email.clone(), email: Some(email), password, profile };
        match self.register_account(account, from).await {
            Ok(_) => Ok(()),
            // A client has no name beside its email.
            Err(AuthError::NameTaken) => Err(AuthError::EmailTaken.into()),
            Err(AuthError::BadName(_) | AuthError::ReservedName) => {
                Err(WireError::bad_field("email", "email must be an address of at most 64 characters").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says how many workloads a client is ready for, whatever it said before.
    ///
    /// # Errors
    /// `forbidden` for other roles, `conflict` for an account without `pubKey` and `address`, or the store.
    pub async fn offer(&self, who: &Identity, available: u32) -> Result<(), DispatchError> {
        check_role(who)?;
        let no_client =
            || DispatchError::Conflict("this account has no pubKey and address to be brokered by".to_owned());
        if who.credential == Credential::Open {
            return Err(no_client());
        }
        let account = self.auth().account(&who.account).await?;
        contact(&account).ok_or_else(no_client)?;
        let key = client_key(&account.name);
        let offer = Offer { since: account.created_at, available };
        for _ in 0..CHOSEN_WITHIN {
            let kept = self.store().document(Collection::BrokerClients, &key).await?;
            if kept.is_none() && available == 0 {
                return Ok(());
            }
            if self.store().write_documents(vec![offer_write(&key, kept.as_ref(), &offer)?]).await? {
                return Ok(());
            }
        }
        Err(busy().into())
    }

    /// Hands out `asked` clients and workers other than the asker, all or none.
    ///
    /// # Errors
    /// `forbidden` for other roles, a wrong number, or the store.
    pub async fn broker(&self, who: &Identity, asked: u64) -> Result<Brokered, DispatchError> {
        check_role(who)?;
        if asked == 0 {
            return Err(WireError::bad_field("workers", "workers must be 1 or more").into());
        }
        let own = self.store().account(who.account.as_str()).await?.as_ref().and_then(contact);
        // One at a time here, so that only other instances can be faster.
        let _turn = self.0.brokering.lock().await;
        for _ in 0..CHOSEN_WITHIN {
            let chosen = self.choose(who, own.as_ref(), asked).await?;
            if (chosen.len() as u64) < asked {
                return Ok(Brokered::TooFew { available: chosen.len() as u64 });
            }
            let token: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
            let (workers, mut writes): (Vec<_>, Vec<_>) =
                chosen.into_iter().map(|candidate| (candidate.contact, candidate.taken)).unzip();
            let session = Session { owner: who.account.clone(), workers };
            writes.push(DocumentWrite {
                collection: Collection::BrokerSessions,
                key: session_key(&token),
                expected: None,
                value: Some(to_json(&session)?),
                expires_at: Some(self.clock().now().saturating_add(millis(SESSION))),
            });
            if self.store().write_documents(writes).await? {
                return Ok(Brokered::Session { workers: session.workers, token });
            }
        }
        Err(busy().into())
    }

    /// Who was handed out in a session of the asker's.
    ///
    /// # Errors
    /// `not_found` where there is no such session or it is over, `forbidden` where it is another's, or the store.
    pub async fn brokered(&self, who: &Identity, token: &str) -> Result<Vec<Contact>, DispatchError> {
        check_role(who)?;
        let kept = self.store().document(Collection::BrokerSessions, &session_key(token)).await?;
        let Session { owner, workers } = from_json(&kept.ok_or(DispatchError::NotFound("session"))?)?;
        if owner == who.account { Ok(workers) } else { Err(DispatchError::Forbidden("the session is another's")) }
    }

    /// Some who can be handed out, `most` at the most: at random, so that the work spreads and instances seldom choose the same.
    async fn choose(&self, who: &Identity, own: Option<&Contact>, most: u64) -> Result<Vec<Candidate>, DispatchError> {
        let documents = self.store().documents(Collection::BrokerClients).await?;
        let mut documents: HashMap<String, Document> =
            documents.into_iter().map(|document| (document.key.clone(), document)).collect();
        documents.remove(&client_key(&who.account));
        let mut all: Vec<Maybe> = Vec::new();
        for worker in self.store().workers().await? {
            let lent = documents.remove(&worker_key(&worker));
            if worker.contact.as_ref().is_some_and(|contact| Some(contact) != own) {
                all.push(Maybe::Worker(Box::new(worker), lent));
            }
        }
        // What is left of workers that are gone is no client.
        all.extend(documents.into_values().filter(|kept| kept.key.starts_with(CLIENTS)).map(Maybe::Client));
        all.shuffle(&mut rand::rng());
        let mut chosen = Vec::new();
        for maybe in all {
            if chosen.len() as u64 == most {
                break;
            }
            chosen.extend(match maybe {
                Maybe::Client(kept) => self.client(&kept).await?,
                Maybe::Worker(worker, lent) => self.brokered_worker(*worker, lent.as_ref()).await?,
            });
        }
        Ok(chosen)
    }

    async fn client(&self, kept: &Document) -> Result<Option<Candidate>, DispatchError> {
        let offer: Offer = from_json(kept)?;
        let name = kept.key.strip_prefix(CLIENTS).unwrap_or_default();
        let account = self.store().account(name).await?;
        let Some(account) =
            account.filter(|account| account.name.as_str() == name && account.created_at == offer.since)
        else {
            // Nobody's any more. Who is faster has removed it, or is its namesake.
            let gone = offer_write(&kept.key, Some(kept), &Offer { available: 0, ..offer })?;
            self.store().write_documents(vec![gone]).await?;
            return Ok(None);
        };
        let (Some(contact), Some(left)) = (contact(&account), offer.available.checked_sub(1)) else { return Ok(None) };
        let taken = offer_write(&kept.key, Some(kept), &Offer { available: left, ..offer })?;
        Ok(Some(Candidate { contact, taken }))
    }

    async fn brokered_worker(
        &self,
        worker: Worker,
        lent: Option<&Document>,
    ) -> Result<Option<Candidate>, DispatchError> {
        let now = self.clock().now();
        let mut kept: Lent = lent.map(from_json).transpose()?.unwrap_or_default();
        kept.until.retain(|until| *until > now);
        let free = self.free_slots(&worker).await?;
        let key = worker_key(&worker);
        let Some(contact) = worker.contact.filter(|_| kept.until.len() < free) else { return Ok(None) };
        let over = now.saturating_add(millis(SESSION));
        kept.until.push(over);
        let taken = DocumentWrite {
            collection: Collection::BrokerClients,
            key,
            expected: lent.map(|lent| lent.version),
            value: Some(to_json(&kept)?),
            expires_at: Some(over),
        };
        Ok(Some(Candidate { contact, taken }))
    }

    /// Slots of a worker that no job takes; none of one that is away, or takes nothing new.
    async fn free_slots(&self, worker: &Worker) -> Result<usize, DispatchError> {
        let since = self.online_since();
        let free = match self.0.fleet.agent(&worker.id) {
            Some(agent) if agent.is_draining() || agent.last_heard() <= since => 0,
            Some(agent) => agent.free_slots() as usize,
            None if worker.draining || worker.last_seen <= since || worker.instance == self.instance() => 0,
            None => (worker.slots as usize).saturating_sub(self.store().running_on(&worker.id).await?.len()),
        };
        Ok(free)
    }
}

/// How a worker is reached that is to be brokered; none where it is not.
///
/// # Errors
/// The field that is wrong or missing.
pub(super) fn contact_of(pub_key: Option<String>, address: Option<String>) -> Result<Option<Contact>, DispatchError> {
    match (pub_key, address) {
        (None, None) => Ok(None),
        (Some(pub_key), Some(address)) => Ok(Some(Contact::new(pub_key, address).map_err(bad_contact)?)),
        (Some(_), None) => Err(WireError::bad_field(ADDRESS, "address is required beside pubKey").into()),
        (None, Some(_)) => Err(WireError::bad_field(PUB_KEY, "pubKey is required beside address").into()),
    }
}

fn bad_contact(error: InvalidContact) -> WireError {
    let field = match error {
        InvalidContact::PubKey => PUB_KEY,
        InvalidContact::Address => ADDRESS,
    };
    WireError::bad_field(field, error.to_string())
}

/// How the client of an account is reached; none where its profile does not say.
fn contact(account: &Account) -> Option<Contact> {
    let text = |field: &str| Some(account.profile.get(field)?.as_str()?.to_owned());
    Contact::new(text(PUB_KEY)?, text(ADDRESS)?).ok()
}

fn check_role(who: &Identity) -> Result<(), DispatchError> {
    match who.role {
        Role::User | Role::Admin => Ok(()),
        Role::Worker | Role::Plugin => Err(DispatchError::Forbidden("this role has no part in the broker")),
    }
}

/// What the keys of clients begin with.
const CLIENTS: &str = "client:";

fn client_key(name: &AccountName) -> String {
    format!("{CLIENTS}{name}")
}

fn worker_key(worker: &Worker) -> String {
    format!("worker:{}", worker.id)
}

/// The token itself is kept by its owner only.
fn session_key(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who is ready for nothing is not kept.
fn offer_write(key: &str, kept: Option<&Document>, offer: &Offer) -> Result<DocumentWrite, StoreError> {
    let value = if offer.available == 0 { None } else { Some(to_json(offer)?) };
    Ok(DocumentWrite {
        collection: Collection::BrokerClients,
        key: key.to_owned(),
        expected: kept.map(|kept| kept.version),
        value,
        expires_at: None,
    })
}

fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn from_json<T: DeserializeOwned>(kept: &Document) -> Result<T, StoreError> {
    serde_json::from_str(&kept.value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn busy() -> StoreError {
    StoreError::Unavailable("others were faster every time".to_owned())
}
