//! Documents: hashes with a version, changed all or none by one script.
//!
//! A collection has its keys twice: by expiry, which is what is swept, and by key, which is what pages are cut from.

use async_trait::async_trait;

use super::script::{Call, Script};
use super::{RedisStore, record};
use crate::base::clock::Millis;
use crate::store::documents::{Collection, Document, DocumentStore, DocumentWrite};
use crate::store::error::StoreError;

/// Documents that are read in one go.
const AT_ONCE: usize = 500;

impl RedisStore {
    /// Documents by their keys, as far as there are any.
    async fn documents_by_key(&self, collection: Collection, keys: &[String]) -> Result<Vec<Document>, StoreError> {
        let mut documents = Vec::new();
        let now = self.store_now().await?;
        for some in keys.chunks(AT_ONCE) {
            let mut pipeline = redis::pipe();
            for key in some {
                let place = self.shared_key(&format!("doc:{}:{key}", collection.as_str()));
                pipeline.cmd("HMGET").arg(place).arg(&["version", "value", "until"]);
            }
            let found: Vec<(Option<u64>, Option<String>, Option<String>)> = self.0.link.query(&pipeline).await?;
            for (key, found) in some.iter().zip(found) {
                let (Some(version), Some(value), until) = found else { continue };
                let until = until.and_then(|until| until.parse::<Millis>().ok());
                if until.is_none_or(|until| now < until) {
                    documents.push(Document { key: key.clone(), version, value });
                }
            }
        }
        Ok(documents)
    }

    /// The keys of a collection, in their order. Some may have expired.
    async fn document_keys(&self, collection: Collection) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.shared_key(&format!("docs:{}", collection.as_str()))).arg(0).arg(-1);
        let mut keys: Vec<String> = self.one(command).await?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// The greatest keys below `before`, or of all, in falling order; so many at the most. Some may have expired.
    async fn document_keys_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let below = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
        let call = Call::new(Script::DocumentKeys, &self.shared()).arg(collection.as_str()).arg(below).arg(limit);
        record::array(self.run(&call).await?)?.into_iter().map(record::text).collect()
    }
}

#[async_trait]
impl DocumentStore for RedisStore {
    async fn document(&self, collection: Collection, key: &str) -> Result<Option<Document>, StoreError> {
        Ok(self.documents_by_key(collection, &[key.to_owned()]).await?.pop())
    }

    async fn documents(&self, collection: Collection) -> Result<Vec<Document>, StoreError> {
        let keys = self.document_keys(collection).await?;
        self.documents_by_key(collection, &keys).await
    }

    async fn documents_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (mut found, mut before) = (Vec::new(), before.map(str::to_owned));
        // Again where some of them have expired.
        while found.len() < limit {
            let mut keys = self.document_keys_before(collection, before.as_deref(), limit).await?;
            found.append(&mut self.documents_by_key(collection, &keys).await?);
            if keys.len() < limit {
                break;
            }
            before = keys.pop();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        let mut call = Call::new(Script::WriteDocuments, &self.shared()).arg(self.now());
        for DocumentWrite { collection, key, expected, value, expires_at } in writes {
            call = call.arg(collection.as_str()).arg(key);
            call = call.arg(expected.map(|version| version.to_string()).unwrap_or_default());
            call = call.arg(u8::from(value.is_some())).arg(value.unwrap_or_default());
            call = call.arg(expires_at.map(|at| at.to_string()).unwrap_or_default());
        }
        let done: u64 = record::number(self.run(&call).await?)?;
        Ok(done == 1)
    }
}
