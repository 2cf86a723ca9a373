//! `[[plugin]]`: the plugins that a dispatcher counts on, and those that it starts itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{ConfigError, Span};
use crate::protocol::PluginName;
use crate::protocol::limits::{PLUGIN_TIMEOUT, PLUGINS};
use crate::protocol::plugin::{Hook, Policy};

/// Longest time that a submit may be made to wait for one plugin.
const TIMEOUT_MOST: Duration = Duration::from_secs(60);

/// One plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginSettings {
    /// The name that it registers with.
    pub name: PluginName,
    /// What it takes part in. The policy holds for these even while it is not connected.
    pub hooks: Vec<Hook>,
    /// What happens when it does not answer.
    #[serde(default)]
    pub policy: Policy,
    /// How long it may take for an answer; 2 s.
    #[serde(default = "timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Program and arguments that start it; empty: somebody else does.
    #[serde(default)]
    pub command: Vec<String>,
}

fn timeout() -> Duration {
    PLUGIN_TIMEOUT
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Span::deserialize(deserializer)?.0)
}

/// Refuses what cannot work.
pub(super) fn check(plugins: &[PluginSettings]) -> Result<(), ConfigError> {
    if plugins.len() > PLUGINS {
        return Err(ConfigError::Contradiction(format!("at most {PLUGINS} plugins")));
    }
    let mut names = BTreeSet::new();
    for PluginSettings { name, hooks, policy: _, timeout, command } in plugins {
        let wrong = |message: String| Err(ConfigError::Contradiction(format!("plugin {name}: {message}")));
        if !names.insert(name) {
            return wrong("there are two of this name".to_owned());
        }
        if hooks.is_empty() {
            return wrong("hooks must name at least one".to_owned());
        }
        if timeout.is_zero() || *timeout > TIMEOUT_MOST {
            return wrong(format!("timeout must be more than 0 and at most {TIMEOUT_MOST:?}"));
        }
        if command.first().is_some_and(String::is_empty) {
            return wrong("command begins with the name of a program".to_owned());
        }
    }
    Ok(())
}
