//! Finished logs that leave Redis, so that its memory is bounded by what is live.

use std::time::Duration;

use super::script::{Call, Script};
use super::{RedisStore, corrupt, record};
use crate::base::clock::millis;
use crate::protocol::{Cursor, JobId};
use crate::store::error::StoreError;

impl RedisStore {
    /// Whether this instance has a task that one instance does at a time; from now on for as long as `lease`.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn hold(&self, task: &str, lease: Duration) -> Result<bool, StoreError> {
        let call = Call::new(Script::Hold, &self.shared());
        let call = call.arg(task).arg(self.0.instance.as_str()).arg(millis(lease));
        Ok(record::number::<u64>(self.run(&call).await?)? == 1)
    }

    /// Jobs that ended `age` ago or earlier and whose logs are still here, at most so many of each partition.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn finished(&self, age: Duration, most: usize) -> Result<Vec<JobId>, StoreError> {
        let now = self.now();
        let found = self.on_all(Script::Finished, |call| call.arg(now.as_str()).arg(millis(age)).arg(most));
        let mut ids = Vec::new();
        for jobs in found.await? {
            for value in record::array(jobs)? {
                let [number, nonce] = record::fixed(value)?;
                ids.push(JobId { number: record::number(number)?, nonce: record::number(nonce)? });
            }
        }
        Ok(ids)
    }

    /// Takes the log of a finished job out of Redis, in one step: it was written elsewhere up to `top`, its last
    /// entry, or it is `packed` and stays so. `false`: the job is gone, or is not as it was when its log was read.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn move_log(&self, job: JobId, top: Cursor, packed: Option<&[u8]>) -> Result<bool, StoreError> {
        let call = self.call(Script::MoveLog, self.partition_of(job.number)).arg(job.number).arg(job.nonce);
        let call = call.arg(top.attempt).arg(top.n).arg(packed.unwrap_or_default());
        Ok(record::number::<u64>(self.run(&call).await?)? == 1)
    }

    /// Jobs that were removed and whose files may still be there, at most so many of each partition.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn removed(&self, most: usize) -> Result<Vec<JobId>, StoreError> {
        let mut pipeline = redis::pipe();
        for partition in self.partitions() {
            pipeline.cmd("SRANDMEMBER").arg(self.removed_key(partition)).arg(most);
        }
        let found: Vec<Vec<String>> = self.0.link.query(&pipeline).await?;
        let id = |text: String| {
            let (number, nonce) = text.split_once(' ')?;
            Some(JobId { number: number.parse().ok()?, nonce: nonce.parse().ok()? })
        };
        let ids = found.into_iter().flatten().map(|text| id(text).ok_or_else(|| corrupt("a removed job's id")));
        ids.collect()
    }

    /// The files of these removed jobs are gone.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn forget_removed(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        for job in jobs {
            let member = format!("{} {}", job.number, job.nonce);
            pipeline.cmd("SREM").arg(self.removed_key(self.partition_of(job.number))).arg(member).ignore();
        }
        if jobs.is_empty() { Ok(()) } else { self.0.link.query(&pipeline).await }
    }

    fn removed_key(&self, partition: u32) -> String {
        format!("{}:removed", self.base(partition))
    }
}
