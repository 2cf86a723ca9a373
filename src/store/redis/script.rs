//! The scripts, and what they are called with.

use std::sync::LazyLock;

use redis::Cmd;
use sha2::{Digest as _, Sha256};

/// Declares the scripts: a name, and the file that holds it.
macro_rules! scripts {
    ($($name:ident => $file:literal,)+) => {
        /// One script.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Script {
            $($name,)+
        }

        impl Script {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What Redis runs.
            pub(super) fn source(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(include_str!("lua/prelude.lua"), include_str!(concat!("lua/", $file))),)+
                }
            }
        }
    };
}

scripts! {
    AddAccount => "add_account.lua",
    Anew => "anew.lua",
    Append => "append.lua",
    Arrive => "arrive.lua",
    Claim => "claim.lua",
    Commit => "commit.lua",
    Count => "count.lua",
    DocumentKeys => "document_keys.lua",
    Due => "due.lua",
    Finished => "finished.lua",
    Hold => "hold.lua",
    LeaveOrder => "leave_order.lua",
    Load => "load.lua",
    MoveLog => "move_log.lua",
    Page => "page.lua",
    Read => "read.lua",
    Ready => "ready.lua",
    Register => "register.lua",
    RemoveAccount => "remove_account.lua",
    RemoveToken => "remove_token.lua",
    Renew => "renew.lua",
    Restore => "restore.lua",
    Retain => "retain.lua",
    Running => "running.lua",
    Skip => "skip.lua",
    Submit => "submit.lua",
    TokensOf => "tokens_of.lua",
    WriteDocuments => "write_documents.lua",
}

/// The names by which Redis knows the scripts.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    Script::ALL.iter().map(|script| redis::Script::new(script.source()).get_hash().to_owned()).collect()
});

/// A script with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Call(pub(super) Cmd);

impl Call {
    /// `base` is what all keys of the script begin with.
    pub(super) fn new(script: Script, base: &str) -> Self {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(NAMES[script as usize].as_str()).arg(1).arg(base);
        Self(cmd)
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, arg: impl redis::ToRedisArgs) -> Self {
        self.0.arg(arg);
        self
    }

    /// Adds an argument.
    pub(super) fn push(&mut self, arg: impl redis::ToRedisArgs) {
        self.0.arg(arg);
    }
}

/// A short name for a text of any length.
pub(super) fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
