//! Documents of the reference store.

use async_trait::async_trait;

use super::ModelStore;
use crate::store::documents::{Collection, Document, DocumentStore, DocumentWrite};
use crate::store::error::StoreError;

#[async_trait]
impl DocumentStore for ModelStore {
    async fn document(&self, collection: Collection, key: &str) -> Result<Option<Document>, StoreError> {
        Ok(self.documents(collection).await?.into_iter().find(|document| document.key == key))
    }

    async fn documents(&self, collection: Collection) -> Result<Vec<Document>, StoreError> {
        let now = self.clock.now();
        let kept = self.kept.lock();
        let all = kept.documents.iter().filter(|((of, _), _)| *of == collection);
        let live = all.filter(|(_, (_, until))| until.is_none_or(|until| now < until));
        Ok(live.map(|(_, (document, _))| document.clone()).collect())
    }

    async fn documents_before(
        &self,
        collection: Collection,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let mut all = self.documents(collection).await?;
        all.retain(|document| before.is_none_or(|before| document.key.as_str() < before));
        all.reverse();
        all.truncate(limit);
        Ok(all)
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        kept.documents.retain(|_, (_, until)| until.is_none_or(|until| now < until));
        let version = |write: &DocumentWrite| {
            let place = (write.collection, write.key.clone());
            kept.documents.get(&place).map(|(document, _)| document.version)
        };
        if writes.iter().any(|write| version(write) != write.expected) {
            return Ok(false);
        }
        for DocumentWrite { collection, key, expected: _, value, expires_at } in writes {
            kept.document_versions += 1;
            let version = kept.document_versions;
            let place = (collection, key.clone());
            match value {
                Some(value) => kept.documents.insert(place, (Document { key, version, value }, expires_at)),
                None => kept.documents.remove(&place),
            };
        }
        Ok(true)
    }
}
