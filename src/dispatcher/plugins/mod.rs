//! Plugins: processes of the operator's that decide on jobs and are told what happens.
//!
//! A dispatcher asks the plugins that are connected to itself, and those that its settings name, in the order of their
//! names. What happens without an answer is the plugin's policy. News are for whoever is there.
//!
//! Guards: nobody waits for a plugin longer than its timeout; a bounded number of questions waits for each; news that it does not
//! take are dropped and counted. No lock is held while anything is waited for.
//! Not here: starting them (`server`).

mod ask;
mod connection;
mod tell;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tracing::info;

pub use connection::Plugin;

use self::connection::Counts;
use super::{DispatchError, Dispatcher};
use crate::auth::{Credential, Identity};
use crate::base::clock::millis;
use crate::config::PluginSettings;
use crate::hub::{Item, Outbox};
use crate::model::Role;
use crate::protocol::codec::{FrameId, encode_with};
use crate::protocol::limits::{PLUGIN_TIMEOUT, PLUGINS};
use crate::protocol::plugin::{Hook, PluginOrder, PluginRecord, Policy, RegisterPlugin, RegisteredPlugin};
use crate::protocol::{ErrorCode, PluginName, WireError};

/// The plugins that a dispatcher knows.
#[derive(Debug)]
pub(super) struct Plugins {
    // Held for a look or a change only.
    known: RwLock<BTreeMap<PluginName, Known>>,
    /// The number of the next question.
    next_call: AtomicU64,
}

/// A plugin that the settings name, or that is connected.
#[derive(Debug)]
struct Known {
    /// As the settings say; defaults without hooks for one that they do not name.
    settings: PluginSettings,
    configured: bool,
    connection: Option<Arc<Plugin>>,
    counts: Arc<Counts>,
}

impl Plugins {
    pub(super) fn new(configured: &[PluginSettings]) -> Self {
        let known = |settings: &PluginSettings| (settings.name.clone(), Known::new(settings.clone(), true));
        Self { known: RwLock::new(configured.iter().map(known).collect()), next_call: AtomicU64::new(1) }
    }

    fn next_call(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }
}

impl Known {
    fn new(settings: PluginSettings, configured: bool) -> Self {
        Self { settings, configured, connection: None, counts: Arc::default() }
    }

    /// Its connection, if it takes part in `hook` there.
    fn connection(&self, hook: Hook) -> Option<&Arc<Plugin>> {
        self.connection.as_ref().filter(|plugin| plugin.hooks.contains(&hook))
    }

    fn record(&self, name: &PluginName) -> PluginRecord {
        let mut hooks = self.settings.hooks.clone();
        hooks.extend(self.connection.iter().flat_map(|plugin| &plugin.hooks));
        hooks.sort_unstable();
        hooks.dedup();
        PluginRecord {
            name: name.clone(),
            hooks,
            policy: self.settings.policy,
            timeout_ms: millis(self.settings.timeout),
            configured: self.configured,
            connected_at: self.connection.as_ref().map(|plugin| plugin.connected_at),
            calls: self.counts.calls.load(Ordering::Relaxed),
            failures: self.counts.failures.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Dispatcher {
    /// Takes a plugin in, and replies to its `register`, whose `id` this is: what it is asked comes after that. An older connection of
    /// the same name is closed.
    ///
    /// # Errors
    /// `forbidden` for other roles, no hooks, or `limit_exceeded` where there are too many plugins.
    pub fn register_plugin(
        &self,
        who: &Identity,
        register: RegisterPlugin,
        id: Option<&FrameId>,
        outbox: &Arc<Outbox>,
    ) -> Result<Arc<Plugin>, DispatchError> {
        if who.role != Role::Plugin && who.credential != Credential::Open {
            return Err(DispatchError::Forbidden("only plugins register"));
        }
        let RegisterPlugin { name, mut hooks } = register;
        if hooks.is_empty() {
            return Err(WireError::bad_field("hooks", "hooks must name at least one").into());
        }
        hooks.sort_unstable();
        hooks.dedup();
        let now = self.0.clock.now();
        let mut known = self.0.plugins.known.write();
        let room = PLUGINS.saturating_sub(known.len());
        let known = match known.entry(name.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if room == 0 => {
                let message = format!("there are {PLUGINS} plugins, which is the limit");
                return Err(WireError::new(ErrorCode::LimitExceeded, message).into());
            }
            Entry::Vacant(place) => place.insert(Known::new(unnamed(name.clone()), false)),
        };
        let plugin = Arc::new(Plugin::new(&name, &hooks, now, Arc::clone(outbox), Arc::clone(&known.counts)));
        let timeout_ms = millis(known.settings.timeout);
        let reply = PluginOrder::Registered(RegisteredPlugin { name: name.clone(), hooks, timeout_ms });
        outbox.push_now(Item::Frame(encode_with(&reply, id).into()));
        if let Some(older) = known.connection.replace(Arc::clone(&plugin)) {
            older.supersede();
        }
        info!(plugin = %name, "plugin registered");
        Ok(plugin)
    }

    /// A plugin's connection has ended. Whoever waits for its answer waits no more.
    pub fn plugin_left(&self, plugin: &Arc<Plugin>) {
        plugin.end();
        let mut known = self.0.plugins.known.write();
        let Entry::Occupied(mut entry) = known.entry(plugin.name.clone()) else { return };
        let connection = &mut entry.get_mut().connection;
        if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, plugin)) {
            *connection = None;
            if !entry.get().configured {
                entry.remove();
            }
            info!(plugin = %plugin.name, "plugin gone");
        }
    }

    /// All plugins that are connected here or that the settings name. Administrators only.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn plugins(&self, who: &Identity) -> Result<Vec<PluginRecord>, DispatchError> {
        if who.role != Role::Admin {
            return Err(DispatchError::Forbidden("only administrators see plugins"));
        }
        Ok(self.0.plugins.known.read().iter().map(|(name, known)| known.record(name)).collect())
    }
}

/// What holds for a plugin that the settings do not name.
fn unnamed(name: PluginName) -> PluginSettings {
    let (policy, timeout) = (Policy::default(), PLUGIN_TIMEOUT);
    PluginSettings { name, hooks: Vec::new(), policy, timeout, command: Vec::new() }
}
