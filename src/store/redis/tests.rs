//! What an older version wrote.

use super::RedisStore;
use crate::base::clock::Clock;
use crate::model::{ApiToken, Role};
use crate::store::contract::redis_server;
use crate::store::documents::{Collection, DocumentWrite};
use crate::store::{AccountStore, DocumentStore};

const HERE: Collection = Collection::Audit;

fn store() -> RedisStore {
    redis_server::store(100, Clock::manual(1_000_000))
}

impl RedisStore {
    async fn has_no(&self, index: &str) {
        let mut command = redis::cmd("DEL");
        command.arg(self.shared_key(index));
        self.one::<u64>(command).await.unwrap();
    }

    async fn put(&self, key: &str, expires_at: Option<u64>) {
        let (key, value) = (key.to_owned(), Some("{}".to_owned()));
        let write = DocumentWrite { collection: HERE, key, expected: None, value, expires_at };
        assert!(self.write_documents(vec![write]).await.unwrap());
    }

    async fn page(&self, before: Option<&str>) -> String {
        let page = self.documents_before(HERE, before, 2).await.unwrap();
        page.into_iter().map(|document| document.key).collect()
    }

    async fn give(&self, id: &str, account: &str) {
        let token = ApiToken {
            id: id.to_owned(),
            secret_hash: [7; 32],
            role: Role::User,
            account: account.parse().unwrap(),
            created_at: 5,
            expires_at: None,
            name: None,
        };
        self.add_token(token).await.unwrap();
    }
}

#[tokio::test]
async fn documents_that_an_older_version_wrote_come_in_pages() {
    let store = store();
    for (key, expires_at) in [("a", None), ("c", Some(2_000_000)), ("b", Some(3_000_000))] {
        store.put(key, expires_at).await;
    }
    store.has_no("docs_by_key:audit").await;
    assert_eq!([store.page(None).await, store.page(Some("b")).await], ["cb", "a"]);

    store.has_no("docs_by_key:audit").await;
    store.put("d", None).await;
    assert_eq!([store.page(None).await, store.page(Some("c")).await], ["dc", "ba"], "some are known, some are not");
}

#[tokio::test]
async fn tokens_that_an_older_version_wrote_are_found_by_their_account() {
    let store = store();
    for (id, owner) in [("a", "ada"), ("b", "bob"), ("c", "ada")] {
        store.give(id, owner).await;
    }
    store.has_no("tokens_by_account").await;
    store.give("d", "ada").await;
    let found = store.tokens_of(&"ada".parse().unwrap()).await.unwrap();
    assert_eq!(found.into_iter().map(|token| token.id).collect::<String>(), "acd");
    assert!(store.remove_token("a").await.unwrap());
    assert_eq!(store.tokens_of(&"ada".parse().unwrap()).await.unwrap().len(), 2);
}
