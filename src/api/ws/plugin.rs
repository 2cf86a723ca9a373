//! Frames of plugins, and of administrators about them.

use super::session::{Failure, Reader};
use crate::auth::Identity;
use crate::dispatcher::DispatchError;
use crate::protocol::codec::{Acknowledged, FrameId};
use crate::protocol::plugin::{PluginEvent, PluginOrder, PluginReport, PluginRequest, PluginsReply};

impl Reader {
    /// A plugin's frame.
    pub(super) async fn plugin(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        report: PluginReport,
    ) -> Result<(), Failure> {
        match report {
            PluginReport::Register(_) if self.plugin.is_some() || self.agent.is_some() => {
                Err(DispatchError::Conflict("this connection is registered".to_owned()).into())
            }
            PluginReport::Register(register) => {
                let plugin = self.dispatcher.register_plugin(who, register, id, &self.session.outbox)?;
                self.plugin = Some(plugin);
                Ok(())
            }
            PluginReport::Answer(answer) => {
                let Some(plugin) = &self.plugin else {
                    return Err(DispatchError::Conflict("register as a plugin first".to_owned()).into());
                };
                match (plugin.answers(answer), id) {
                    (_, None) => Ok(()),
                    (true, Some(_)) => Ok(self.reply(id, &PluginOrder::Ok(Acknowledged::of("answer"))).await?),
                    // A slow plugin could not know: this does not count against it.
                    (false, Some(_)) => {
                        Ok(self.reply(id, &DispatchError::NotFound("call that waits for an answer").to_wire()).await?)
                    }
                }
            }
        }
    }

    /// An administrator's frame about plugins.
    pub(super) async fn plugins(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        request: PluginRequest,
    ) -> Result<(), Failure> {
        match request {
            PluginRequest::List(_) => {
                let plugins = self.dispatcher.plugins(who)?;
                Ok(self.reply(id, &PluginEvent::Plugins(PluginsReply { plugins })).await?)
            }
        }
    }
}
