//! Workers, accounts and tokens: small tables of records in JSON.

use rusqlite::{Connection, OptionalExtension, Params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::{Failure, Run, corrupt};
use super::rows::{sql, unsql};
use crate::base::clock::Millis;
use crate::model::{Account, AccountName, ApiToken, Worker};
use crate::protocol::WorkerId;

/// Adds or replaces a worker; `false`: a later agent has its name.
pub(super) fn register(conn: &Connection, worker: &Worker) -> Run<bool> {
    // Where a later boot is known nothing is written, and nothing is counted.
    let written = conn
        .prepare_cached(
            "INSERT INTO workers (id, boot, draining, last_seen, record) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, last_seen = excluded.last_seen, \
             record = excluded.record WHERE boot <= excluded.boot",
        )?
        .execute(params![
            worker.id.as_str(),
            sql(worker.boot),
            worker.draining,
            sql(worker.last_seen),
            to_json(worker)?
        ])?;
    Ok(written > 0)
}

pub(super) fn seen(conn: &Connection, workers: &[WorkerId], now: Millis) -> Run<()> {
    let mut statement = conn.prepare_cached("UPDATE workers SET last_seen = ?2 WHERE id = ?1")?;
    for worker in workers {
        statement.execute(params![worker.as_str(), sql(now)])?;
    }
    Ok(())
}

pub(super) fn set_draining(conn: &Connection, worker: &WorkerId, draining: bool) -> Run<bool> {
    let mut statement = conn.prepare_cached("UPDATE workers SET draining = ?2 WHERE id = ?1")?;
    Ok(statement.execute(params![worker.as_str(), draining])? > 0)
}

pub(super) fn worker(conn: &Connection, worker: &WorkerId) -> Run<Option<Worker>> {
    Ok(workers_where(conn, "WHERE id = ?1", [worker.as_str()])?.pop())
}

pub(super) fn workers(conn: &Connection) -> Run<Vec<Worker>> {
    workers_where(conn, "ORDER BY id", [])
}

fn workers_where(conn: &Connection, which: &str, params: impl Params) -> Run<Vec<Worker>> {
    let mut statement = conn.prepare_cached(&format!("SELECT record, draining, last_seen FROM workers {which}"))?;
    let mut rows = statement.query(params)?;
    let mut workers = Vec::new();
    while let Some(row) = rows.next()? {
        let record: Worker = from_json(row.get_ref(0)?.as_str().map_err(Failure::unreadable)?)?;
        workers.push(Worker { draining: row.get(1)?, last_seen: unsql(row.get(2)?), ..record });
    }
    Ok(workers)
}

/// Adds an account; `false`: its name or email is another's.
pub(super) fn add_account(conn: &Connection, account: &Account) -> Run<bool> {
    let taken = is_taken(conn, account.name.as_str(), "")?
        || account.email.as_deref().map_or(Ok(false), |email| is_taken(conn, email, ""))?;
    if !taken {
        put_account(conn, account)?;
    }
    Ok(!taken)
}

/// Replaces an account by its next revision; `false`: there is none, it has changed, or its email is another's.
pub(super) fn update_account(conn: &Connection, account: &Account) -> Run<bool> {
    let name = account.name.as_str();
    let before: Option<String> = conn
        .prepare_cached("SELECT record FROM accounts WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let before: Option<Account> = before.as_deref().map(from_json).transpose()?;
    let known = before.is_some_and(|before| before.revision.checked_add(1) == Some(account.revision));
    let taken = account.email.as_deref().map_or(Ok(false), |email| is_taken(conn, email, name))?;
    if known && !taken {
        put_account(conn, account)?;
    }
    Ok(known && !taken)
}

/// Whether an account other than `but` goes by `name`, as its name or its email, letter case aside.
fn is_taken(conn: &Connection, name: &str, but: &str) -> Run<bool> {
    let mut statement =
        conn.prepare_cached("SELECT 1 FROM accounts WHERE (folded_name = ?1 OR email = ?1) AND name <> ?2")?;
    Ok(statement.exists([&name.to_lowercase(), but])?)
}

fn put_account(conn: &Connection, account: &Account) -> Run<()> {
    let name = account.name.as_str();
    conn.prepare_cached("INSERT OR REPLACE INTO accounts (name, folded_name, email, record) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            name,
            name.to_lowercase(),
            account.email.as_ref().map(|email| email.to_lowercase()),
            to_json(account)?
        ])?;
    Ok(())
}

/// Removes an account and its tokens; the tokens, or `None`: no such account.
pub(super) fn remove_account(conn: &Connection, account: &AccountName) -> Run<Option<Vec<ApiToken>>> {
    let name = account.as_str();
    if conn.prepare_cached("DELETE FROM accounts WHERE name = ?1")?.execute([name])? == 0 {
        return Ok(None);
    }
    let ended = tokens_of(conn, account)?;
    conn.prepare_cached("DELETE FROM tokens WHERE account = ?1")?.execute([name])?;
    Ok(Some(ended))
}

pub(super) fn account(conn: &Connection, name_or_email: &str) -> Run<Option<Account>> {
    let mut statement =
        conn.prepare_cached("SELECT record FROM accounts WHERE name = ?1 OR email = ?2 ORDER BY name <> ?1 LIMIT 1")?;
    let record: Option<String> =
        statement.query_row([name_or_email, &name_or_email.to_lowercase()], |row| row.get(0)).optional()?;
    record.as_deref().map(from_json).transpose()
}

pub(super) fn accounts(conn: &Connection) -> Run<Vec<Account>> {
    records(conn, "SELECT record FROM accounts ORDER BY name", [])
}

pub(super) fn add_token(conn: &Connection, token: &ApiToken) -> Run<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO tokens (id, account, created_at, record) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![token.id, token.account.as_str(), sql(token.created_at), to_json(token)?])?;
    Ok(())
}

pub(super) fn token(conn: &Connection, id: &str) -> Run<Option<ApiToken>> {
    Ok(tokens_where(conn, "WHERE id = ?1", [id])?.pop())
}

pub(super) fn tokens(conn: &Connection) -> Run<Vec<ApiToken>> {
    tokens_where(conn, "ORDER BY created_at DESC, id", [])
}

pub(super) fn tokens_of(conn: &Connection, account: &AccountName) -> Run<Vec<ApiToken>> {
    tokens_where(conn, "WHERE account = ?1 ORDER BY created_at DESC, id", [account.as_str()])
}

fn tokens_where(conn: &Connection, which: &str, params: impl Params) -> Run<Vec<ApiToken>> {
    records(conn, &format!("SELECT record FROM tokens {which}"), params)
}

pub(super) fn remove_token(conn: &Connection, id: &str) -> Run<bool> {
    Ok(conn.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([id])? > 0)
}

pub(super) fn signing_key(conn: &Connection, fresh: [u8; 32]) -> Run<[u8; 32]> {
    conn.prepare_cached("INSERT OR IGNORE INTO meta (name, value) VALUES ('signing_key', ?1)")?.execute([fresh])?;
    let kept: Vec<u8> =
        conn.prepare_cached("SELECT value FROM meta WHERE name = 'signing_key'")?.query_row([], |row| row.get(0))?;
    kept.try_into().map_err(|_| corrupt("the signing key is not 32 bytes long".to_owned()))
}

fn records<T: DeserializeOwned>(conn: &Connection, sql: &str, params: impl Params) -> Run<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(from_json(row.get_ref(0)?.as_str().map_err(Failure::unreadable)?)?);
    }
    Ok(records)
}

fn to_json(record: &impl Serialize) -> Run<String> {
    serde_json::to_string(record).map_err(Failure::unreadable)
}

fn from_json<T: DeserializeOwned>(record: &str) -> Run<T> {
    serde_json::from_str(record).map_err(Failure::unreadable)
}
