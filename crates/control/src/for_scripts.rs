//! The commands as scripts reach them: `jsonrpc_dispatch()` and `jsonrpc_exec()`.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use module_api::JsonRpc;

use crate::dispatch::Inner;
use crate::{Commands, json_rpc};

/// The commands as scripts reach them.
///
/// Held weakly: the commands own the states of modules, which own what the script's server is made of, and what
/// modules write when the server ends they write when the last owner lets go.
pub struct ForScripts(Weak<Inner>);

impl ForScripts {
    /// These commands; what a reload changes of them is seen.
    pub fn new(commands: &Commands) -> ForScripts {
        ForScripts(Arc::downgrade(&commands.0))
    }
}

impl JsonRpc for ForScripts {
    fn answer(&self, document: Bytes, is_pretty: bool) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> {
        let commands = self.0.upgrade().map(Commands);
        Box::pin(async move { json_rpc::answer(&commands?, &document, is_pretty).await })
    }
}
