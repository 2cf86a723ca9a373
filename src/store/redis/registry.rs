//! Workers, accounts and tokens: records in JSON.

use async_trait::async_trait;
use redis::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::script::{Call, Script};
use super::{RedisStore, corrupt, record};
use crate::base::clock::Millis;
use crate::model::{Account, AccountName, ApiToken, Worker};
use crate::protocol::WorkerId;
use crate::store::error::StoreError;
use crate::store::{AccountStore, WorkerStore};

impl RedisStore {
    fn shared_call(&self, script: Script) -> Call {
        Call::new(script, &self.shared())
    }

    pub(super) fn shared_key(&self, name: &str) -> String {
        format!("{}:{name}", self.shared())
    }

    fn worker_key(&self, worker: &WorkerId) -> String {
        self.shared_key(&format!("worker:{worker}"))
    }

    /// One command, the answer as it is.
    pub(super) async fn one<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Result<T, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let (answer,) = self.0.link.query(&pipeline).await?;
        Ok(answer)
    }

    async fn workers_of(&self, ids: &[WorkerId]) -> Result<Vec<Worker>, StoreError> {
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.cmd("HMGET").arg(self.worker_key(id)).arg(&["record", "draining", "seen"]);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(Option<String>, Option<String>, Option<Millis>)> = self.0.link.query(&pipeline).await?;
        let mut workers = Vec::new();
        for (record, draining, seen) in rows {
            if let Some(record) = record {
                let kept: Worker = from_json(&record)?;
                let draining = draining.as_deref() == Some("1");
                workers.push(Worker { draining, last_seen: seen.unwrap_or(kept.last_seen), ..kept });
            }
        }
        Ok(workers)
    }

    pub(super) async fn store_now(&self) -> Result<Millis, StoreError> {
        match self.0.clock.held() {
            Some(now) => Ok(now),
            None => {
                let (secs, micros): (u64, u64) = self.one(redis::cmd("TIME")).await?;
                Ok(secs * 1_000 + micros / 1_000)
            }
        }
    }

    async fn put_account(&self, how: &str, account: &Account) -> Result<bool, StoreError> {
        let name = account.name.as_str();
        let email = account.email.as_ref().map(|email| email.to_lowercase()).unwrap_or_default();
        let call = self.shared_call(Script::AddAccount).arg(how).arg(name).arg(name.to_lowercase());
        let call = call.arg(email).arg(to_json(account)?).arg(account.revision.saturating_sub(1));
        let done: u64 = record::number(self.run(&call).await?)?;
        Ok(done == 1)
    }
}

#[async_trait]
impl WorkerStore for RedisStore {
    async fn register(&self, worker: Worker) -> Result<bool, StoreError> {
        let call = self.shared_call(Script::Register).arg(worker.id.as_str()).arg(worker.boot).arg(to_json(&worker)?);
        let call = call.arg(u8::from(worker.draining)).arg(worker.last_seen);
        let done: u64 = record::number(self.run(&call).await?)?;
        Ok(done == 1)
    }

    async fn seen(&self, workers: Vec<WorkerId>) -> Result<(), StoreError> {
        let now = self.store_now().await?;
        for known in self.workers_of(&workers).await? {
            let mut command = redis::cmd("HSET");
            command.arg(self.worker_key(&known.id)).arg("seen").arg(now);
            self.one::<u64>(command).await?;
        }
        Ok(())
    }

    async fn set_draining(&self, worker: &WorkerId, draining: bool) -> Result<bool, StoreError> {
        if self.worker(worker).await?.is_none() {
            return Ok(false);
        }
        let mut command = redis::cmd("HSET");
        command.arg(self.worker_key(worker)).arg("draining").arg(u8::from(draining));
        self.one::<u64>(command).await?;
        Ok(true)
    }

    async fn worker(&self, worker: &WorkerId) -> Result<Option<Worker>, StoreError> {
        Ok(self.workers_of(std::slice::from_ref(worker)).await?.pop())
    }

    async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.shared_key("workers"));
        let ids: Vec<String> = self.one(command).await?;
        let ids: Vec<WorkerId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(corrupt)?;
        let mut workers = self.workers_of(&ids).await?;
        workers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(workers)
    }
}

#[async_trait]
impl AccountStore for RedisStore {
    async fn add_account(&self, account: Account) -> Result<bool, StoreError> {
        self.put_account("add", &account).await
    }

    async fn update_account(&self, account: Account) -> Result<bool, StoreError> {
        self.put_account("update", &account).await
    }

    async fn remove_account(&self, name: &AccountName) -> Result<Option<Vec<ApiToken>>, StoreError> {
        let name = name.as_str();
        let call = self.shared_call(Script::RemoveAccount).arg(name).arg(name.to_lowercase());
        match self.run(&call).await? {
            Value::Nil => Ok(None),
            ended => tokens(ended).map(Some),
        }
    }

    async fn account(&self, name_or_email: &str) -> Result<Option<Account>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(self.shared_key("accounts")).arg(name_or_email);
        pipeline.cmd("HGET").arg(self.shared_key("emails")).arg(name_or_email.to_lowercase());
        let (by_name, owner): (Option<String>, Option<String>) = self.0.link.query(&pipeline).await?;
        let record = match (by_name, owner) {
            (Some(record), _) => Some(record),
            (None, Some(owner)) => {
                let mut command = redis::cmd("HGET");
                command.arg(self.shared_key("accounts")).arg(owner);
                self.one(command).await?
            }
            (None, None) => None,
        };
        record.as_deref().map(from_json).transpose()
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let mut command = redis::cmd("HVALS");
        command.arg(self.shared_key("accounts"));
        let records: Vec<String> = self.one(command).await?;
        let mut accounts: Vec<Account> = records.iter().map(|record| from_json(record)).collect::<Result<_, _>>()?;
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(accounts)
    }

    async fn add_token(&self, token: ApiToken) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("HSET").arg(self.shared_key("tokens")).arg(&token.id).arg(to_json(&token)?).ignore();
        let place = format!("{} {}", token.account, token.id);
        pipeline.cmd("ZADD").arg(self.shared_key("tokens_by_account")).arg(0).arg(place).ignore();
        self.0.link.query(&pipeline).await
    }

    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.shared_key("tokens")).arg(id);
        self.one::<Option<String>>(command).await?.as_deref().map(from_json).transpose()
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let mut command = redis::cmd("HVALS");
        command.arg(self.shared_key("tokens"));
        let records: Vec<String> = self.one(command).await?;
        Ok(newest_first(records.iter().map(|record| from_json(record)).collect::<Result<_, _>>()?))
    }

    async fn tokens_of(&self, account: &AccountName) -> Result<Vec<ApiToken>, StoreError> {
        let call = self.shared_call(Script::TokensOf).arg(account.as_str());
        tokens(self.run(&call).await?)
    }

    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        let done: u64 = record::number(self.run(&self.shared_call(Script::RemoveToken).arg(id)).await?)?;
        Ok(done == 1)
    }

    async fn signing_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let key = self.shared_key("signing_key");
        let mut pipeline = redis::pipe();
        pipeline.cmd("SETNX").arg(&key).arg(&fresh[..]).ignore().cmd("GET").arg(&key);
        let (kept,): (Vec<u8>,) = self.0.link.query(&pipeline).await?;
        kept.try_into().map_err(|_| corrupt("a signing key of another length"))
    }
}

/// Tokens as scripts answer them.
fn tokens(records: Value) -> Result<Vec<ApiToken>, StoreError> {
    let tokens: Result<_, StoreError> =
        record::array(records)?.into_iter().map(|token| from_json(&record::text(token)?)).collect();
    Ok(newest_first(tokens?))
}

fn newest_first(mut tokens: Vec<ApiToken>) -> Vec<ApiToken> {
    tokens.sort_unstable_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    tokens
}

fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(corrupt)
}

fn from_json<T: DeserializeOwned>(record: &str) -> Result<T, StoreError> {
    serde_json::from_str(record).map_err(corrupt)
}
