//! Who gets in, who does not any more, and what an administrator can change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::protocol::ErrorCode;
use crate::protocol::auth::{TokenCreate, UserAdd, UserPassword};
use crate::store::documents::{Collection, DocumentWrite};
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{AccountStore, DocumentStore};

const START: Millis = 1_700_000_000_000;
const TTL: Duration = Duration::from_secs(3600);
/// Where everybody is.
const HERE: &Visitor = &Visitor { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: None };

/// An `Auth` over an empty store, and the hands that tests need.
struct House {
    dir: TempDir,
    clock: Clock,
    store: Arc<SqliteStore>,
    auth: Auth,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let store = Arc::new(SqliteStore::open(dir.path(), &SqliteOptions::default(), clock.clone()).unwrap());
        let auth = Auth::new(store.clone(), clock.clone(), TTL);
        Self { dir, clock, store, auth }
    }

    /// The same accounts, seen by a process that was started anew.
    fn again(&self) -> Auth {
        Auth::new(self.store.clone(), self.clock.clone(), TTL)
    }

    async fn with_user(self, name: &str, password: &str) -> Self {
        self.auth.add_user(user(name, Some(password))).await.unwrap();
        self
    }

    async fn token(&self, role: Role, account: &str, ttl_secs: Option<u64>) -> String {
        let request = TokenCreate { role: role.into(), account: Some(account.to_owned()), ttl_secs, name: None };
        self.auth.create_token(request, &name("admin")).await.unwrap().token
    }

    fn file(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(file)).unwrap()
    }
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn user(name: &str, password: Option<&str>) -> UserAdd {
    UserAdd { account: name.to_owned(), role: None, email: None, password: password.map(str::to_owned) }
}

fn code<T: fmt::Debug>(result: Result<T, AuthError>) -> (ErrorCode, Option<String>) {
    let error = result.unwrap_err().to_wire();
    (error.code, error.field)
}

#[tokio::test]
async fn the_first_start_writes_two_token_files() {
    let house = House::new();
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    for (file, role, account) in [(ADMIN_TOKEN_FILE, Role::Admin, "admin"), (WORKER_TOKEN_FILE, Role::Worker, "worker")]
    {
        let who = house.auth.authenticate(house.file(file).trim()).await.unwrap();
        assert_eq!((who.role, who.account, who.expires_at), (role, name(account), None));
        let mode = std::fs::metadata(house.dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_later_start_leaves_good_files_alone_and_mends_the_rest() {
    let house = House::new();
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    let (admin, worker) = (house.file(ADMIN_TOKEN_FILE), house.file(WORKER_TOKEN_FILE));
    house.again().bootstrap(house.dir.path()).await.unwrap();
    assert_eq!((house.file(ADMIN_TOKEN_FILE), house.file(WORKER_TOKEN_FILE)), (admin.clone(), worker.clone()));

    let _ = house.auth.revoke_token(worker.trim()).await.unwrap();
    std::fs::remove_file(house.dir.path().join(ADMIN_TOKEN_FILE)).unwrap();
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    for (file, former) in [(ADMIN_TOKEN_FILE, admin), (WORKER_TOKEN_FILE, worker)] {
        assert_ne!(house.file(file), former);
        house.auth.authenticate(house.file(file).trim()).await.unwrap();
    }
    for rubbish in [&b""[..], b"gl_1_2", b"\xff\xfe", &[b'x'; 10_000]] {
        std::fs::write(house.dir.path().join(ADMIN_TOKEN_FILE), rubbish).unwrap();
        house.auth.bootstrap(house.dir.path()).await.unwrap();
        house.auth.authenticate(house.file(ADMIN_TOKEN_FILE).trim()).await.unwrap();
    }
}

#[tokio::test]
async fn an_api_token_is_good_whole_and_until_its_end() {
    let house = House::new().with_user("ada", "correct horse").await;
    let token = house.token(Role::User, "ada", Some(60)).await;
    let who = house.again().authenticate(&token).await.unwrap();
    assert_eq!((who.role, who.account, who.expires_at), (Role::User, name("ada"), Some(START + 60_000)));

    let (half, last) = token.split_at(token.len() - 1);
    let other_end = if last == "0" { "1" } else { "0" };
    let id = half.rsplit_once('_').unwrap().0;
    for wrong in
        [half, &format!("{half}{other_end}"), &format!("{token}0"), id, &format!("{id}_"), "gl__", "gl_", "", "x.y.z"]
    {
        assert!(matches!(house.auth.authenticate(wrong).await, Err(AuthError::WrongToken)), "{wrong}");
    }
    house.clock.advance(Duration::from_secs(60));
    assert!(matches!(house.auth.authenticate(&token).await, Err(AuthError::Expired)));
}

#[tokio::test]
async fn only_a_hash_of_the_secret_is_kept() {
    let house = House::new().with_user("ada", "correct horse").await;
    let token = house.token(Role::User, "ada", None).await;
    let secret = token.rsplit('_').next().unwrap();
    let kept = format!("{:?}{:?}", house.store.tokens().await.unwrap(), house.store.accounts().await.unwrap());
    assert!(!kept.contains(secret) && !kept.contains("correct horse"), "{kept}");
}

#[tokio::test]
async fn a_password_buys_an_access_token() {
    let house = House::new().with_user("ada", "correct horse").await;
    let (who, token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    assert_eq!((who.role, who.expires_at), (Role::User, Some(START + 3_600_000)));
    assert_eq!(house.again().authenticate(&token).await.unwrap().at(HERE.address), who, "the key outlives the process");

    for (account, password) in [("ada", "correct hors"), ("ada", ""), ("grace", "correct horse"), ("", "")] {
        let refused = house.auth.login(account, password, HERE).await.unwrap_err();
        assert_eq!(refused.to_wire().message, "wrong account or password", "{account}");
    }
}

#[tokio::test]
async fn an_account_without_a_password_cannot_log_in() {
    let house = House::new();
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    assert!(matches!(house.auth.login("admin", "", HERE).await, Err(AuthError::WrongPassword)));
}

#[tokio::test]
async fn an_email_is_another_name_with_the_same_budget() {
    let house = House::new();
    let ada = UserAdd { email: Some("Ada@example.com".to_owned()), ..user("ada", Some("correct horse")) };
    house.auth.add_user(ada).await.unwrap();
    house.auth.login("ada@EXAMPLE.com", "correct horse", HERE).await.unwrap();
    for _ in 0..9 {
        assert!(matches!(house.auth.login("ada", "wrong", HERE).await, Err(AuthError::WrongPassword)));
    }
    let error = house.auth.login("ada@example.com", "correct horse", HERE).await.unwrap_err().to_wire();
    assert_eq!((error.code, error.retry), (ErrorCode::RateLimited, true));
    assert!(error.retry_after_ms.is_some_and(|ms| (1..=6000).contains(&ms)), "{error:?}");
}

#[tokio::test]
async fn an_access_token_runs_out_half_a_minute_late() {
    let house = House::new().with_user("ada", "correct horse").await;
    let (who, token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    house.clock.advance(TTL + Duration::from_secs(30));
    house.auth.authenticate(&token).await.unwrap();
    assert_eq!(who.closes_at(), Some(house.clock.now()));
    house.clock.advance(Duration::from_millis(1));
    assert!(matches!(house.auth.authenticate(&token).await, Err(AuthError::Expired)));
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_beyond_the_skew_of_clocks() {
    let house = House::new().with_user("ada", "correct horse").await;
    house.clock.advance(Duration::from_secs(120));
    let (_, token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let earlier = |secs: u64| Auth::new(house.store.clone(), Clock::manual(START + secs * 1000), TTL);
    earlier(60).authenticate(&token).await.unwrap();
    assert!(matches!(earlier(59).authenticate(&token).await, Err(AuthError::NotYetValid)));
}

#[tokio::test]
async fn forged_access_tokens_are_refused() {
    let house = House::new().with_user("ada", "correct horse").await;
    let (_, token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let claimed: Value = serde_json::from_slice(&BASE64.decode(claims).unwrap()).unwrap();
    let mut as_admin = claimed.clone();
    as_admin["sub"] = json!("admin");

    let none = encode(&json!({ "typ": "JWT", "alg": "none" }));
    let hs512 = encode(&json!({ "typ": "JWT", "alg": "HS512" }));
    let mut forged = vec![
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{hs512}.{claims}.{signature}"),
        format!("{header}.{}.{signature}", encode(&as_admin)),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        token[..token.len() - 4].to_owned(),
    ];
    // Signed well, but by another key, in another algorithm, or for another service.
    let key = house.store.signing_key([0; 32]).await.unwrap();
    let sign = |alg, key: &[u8], claims: &Value| {
        jsonwebtoken::encode(&jsonwebtoken::Header::new(alg), claims, &jsonwebtoken::EncodingKey::from_secret(key))
            .unwrap()
    };
    forged.push(sign(jsonwebtoken::Algorithm::HS256, &[7; 32], &claimed));
    forged.push(sign(jsonwebtoken::Algorithm::HS512, &key, &claimed));
    for claim in ["iss", "aud", "exp", "sub", "epoch"] {
        let mut less = claimed.clone();
        less.as_object_mut().unwrap().remove(claim);
        forged.push(sign(jsonwebtoken::Algorithm::HS256, &key, &less));
    }
    for claim in ["iss", "aud"] {
        let mut other = claimed.clone();
        other[claim] = json!("elsewhere");
        forged.push(sign(jsonwebtoken::Algorithm::HS256, &key, &other));
    }
    for token in forged {
        let refused = house.auth.authenticate(&token).await;
        assert!(matches!(refused, Err(AuthError::WrongToken)), "{token}: {refused:?}");
    }
    let same = sign(jsonwebtoken::Algorithm::HS256, &key, &claimed);
    house.auth.authenticate(&same).await.unwrap();
}

#[tokio::test]
async fn a_new_password_ends_access_tokens_at_once_and_no_others() {
    let house = House::new().with_user("ada", "correct horse").await.with_user("grace", "battery staple").await;
    let (before, old) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let (other, _) = house.auth.login("grace", "battery staple", HERE).await.unwrap();
    let api = house.token(Role::User, "ada", None).await;
    let api_socket = house.auth.authenticate(&api).await.unwrap();

    let change = UserPassword { account: "ada".to_owned(), password: "horse battery".to_owned() };
    let revoked = house.auth.set_password(change).await.unwrap();
    // The clock has not moved: it is not the time of issue that counts.
    let (after, new) = house.auth.login("ada", "horse battery", HERE).await.unwrap();

    assert!(matches!(house.auth.authenticate(&old).await, Err(AuthError::Revoked)));
    assert!(matches!(house.auth.login("ada", "correct horse", HERE).await, Err(AuthError::WrongPassword)));
    for token in [&new, &api] {
        house.auth.authenticate(token).await.unwrap();
    }
    let hit = [&before, &other, &api_socket, &after, &Identity::anonymous()].map(|who| revoked.hits(who));
    assert_eq!(hit, [true, false, false, false, false]);
}

#[tokio::test]
async fn a_token_can_be_revoked_by_id_or_by_itself() {
    let house = House::new().with_user("ada", "correct horse").await;
    for by_id in [true, false] {
        let token = house.token(Role::User, "ada", None).await;
        let who = house.auth.authenticate(&token).await.unwrap();
        let id = house.auth.tokens().await.unwrap().remove(0).id;
        let revoked = house.auth.revoke_token(if by_id { &id } else { &token }).await.unwrap();
        assert!(revoked.hits(&who));
        assert!(matches!(house.auth.authenticate(&token).await, Err(AuthError::WrongToken)));
        assert_eq!(code(house.auth.revoke_token(&token).await), (ErrorCode::NotFound, Some("token".to_owned())));
    }
    let (_, access) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    assert_eq!(code(house.auth.revoke_token(&access).await).0, ErrorCode::BadFrame);
}

#[tokio::test]
async fn an_account_goes_with_all_that_acts_for_it() {
    let house = House::new().with_user("ada", "correct horse").await;
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    let (access_socket, access) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let api = house.token(Role::User, "ada", None).await;
    let api_socket = house.auth.authenticate(&api).await.unwrap();

    let revoked = house.auth.remove_user("ada").await.unwrap();
    assert!(revoked.hits(&access_socket) && revoked.hits(&api_socket));
    assert!(matches!(house.auth.authenticate(&access).await, Err(AuthError::AccountGone)));
    assert!(matches!(house.auth.authenticate(&api).await, Err(AuthError::WrongToken)));
    assert_eq!(code(house.auth.remove_user("ada").await), (ErrorCode::NotFound, Some("account".to_owned())));
    let names: Vec<_> = house.auth.users().await.unwrap().into_iter().map(|user| user.account).collect();
    assert_eq!(names, ["admin", "worker"]);

    // A namesake is somebody else.
    house.clock.advance(Duration::from_millis(1));
    house.auth.add_user(user("ada", Some("correct horse"))).await.unwrap();
    assert!(matches!(house.auth.authenticate(&access).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let house = House::new();
    house.auth.bootstrap(house.dir.path()).await.unwrap();
    assert_eq!(code(house.auth.remove_user("admin").await), (ErrorCode::Conflict, Some("account".to_owned())));
    let root = UserAdd { role: Some(Role::Admin.into()), ..user("root", None) };
    house.auth.add_user(root).await.unwrap();
    let (first, second) = tokio::join!(house.auth.remove_user("admin"), house.auth.remove_user("root"));
    assert!(first.is_ok() != second.is_ok(), "one of two that go at once stays");
}

#[tokio::test]
async fn wrong_accounts_are_refused_by_field() {
    let house = House::new();
    let ada = UserAdd { email: Some("ada@example.com".to_owned()), ..user("ada", None) };
    house.auth.add_user(ada.clone()).await.unwrap();
    let email = |name: &str, email: &str| UserAdd { email: Some(email.to_owned()), ..user(name, None) };
    for (user, expected) in [
        (user("a b", None), (ErrorCode::BadFrame, "account")),
        (user("", None), (ErrorCode::BadFrame, "account")),
        (user("anonymous", None), (ErrorCode::BadFrame, "account")),
        (user("bob", Some("short")), (ErrorCode::BadFrame, "password")),
        (email("bob", "no address"), (ErrorCode::BadFrame, "email")),
        (email("bob", "@"), (ErrorCode::BadFrame, "email")),
        (user("ada", None), (ErrorCode::Conflict, "account")),
        (email("bob", "ADA@example.com"), (ErrorCode::Conflict, "email")),
    ] {
        let (code, field) = code(house.auth.add_user(user.clone()).await);
        assert_eq!((code, field.as_deref()), (expected.0, Some(expected.1)), "{user:?}");
    }
    for ttl in [0, u64::MAX] {
        let request = TokenCreate { role: Role::User.into(), account: None, ttl_secs: Some(ttl), name: None };
        let refused = code(house.auth.create_token(request, &name("ada")).await);
        assert_eq!(refused, (ErrorCode::BadFrame, Some("ttlSecs".to_owned())));
    }
    let request = TokenCreate { role: Role::User.into(), account: Some("bob".to_owned()), ttl_secs: None, name: None };
    let refused = code(house.auth.create_token(request, &name("ada")).await);
    assert_eq!(refused, (ErrorCode::NotFound, Some("account".to_owned())));
}

#[tokio::test]
async fn an_account_and_its_namesake_in_other_letters_are_told_apart_from_an_email() {
    let house = House::new().with_user("ada", "correct horse").await;
    for name in ["ada", "ADA"] {
        let with_email = UserAdd { email: Some("free@example.com".to_owned()), ..user(name, None) };
        for taken in [user(name, None), with_email] {
            assert!(matches!(house.auth.add_user(taken).await, Err(AuthError::NameTaken)), "{name}");
        }
    }
}

#[tokio::test]
async fn tries_are_counted_over_processes_and_forgotten_one_by_one() {
    let house = House::new().with_user("ada", "correct horse").await;
    let other = house.again();
    for process in [&house.auth, &other].into_iter().cycle().take(10) {
        process.login("ada", "correct horse", HERE).await.unwrap();
    }
    let wait = |result: Result<_, AuthError>| match result {
        Err(AuthError::TooManyLogins { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(other.login("ada", "correct horse", HERE).await), Duration::from_secs(6));
    house.clock.advance(Duration::from_millis(5_999));
    assert_eq!(wait(house.auth.login("ada", "correct horse", HERE).await), Duration::from_millis(1));
    house.clock.advance(Duration::from_millis(1));
    house.auth.login("ada", "correct horse", HERE).await.unwrap();
    wait(other.login("ada", "correct horse", HERE).await);
    house.clock.advance(Duration::from_secs(60));
    for _ in 0..10 {
        house.auth.login("ada", "correct horse", HERE).await.unwrap();
    }
}

#[tokio::test]
async fn of_many_tries_at_once_ten_count() {
    let house = House::new().with_user("ada", "correct horse").await;
    let tries = (0..30).map(|_| house.auth.login("ada", "correct horse", HERE));
    let good = futures_util::future::join_all(tries).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(good, 10);
}

#[tokio::test]
async fn a_door_that_is_knocked_at_for_every_file_counts_only_what_is_wrong() {
    let house = House::new().with_user("ada", "correct horse").await;
    let knock = async |secret: &str| house.auth.login_with_either("ada", secret, HERE.address).await;
    for _ in 0..30 {
        knock("correct horse").await.unwrap();
    }
    for _ in 0..9 {
        assert!(matches!(knock("guess").await, Err(AuthError::WrongPassword)));
        knock("correct horse").await.unwrap();
    }
    assert!(matches!(house.auth.login("ada", "guess", HERE).await, Err(AuthError::WrongPassword)));
    // Ten wrong ones: now nobody is told any more which is right, whoever asks.
    for secret in ["guess", "correct horse"] {
        assert!(matches!(knock(secret).await, Err(AuthError::TooManyLogins { .. })));
    }
    house.clock.advance(Duration::from_secs(6));
    knock("correct horse").await.unwrap();
    house.clock.advance(Duration::from_secs(60));
    for _ in 0..10 {
        house.auth.login("ada", "correct horse", HERE).await.unwrap();
    }
    assert!(matches!(knock("correct horse").await, Err(AuthError::TooManyLogins { .. })));
}

#[tokio::test]
async fn of_many_guesses_at_once_ten_are_looked_at_even_where_what_is_right_is_given_back() {
    let house = House::new().with_user("ada", "correct horse").await;
    let guesses = (0..30).map(|_| house.auth.login_with_either("ada", "guess", HERE.address));
    let looked_at = |tried: &Result<_, AuthError>| matches!(tried, Err(AuthError::WrongPassword));
    let tried = futures_util::future::join_all(guesses).await;
    assert_eq!(tried.iter().filter(|tried| looked_at(tried)).count(), 10);
}

#[tokio::test]
async fn a_logout_ends_its_login_and_no_other() {
    let house = House::new().with_user("ada", "correct horse").await;
    let (who, token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let (other, other_token) = house.auth.login("ada", "correct horse", HERE).await.unwrap();
    let same = house.auth.authenticate(&house.auth.renew(&who).await.unwrap()).await.unwrap();

    let revoked = house.auth.log_out(&who).await.unwrap();
    assert_eq!([&who, &same, &other].map(|who| revoked.hits(who)), [true, true, false]);
    assert!(matches!(house.again().authenticate(&token).await, Err(AuthError::Revoked)));
    assert!(matches!(house.again().check_again(&same).await, Err(AuthError::Revoked)));
    house.again().authenticate(&other_token).await.unwrap();
    assert_eq!(house.auth.log_out(&who).await.unwrap(), revoked, "harmless to repeat");

    // Until it would have run out, and a clock that differs.
    house.clock.advance(TTL + Duration::from_secs(30));
    assert!(matches!(house.auth.authenticate(&token).await, Err(AuthError::Revoked)));
    house.clock.advance(Duration::from_secs(3600));
    assert!(matches!(house.auth.authenticate(&token).await, Err(AuthError::Expired)));
    let written = DocumentWrite {
        collection: Collection::Bookings,
        key: "any".to_owned(),
        expected: None,
        value: None,
        expires_at: None,
    };
    house.store.write_documents(vec![written]).await.unwrap();
    assert_eq!(house.store.documents(Collection::RefreshFamilies).await.unwrap(), [], "nothing is kept for ever");
}

#[tokio::test]
async fn a_refresh_token_is_signed_for_nothing_else() {
    let house = House::new().with_user("ada", "correct horse").await;
    let (_, Tokens { access, refresh }) = house.auth.login_lasting("ada", "correct horse", HERE).await.unwrap();
    assert!(matches!(house.auth.authenticate(&refresh).await, Err(AuthError::WrongToken)));
    assert!(matches!(house.auth.refresh(&access).await, Err(AuthError::WrongToken)));
    let Refreshed::Tokens(next) = house.again().refresh(&refresh).await.unwrap() else { panic!("it is good once") };
    house.auth.authenticate(&next.access).await.unwrap();
    let who = house.auth.authenticate(&access).await.unwrap();
    let Refreshed::Reused(revoked) = house.again().refresh(&refresh).await.unwrap() else { panic!("it was used") };
    assert!(revoked.hits(&who));
    for ended in [&access, &next.access] {
        assert!(matches!(house.auth.authenticate(ended).await, Err(AuthError::Revoked)));
    }
    assert!(matches!(house.auth.refresh(&next.refresh).await, Err(AuthError::Revoked)));
}

#[tokio::test]
async fn changes_of_an_account_at_once_are_all_kept() {
    let house = House::new().with_user("ada", "correct horse").await;
    let ada = name("ada");
    let fields: Vec<_> = (0..8).map(|n| BTreeMap::from([(format!("f{n}"), json!(n))])).collect();
    let changes = fields.iter().map(|field| house.auth.set_profile(&ada, field));
    futures_util::future::try_join_all(changes).await.unwrap();
    let kept = house.auth.account(&ada).await.unwrap();
    assert_eq!((kept.profile.len(), kept.revision), (8, 8));
}
