//! The commands as scripts reach them: `jsonrpc_dispatch()` and `jsonrpc_exec()`.

use std::pin::Pin;

use bytes::Bytes;
use module_api::JsonRpc;

use crate::{Commands, json_rpc};

/// The commands as scripts reach them.
pub struct ForScripts(Commands);

impl ForScripts {
    /// These commands; what a reload changes of them is seen.
    pub fn new(commands: Commands) -> ForScripts {
        ForScripts(commands)
    }
}

impl JsonRpc for ForScripts {
    fn answer(&self, document: Bytes, is_pretty: bool) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> {
        let commands = self.0.clone();
        Box::pin(async move { json_rpc::answer(&commands, &document, is_pretty).await })
    }
}
