//! Stateful relaying: transactions as scripts see them.

mod commands;
mod contacts;
mod event;
mod hooks;
mod relay;
mod reply;
mod settings;
mod status;
mod transaction;
mod variables;

use module_api::Module;

pub use relay::RelayFailure;
pub use settings::Settings;

/// Transactions: relaying, replying, and what to do when a branch fails.
pub static MODULE: Module = Module {
    name: "tm",
    doc: "Relays requests statefully and lets the script act on replies and failures.",
    parameters: &settings::PARAMETERS,
    functions: &[
        relay::RELAY,
        relay::RELAY_TO_PROXY_URI,
        relay::RELAY_TO_HOST,
        relay::RELAY_TO,
        crate::also("t_relay_to_proxy", relay::RELAY_TO),
        relay::RELAY_TO_UDP,
        relay::RELAY_TO_UDP_HOST,
        crate::also("t_relay_udp", relay::RELAY_TO_UDP_HOST),
        relay::RELAY_TO_TCP,
        relay::RELAY_TO_TCP_HOST,
        relay::RELAY_TO_TLS,
        relay::RELAY_TO_TLS_HOST,
        relay::FORWARD_NONACK,
        crate::also("t_forward_nonack_uri", relay::FORWARD_NONACK),
        crate::also("t_forward_uri", relay::FORWARD_NONACK),
        relay::FORWARD_NONACK_TO,
        crate::also("t_forward", relay::FORWARD_NONACK_TO),
        crate::also("t_forward_nonack_udp", relay::RELAY_TO_UDP_HOST),
        crate::also("t_forward_nonack_tcp", relay::RELAY_TO_TCP_HOST),
        crate::also("t_forward_nonack_tls", relay::RELAY_TO_TLS_HOST),
        relay::REPLICATE,
        relay::REPLICATE_TO,
        relay::SET_AUTO_INV_100,
        relay::SET_DISABLE_INTERNAL_REPLY,
        transaction::NEWTRAN,
        crate::also("t_add_transaction", transaction::NEWTRAN),
        transaction::CHECK_TRANS,
        transaction::LOOKUP_REQUEST,
        transaction::LOOKUP_CANCEL,
        transaction::EXISTS,
        transaction::RELAY_CANCEL,
        transaction::RELEASE,
        transaction::UNREF,
        transaction::CANCEL_BRANCHES,
        reply::REPLY,
        reply::SEND_REPLY,
        reply::REPLY_ERROR,
        reply::RETRANSMIT_REPLY,
        hooks::ON_FAILURE,
        crate::also("t_on_negative", hooks::ON_FAILURE),
        hooks::ON_REPLY,
        hooks::ON_BRANCH,
        hooks::IS_SET,
        hooks::SET_FR,
        hooks::RESET_FR,
        hooks::FLUSH_FLAGS,
        status::CHECK_STATUS,
        status::GREP_STATUS,
        status::IS_CANCELED,
        status::BRANCH_TIMEOUT,
        status::BRANCH_REPLIED,
        status::ANY_TIMEOUT,
        status::ANY_REPLIED,
        status::STATUS_CODE,
        contacts::LOAD_CONTACTS,
        contacts::NEXT_CONTACTS,
    ],
    variables: &variables::ALL,
    events: &event::ALL,
    commands: commands::COMMANDS,
    make: settings::make,
    ..Module::EMPTY
};
