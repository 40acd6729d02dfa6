//! Who may do what, by address or by pairs of URIs.

mod address;
mod address_call;
mod rules;
mod rules_call;
mod settings;
mod trusted;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use module_api::{Call, Command, Data, Module, Value};

use address::Addresses;
use rules::Files;
use trusted::Trusted;

/// Who may do what, by address or by pairs of URIs.
pub static MODULE: Module = Module {
    name: "permissions",
    doc: "Says who may do what: by the address that a request comes from, or by pairs of URIs in files.",
    parameters: settings::PARAMETERS,
    functions: &[
        address_call::SOURCE,
        address_call::GIVEN,
        address_call::SOURCE_GROUP,
        address_call::GIVEN_GROUP,
        address_call::TRUSTED,
        rules_call::ROUTING,
        rules_call::REGISTER,
        rules_call::REGISTER_WITH_PORT,
        rules_call::URI,
        rules_call::REFER_TO,
    ],
    commands: &[
        Command {
            name: "permissions.addressReload",
            aliases: &["address_reload"],
            doc: "Reads the addresses again. When they cannot be read, those that are there stay.",
            result: "Nothing.",
            example: "permissions.addressReload",
            run: |call| {
                let state = call.shared_state::<Permissions>();
                settings::reload(async move { state.reload_addresses().await })
            },
            ..Command::EMPTY
        },
        Command {
            name: "permissions.trustedReload",
            aliases: &["trusted_reload"],
            doc: "Reads the trusted peers again. When they cannot be read, those that are there stay.",
            result: "Nothing.",
            example: "permissions.trustedReload",
            run: |call| {
                let state = call.shared_state::<Permissions>();
                settings::reload(async move { state.reload_trusted().await })
            },
            ..Command::EMPTY
        },
        Command {
            name: "permissions.addressDump",
            aliases: &["address_dump", "permissions.subnetDump"],
            doc: "Shows the addresses and networks.",
            result: "A list: group, address, port and tag of each.",
            example: "permissions.addressDump",
            run: |call| Data::List(call.state::<Permissions>().addresses().show()).into(),
            ..Command::EMPTY
        },
        Command {
            name: "permissions.trustedDump",
            aliases: &["trusted_dump"],
            doc: "Shows the trusted peers.",
            result: "A list: address, transport, the patterns of From and Request-URI, and tag of each.",
            example: "permissions.trustedDump",
            run: |call| Data::List(call.state::<Permissions>().trusted().show()).into(),
            ..Command::EMPTY
        },
        rules_call::TEST,
    ],
    make: settings::make,
    ..Module::EMPTY
};

/// The state of module permissions.
///
/// The tables are replaced as a whole, so that a reload is seen at once and by no request in part.
struct Permissions {
    sources: settings::Sources,
    addresses: RwLock<Arc<Addresses>>,
    trusted: RwLock<Arc<Trusted>>,
    files: Files,
    /// The attribute that receives the tag of what matched.
    peer_tag: Option<Bytes>,
    checks_all_branches: bool,
}

impl Permissions {
    fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn trusted(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload_addresses(&self) -> Result<(), String> {
        let new = Arc::new(self.sources.read_addresses().await?);
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    async fn reload_trusted(&self) -> Result<(), String> {
        let new = Arc::new(self.sources.read_trusted().await?);
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn note_tag(&self, call: &mut Call<'_>, tag: &Option<Bytes>) {
        if let (Some(name), Some(tag)) = (&self.peer_tag, tag) {
            call.context.avps.push(name.clone(), Value::Str(tag.clone()));
        }
    }
}
