//! Workers, accounts, tokens and the signing key.

use super::vocabulary::{Subject, account, name};
use crate::model::{Account, ApiToken, Role, Worker};

fn worker(id: &str, boot: u64) -> Worker {
    Worker {
        sftp: None,
        id: name(id),
        boot,
        hostname: format!("host of {boot}"),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        version: "0.1.0".to_owned(),
        cpu_count: 2,
        memory_bytes: 1 << 40,
        disk_bytes: 0,
        gpus: Vec::new(),
        slots: 4,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        ip: Some("192.0.2.7".parse().unwrap()),
        containers: false,
        draining: false,
        last_seen: 1_000_000,
        instance: String::new(),
        polls: false,
        contact: None,
    }
}

fn person(owner: &str, email: Option<&str>) -> Account {
    Account {
        name: account(owner),
        role: Role::User,
        email: email.map(str::to_owned),
        password_hash: None,
        created_at: 5,
        tokens_valid_from: 0,
        revision: 0,
        profile: [("nickname".to_owned(), "Countess".into())].into(),
        photo: None,
    }
}

fn token(id: &str, owner: &str, created_at: u64) -> ApiToken {
    ApiToken {
        id: id.to_owned(),
        secret_hash: [7; 32],
        role: Role::Worker,
        account: account(owner),
        created_at,
        expires_at: None,
        name: Some("ci".to_owned()),
    }
}

pub(super) async fn a_worker_is_kept_and_superseded_by_a_later_boot(s: &Subject) {
    assert!(s.store.register(worker("w", 10)).await.unwrap());
    assert!(s.store.register(worker("w", 10)).await.unwrap(), "the same agent again");
    assert!(!s.store.register(worker("w", 9)).await.unwrap());
    assert_eq!(s.store.worker(&name("w")).await.unwrap(), Some(worker("w", 10)));
    assert!(s.store.register(worker("w", 11)).await.unwrap());
    assert_eq!(s.store.worker(&name("w")).await.unwrap(), Some(worker("w", 11)));
    assert!(s.store.register(worker("a", 1)).await.unwrap());

    s.pass(3);
    s.store.seen(vec![name("w"), name("nobody")]).await.unwrap();
    let seen: Vec<_> = s.store.workers().await.unwrap().iter().map(|w| (w.id.to_string(), w.last_seen)).collect();
    assert_eq!(seen, [("a".to_owned(), 1_000_000), ("w".to_owned(), 1_003_000)]);
    assert_eq!(s.store.worker(&name("nobody")).await.unwrap(), None);
}

pub(super) async fn draining_survives_a_registration(s: &Subject) {
    assert!(!s.store.set_draining(&name("w"), true).await.unwrap());
    s.store.register(worker("w", 1)).await.unwrap();
    assert!(s.store.set_draining(&name("w"), true).await.unwrap());
    s.store.register(worker("w", 2)).await.unwrap();
    let kept = s.store.worker(&name("w")).await.unwrap().unwrap();
    assert_eq!((kept.draining, kept.boot), (true, 2));
    assert!(s.store.set_draining(&name("w"), false).await.unwrap());
    assert!(!s.store.workers().await.unwrap()[0].draining);
}

pub(super) async fn an_account_goes_by_name_and_email(s: &Subject) {
    let ada = person("ada", Some("Ada@Example.org"));
    assert!(s.store.add_account(ada.clone()).await.unwrap());
    for taken in [
        person("ada", None),
        person("eve", Some("ADA@example.org")),
        person("ada@example.org", None),
        person("eve", Some("Ada")),
    ] {
        assert!(!s.store.add_account(taken).await.unwrap());
    }
    assert!(s.store.add_account(person("bob", None)).await.unwrap());
    for known in ["ada", "Ada@Example.org", "ada@example.ORG"] {
        assert_eq!(s.store.account(known).await.unwrap(), Some(ada.clone()), "{known}");
    }
    assert_eq!(s.store.account("ADA").await.unwrap(), None);

    let moved = Account { email: Some("a@b.c".to_owned()), tokens_valid_from: 9, revision: 1, ..ada };
    assert!(s.store.update_account(moved.clone()).await.unwrap());
    assert_eq!(s.store.account("ada@example.org").await.unwrap(), None);
    assert_eq!(s.store.account("a@b.c").await.unwrap(), Some(moved.clone()));
    let second = |name: &str, email| Account { revision: 1, ..person(name, email) };
    assert!(!s.store.update_account(second("bob", Some("A@B.C"))).await.unwrap());
    assert!(!s.store.update_account(second("eve", None)).await.unwrap());
    assert_eq!(s.store.accounts().await.unwrap(), [moved, person("bob", None)]);
}

pub(super) async fn of_two_changes_of_an_account_neither_undoes_the_other(s: &Subject) {
    assert!(s.store.add_account(person("ada", None)).await.unwrap());
    let read = s.store.account("ada").await.unwrap().unwrap();
    let rotated = Account { tokens_valid_from: 9, revision: 1, ..read.clone() };
    let renamed = Account { email: Some("a@b.c".to_owned()), revision: 1, ..read };
    assert!(s.store.update_account(rotated.clone()).await.unwrap());
    assert!(!s.store.update_account(renamed).await.unwrap(), "it was read before the other's change");
    assert!(!s.store.update_account(rotated.clone()).await.unwrap(), "said twice");
    assert_eq!(s.store.account("ada").await.unwrap(), Some(rotated.clone()));
    let both = Account { email: Some("a@b.c".to_owned()), revision: 2, ..rotated };
    assert!(s.store.update_account(both.clone()).await.unwrap());
    assert_eq!(s.store.account("a@b.c").await.unwrap(), Some(both));
}

pub(super) async fn tokens_end_with_their_account(s: &Subject) {
    s.store.add_account(person("ada", None)).await.unwrap();
    for (id, owner, at) in [("a", "ada", 1), ("b", "bob", 2), ("c", "ada", 3)] {
        s.store.add_token(token(id, owner, at)).await.unwrap();
    }
    assert_eq!(s.store.token("a").await.unwrap(), Some(token("a", "ada", 1)));
    let ids = async || s.store.tokens().await.unwrap().into_iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(ids().await, ["c", "b", "a"]);
    let ended = s.store.remove_account(&account("ada")).await.unwrap().unwrap();
    assert_eq!(ended, [token("c", "ada", 3), token("a", "ada", 1)]);
    assert_eq!(ids().await, ["b"]);
    assert!(s.store.remove_account(&account("ada")).await.unwrap().is_none());
    assert!(s.store.remove_token("b").await.unwrap());
    assert!(!s.store.remove_token("b").await.unwrap());
    assert_eq!(s.store.token("b").await.unwrap(), None);
}

pub(super) async fn tokens_are_found_by_their_account(s: &Subject) {
    s.store.add_account(person("ada", None)).await.unwrap();
    let all = [("a", "ada", 1), ("b", "ad", 2), ("c", "ada", 3), ("d", "ada!", 4), ("e", "adam", 5), ("f", "ada", 3)];
    for (id, owner, at) in all {
        s.store.add_token(token(id, owner, at)).await.unwrap();
    }
    let of = async |owner: &str| {
        let tokens = s.store.tokens_of(&account(owner)).await.unwrap();
        tokens.into_iter().map(|token| token.id).collect::<String>()
    };
    assert_eq!([of("ada").await, of("ad").await, of("ada!").await, of("eve").await], ["cfa", "b", "d", ""]);
    s.store.add_token(token("c", "ada", 3)).await.unwrap();
    assert!(s.store.remove_token("f").await.unwrap());
    assert_eq!(of("ada").await, "ca");
    assert_eq!(s.store.tokens_of(&account("ada")).await.unwrap()[1], token("a", "ada", 1));
    s.store.remove_account(&account("ada")).await.unwrap().unwrap();
    assert_eq!([of("ada").await, of("adam").await], ["", "e"]);
}

pub(super) async fn the_signing_key_stays(s: &Subject) {
    assert_eq!(s.store.signing_key([1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(s.store.signing_key([2; 32]).await.unwrap(), [1; 32]);
}
