//! What containers use, about once a second, for those who look.
//!
//! Workers measure for some seconds at a time, and are asked again while somebody looks. So nobody has to say that it looks no
//! longer, and one who vanished costs a few measurements.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::{Item, Outbox};
use crate::protocol::agent::{AgentContainerOrder, ContainerUsageReport, MeasureContainer};
use crate::protocol::codec::encode;
use crate::protocol::container::{ContainerEvent, StatsEvent};
use crate::protocol::{ContainerId, ContainerRef, ErrorCode, WireError};

/// How often workers are asked again.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// For how long they measure then: two questions may get lost.
const MEASURE_SECS: u32 = 15;

/// Containers that one connection looks at at the most: as many as it may follow.
const LOOKS_MOST: usize = 128;

/// Who looks at which container.
#[derive(Debug, Default)]
pub(in crate::dispatcher) struct Stats {
    lookers: Mutex<Lookers>,
}

#[derive(Debug, Default)]
struct Lookers {
    of: HashMap<ContainerId, Vec<Weak<Outbox>>>,
    /// A task asks workers; it ends when nobody looks.
    asking: bool,
}

impl Lookers {
    /// Forgets connections that have ended.
    fn tidy(&mut self) {
        self.of.retain(|_, lookers| {
            lookers.retain(|outbox| outbox.upgrade().is_some_and(|outbox| !outbox.is_closing()));
            !lookers.is_empty()
        });
    }
}

impl Dispatcher {
    /// A container that this connection may look at beside those that it looks at already.
    ///
    /// # Errors
    /// `not_found`, `limit_exceeded`, or the store.
    pub async fn may_look_at_stats(
        &self,
        who: &Identity,
        named: &ContainerRef,
        outbox: &Arc<Outbox>,
    ) -> Result<ContainerId, DispatchError> {
        let id = self.container_id(who, named).await?;
        let lookers = self.0.stats.lookers.lock();
        let looks = lookers.of.iter().filter(|(at, lookers)| **at != id && is_among(outbox, lookers)).count();
        if looks >= LOOKS_MOST {
            let message = format!("this connection looks at {LOOKS_MOST} containers, which is the limit");
            return Err(WireError::new(ErrorCode::LimitExceeded, message).into());
        }
        Ok(id)
    }

    /// Sends this connection what a container uses, from now on. It [may](Self::may_look_at_stats) do so.
    pub async fn look_at_stats(&self, id: ContainerId, outbox: &Arc<Outbox>) {
        let begin = {
            let mut lookers = self.0.stats.lookers.lock();
            let here = lookers.of.entry(id).or_default();
            if !is_among(outbox, here) {
                here.push(Arc::downgrade(outbox));
            }
            !std::mem::replace(&mut lookers.asking, true)
        };
        if begin {
            self.0.shutdown.spawn(ask(self.clone()));
        } else {
            self.try_to_ask_for_stats(id).await;
        }
    }

    /// Sends no more of it.
    ///
    /// # Errors
    /// `not_found`, or the store.
    pub async fn look_away(
        &self,
        who: &Identity,
        named: &ContainerRef,
        outbox: &Arc<Outbox>,
    ) -> Result<(), DispatchError> {
        let id = self.container_id(who, named).await?;
        let mut lookers = self.0.stats.lookers.lock();
        if let Some(here) = lookers.of.get_mut(&id) {
            here.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(outbox)));
        }
        Ok(())
    }

    /// A worker says what a container uses; those who look hear of it, here and elsewhere.
    pub(super) fn container_uses(&self, report: &ContainerUsageReport) {
        self.tell_of_container_usage(report);
        self.show_stats(report);
    }

    /// The same for those who look here.
    pub(in crate::dispatcher) fn show_stats(&self, report: &ContainerUsageReport) {
        let ContainerUsageReport { container_id, usage } = report;
        let lookers = self.0.stats.lookers.lock().of.get(container_id).cloned().unwrap_or_default();
        if lookers.is_empty() {
            return;
        }
        let time = self.0.clock.now();
        let event = ContainerEvent::Stats(StatsEvent { container_id: *container_id, usage: usage.clone(), time });
        let frame = axum::extract::ws::Utf8Bytes::from(encode(&event));
        for outbox in lookers.iter().filter_map(Weak::upgrade) {
            // Who does not read misses some: the next one tells all there is to know.
            outbox.push_or_drop(Item::Frame(frame.clone()));
        }
    }

    /// One that cannot be asked now is asked with the others.
    async fn try_to_ask_for_stats(&self, id: ContainerId) {
        if let Err(error) = self.ask_for_stats(id).await {
            debug!(%error, container = %id, "a worker could not be asked what a container uses");
        }
    }

    async fn ask_for_stats(&self, id: ContainerId) -> Result<(), DispatchError> {
        let Some(container) = self.0.book.get(id).await? else {
            // It was removed: there is nothing to look at any more, and it does not count towards what one may look at.
            self.0.stats.lookers.lock().of.remove(&id);
            return Ok(());
        };
        let measure = MeasureContainer { container_id: id, secs: MEASURE_SECS };
        Ok(self.order_about(&container.worker, &AgentContainerOrder::Measure(measure)).await?)
    }
}

/// Asks workers to measure while somebody looks.
async fn ask(dispatcher: Dispatcher) {
    let cut = dispatcher.shutdown().cut().clone();
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cut.cancelled() => return,
            _ = ticks.tick() => (),
        }
        let wanted: Vec<ContainerId> = {
            let mut lookers = dispatcher.0.stats.lookers.lock();
            lookers.tidy();
            if lookers.of.is_empty() {
                lookers.asking = false;
                return;
            }
            lookers.of.keys().copied().collect()
        };
        for id in wanted {
            dispatcher.try_to_ask_for_stats(id).await;
        }
    }
}

fn is_among(outbox: &Arc<Outbox>, lookers: &[Weak<Outbox>]) -> bool {
    lookers.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(outbox)))
}
