//! The records of containers, as documents of the store.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tracing::warn;

use crate::dispatcher::DispatchError;
use crate::model::{AccountName, Container};
use crate::protocol::ContainerId;
use crate::store::documents::{Collection, Document, DocumentWrite};
use crate::store::{Store, StoreError};

/// Tries to change a record. Who loses one was beaten by another change of the same container.
const TRIES: usize = 50;

/// See the module.
pub(in crate::dispatcher) struct Book {
    store: Arc<dyn Store>,
    /// Whoever holds it looks for a place, and adds a record: each is to see those before.
    placing: tokio::sync::Mutex<()>,
}

impl Book {
    pub(in crate::dispatcher) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, placing: tokio::sync::Mutex::default() }
    }

    /// Waits until no other container is being placed by this instance.
    pub(super) async fn placing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.placing.lock().await
    }

    /// A container's record.
    pub(super) async fn get(&self, id: ContainerId) -> Result<Option<Container>, StoreError> {
        let document = self.store.document(Collection::Containers, &id.to_string()).await?;
        document.as_ref().map(read).transpose()
    }

    /// All of them that can be read, in no order. There are few: [`super::create`] bounds them by account.
    pub(super) async fn all(&self) -> Result<Vec<Container>, StoreError> {
        let documents = self.store.documents(Collection::Containers).await?;
        // One that is broken is no reason to look after none.
        let readable = documents.iter().filter_map(|document| {
            let container = read(document).ok();
            if container.is_none() {
                warn!(container = %document.key, "the record of a container cannot be read; it is passed over");
            }
            container
        });
        Ok(readable.collect())
    }

    /// The container of this account that goes by `name`.
    pub(super) async fn named(&self, account: &AccountName, name: &str) -> Result<Option<ContainerId>, StoreError> {
        let document = self.store.document(Collection::ContainerNames, &name_key(account, name)).await?;
        document.as_ref().map(read).transpose()
    }

    /// A container that goes by `name`, whosever it is.
    pub(super) async fn named_by_anybody(&self, name: &str) -> Result<Option<ContainerId>, StoreError> {
        let all = self.store.documents(Collection::ContainerNames).await?;
        let found = all.iter().find(|document| document.key.split_once(' ').is_some_and(|(_, own)| own == name));
        found.map(read).transpose()
    }

    /// Adds a record; `false`: the account has another container of this name.
    pub(super) async fn add(&self, container: &Container) -> Result<bool, StoreError> {
        let mut writes = vec![write(container, None)?];
        writes.extend(container.name.as_ref().map(|name| DocumentWrite {
            collection: Collection::ContainerNames,
            key: name_key(&container.account, name),
            expected: None,
            value: Some(serde_json::Value::from(container.id.to_string()).to_string()),
            expires_at: None,
        }));
        self.store.write_documents(writes).await
    }

    /// Changes a record; none: there is no such container (any more).
    pub(super) async fn update(
        &self,
        id: ContainerId,
        change: impl Fn(&mut Container),
    ) -> Result<Option<Container>, DispatchError> {
        for _ in 0..TRIES {
            let Some(document) = self.store.document(Collection::Containers, &id.to_string()).await? else {
                return Ok(None);
            };
            let before: Container = read(&document)?;
            let mut container = before.clone();
            change(&mut container);
            if container == before
                || self.store.write_documents(vec![write(&container, Some(document.version))?]).await?
            {
                return Ok(Some(container));
            }
        }
        Err(DispatchError::NotYet("too many changes of the container at once; try again".to_owned()))
    }

    /// Removes a record, and frees its name. May be repeated.
    pub(super) async fn remove(&self, id: ContainerId) -> Result<(), DispatchError> {
        for _ in 0..TRIES {
            let Some(document) = self.store.document(Collection::Containers, &id.to_string()).await? else {
                return Ok(());
            };
            let container: Container = read(&document)?;
            let gone = |collection, key, version| DocumentWrite {
                collection,
                key,
                expected: Some(version),
                value: None,
                expires_at: None,
            };
            let mut writes = vec![gone(Collection::Containers, document.key.clone(), document.version)];
            if let Some(name) = &container.name {
                let key = name_key(&container.account, name);
                if let Some(name) = self.store.document(Collection::ContainerNames, &key).await? {
                    writes.push(gone(Collection::ContainerNames, key, name.version));
                }
            }
            if self.store.write_documents(writes).await? {
                return Ok(());
            }
        }
        Err(DispatchError::NotYet("too many changes of the container at once; try again".to_owned()))
    }
}

/// Neither of the two can hold a space.
fn name_key(account: &AccountName, name: &str) -> String {
    format!("{account} {name}")
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T, StoreError> {
    serde_json::from_str(&document.value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn write(container: &Container, expected: Option<u64>) -> Result<DocumentWrite, StoreError> {
    let value = serde_json::to_string(container).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(DocumentWrite {
        collection: Collection::Containers,
        key: container.id.to_string(),
        expected,
        value: Some(value),
        expires_at: None,
    })
}
