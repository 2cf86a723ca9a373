//! Documents: versions, all or none, and their end.

use super::vocabulary::Subject;
use crate::store::documents::{Collection, Document, DocumentWrite};

const HERE: Collection = Collection::BrokerClients;

fn put(key: &str, expected: Option<u64>, value: &str) -> DocumentWrite {
    let (key, value) = (key.to_owned(), Some(value.to_owned()));
    DocumentWrite { collection: HERE, key, expected, value, expires_at: None }
}

fn remove(key: &str, expected: Option<u64>) -> DocumentWrite {
    DocumentWrite { value: None, ..put(key, expected, "") }
}

impl Subject {
    async fn write_documents(&self, writes: &[DocumentWrite]) -> bool {
        self.store.write_documents(writes.to_vec()).await.unwrap()
    }

    async fn document(&self, key: &str) -> Option<Document> {
        self.store.document(HERE, key).await.unwrap()
    }

    /// Key and value of all.
    async fn documents(&self) -> Vec<(String, String)> {
        let all = self.store.documents(HERE).await.unwrap();
        all.into_iter().map(|document| (document.key, document.value)).collect()
    }
}

pub(super) async fn a_document_changes_only_as_it_was_read(s: &Subject) {
    assert_eq!(s.document("a").await, None);
    assert!(!s.write_documents(&[put("a", Some(1), "1")]).await, "there is none");
    assert!(s.write_documents(&[put("a", None, "1")]).await);
    assert!(!s.write_documents(&[put("a", None, "2")]).await, "there is one");
    let first = s.document("a").await.unwrap();
    assert_eq!((first.key.as_str(), first.value.as_str()), ("a", "1"));
    assert!(s.write_documents(&[put("a", Some(first.version), "2")]).await);
    assert!(!s.write_documents(&[put("a", Some(first.version), "3")]).await, "said twice");
    let second = s.document("a").await.unwrap();
    assert_eq!(second.value, "2");
    assert!(s.write_documents(&[remove("a", Some(second.version))]).await);
    assert_eq!(s.document("a").await, None);
    assert!(s.write_documents(&[put("a", None, "4")]).await);
    let versions = [first.version, second.version, s.document("a").await.unwrap().version];
    assert!(versions.is_sorted_by(|a, b| a < b), "no version comes again: {versions:?}");
    assert_eq!(s.store.documents(Collection::Bookings).await.unwrap(), [], "collections are apart");
}

pub(super) async fn documents_change_all_or_none(s: &Subject) {
    assert!(s.write_documents(&[put("b", None, "1"), put("a", None, "1"), put("c", None, "1")]).await);
    let [a, b] = [s.document("a").await.unwrap(), s.document("b").await.unwrap()];
    assert!(!s.write_documents(&[put("a", Some(a.version), "2"), put("b", None, "2"), remove("c", None)]).await);
    let as_before = [("a", "1"), ("b", "1"), ("c", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(s.documents().await, as_before);
    assert!(s.write_documents(&[remove("a", Some(a.version)), put("b", Some(b.version), "2")]).await);
    assert_eq!(s.documents().await, [("b", "2"), ("c", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
}

pub(super) async fn a_document_expires(s: &Subject) {
    let until =
        |key: &str, secs: u64| DocumentWrite { expires_at: Some(s.clock.now() + secs * 1_000), ..put(key, None, "{}") };
    assert!(s.write_documents(&[until("soon", 5), until("later", 50), put("never", None, "{}")]).await);
    s.pass(4);
    assert_eq!(s.documents().await.len(), 3);
    s.pass(1);
    assert_eq!(s.document("soon").await, None);
    assert_eq!(s.documents().await.len(), 2);
    assert!(s.write_documents(&[put("soon", None, "again")]).await, "its name is free");
    s.pass(100);
    assert_eq!(s.documents().await.len(), 2, "it does not expire any more");
}

pub(super) async fn documents_are_read_backwards_in_pages(s: &Subject) {
    let expiring = DocumentWrite { expires_at: Some(s.clock.now() + 1_000), ..put("d", None, "4") };
    assert!(s.write_documents(&[put("b", None, "2"), put("a", None, "1"), expiring, put("c", None, "3")]).await);
    let page = async |before: Option<&str>, limit| {
        let found = s.store.documents_before(HERE, before, limit).await.unwrap();
        found.into_iter().map(|document| document.key).collect::<String>()
    };
    assert_eq!([page(None, 2).await, page(Some("c"), 2).await, page(Some("a"), 2).await], ["dc", "ba", ""]);
    assert_eq!([page(Some("bb"), 9).await, page(None, 9).await, page(None, 0).await], ["ba", "dcba", ""]);
    s.pass(1);
    assert_eq!(page(None, 2).await, "cb", "what has expired takes no place");
    assert_eq!(page(Some("e"), 1).await, "c", "nor does it end a page");
    let b = s.document("b").await.unwrap().version;
    assert!(s.write_documents(&[remove("b", Some(b)), put("a1", None, "5")]).await);
    assert_eq!([page(None, 2).await, page(Some("a1"), 2).await], ["ca1", "a"], "nor does what was removed");
}

pub(super) async fn of_many_who_take_the_last_one_only_one_does(s: &Subject) {
    assert!(s.write_documents(&[put("a", None, "1")]).await);
    let version = s.document("a").await.unwrap().version;
    let takes = (0..20).map(|_| s.store.write_documents(vec![put("a", Some(version), "0")]));
    let won = futures_util::future::try_join_all(takes).await.unwrap();
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}
