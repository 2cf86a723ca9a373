//! What instances leave for each other where a doorbell would not do: orders to workers that are
//! connected elsewhere, and credentials that have ended.

use super::RedisStore;
use super::script::{Call, Script};
use super::{corrupt, record};
use crate::protocol::WorkerId;
use crate::store::error::StoreError;

/// Orders that may wait for one worker.
const ORDERS: u32 = 1_024;

/// How long an order waits for an instance that has the worker.
const ORDER_SECS: u32 = 60;

/// Ended credentials that are kept for instances that have not looked yet.
const ENDED: u32 = 4_096;

impl RedisStore {
    /// Leaves an order for a worker; `false`: too many wait for it already.
    ///
    /// # Errors
    /// It may have been left.
    pub async fn leave_order(&self, worker: &WorkerId, frame: &str) -> Result<bool, StoreError> {
        let call = Call::new(Script::LeaveOrder, &self.shared());
        let call = call.arg(worker.as_str()).arg(frame).arg(ORDERS).arg(ORDER_SECS);
        let left: u64 = record::number(self.run(&call).await?)?;
        Ok(left == 1)
    }

    /// Takes the orders that wait for a worker, in order.
    ///
    /// # Errors
    /// They may have been taken, and are lost then.
    pub async fn take_orders(&self, worker: &WorkerId) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("LPOP");
        command.arg(self.shared_key(&format!("orders:{worker}"))).arg(ORDERS);
        Ok(self.one::<Option<Vec<String>>>(command).await?.unwrap_or_default())
    }

    /// Tells all instances that credentials have ended; `what` is theirs to read.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn tell_ended(&self, what: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("XADD");
        command.arg(self.shared_key("ended")).arg("MAXLEN").arg("~").arg(ENDED).arg("*").arg("what").arg(what);
        self.one::<String>(command).await.map(|_| ())
    }

    /// What has ended after `seen`, and the mark to go on from. Without one: nothing, and the mark of now.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn ended_since(&self, seen: Option<&str>) -> Result<(Vec<String>, String), StoreError> {
        let key = self.shared_key("ended");
        let Some(seen) = seen else {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
            let last: Vec<(String, Vec<String>)> = self.one(command).await?;
            return Ok((Vec::new(), last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id)));
        };
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(format!("({seen}")).arg("+").arg("COUNT").arg(ENDED);
        let entries: Vec<(String, Vec<String>)> = self.one(command).await?;
        let mark = entries.last().map_or_else(|| seen.to_owned(), |(id, _)| id.clone());
        let what =
            entries.into_iter().map(|(_, fields)| fields.into_iter().nth(1).ok_or_else(|| corrupt("an empty end")));
        Ok((what.collect::<Result<_, _>>()?, mark))
    }
}
