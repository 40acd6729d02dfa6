//! Stateful relaying: transactions as scripts see them.

mod commands;
mod contacts;
mod event;
mod hooks;
mod relay;
mod reply;
mod settings;
mod status;
pub(crate) mod suspend;
mod transaction;
mod tune;
pub(crate) mod uac;
mod variables;

use module_api::Module;

pub(crate) use hooks::FLUSH_FLAGS;
pub use relay::RelayFailure;
pub use settings::Settings;
pub(crate) use transaction::CANCEL_BRANCHES;

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
        contacts::NEXT_CONTACT_FLOW,
        suspend::SUSPEND,
        suspend::CONTINUE,
        tune::SET_MAX_LIFETIME,
        tune::RESET_MAX_LIFETIME,
        tune::SET_RETR,
        tune::RESET_RETR,
        tune::SET_DISABLE_6XX,
        tune::SET_DISABLE_FAILOVER,
        tune::NO_E2E_CANCEL_REASON,
        crate::also("t_disable_e2e_cancel_reason", tune::NO_E2E_CANCEL_REASON),
        tune::NO_AUTO_ACK,
        tune::SAVE_LUMPS,
        tune::USE_UAC_HEADERS,
        tune::CLEAN,
        tune::IS_RETR_ASYNC_REPLY,
        tune::IS_EXPIRED,
        tune::DROP_REPLIES,
        tune::ON_BRANCH_FAILURE,
        uac::UAC_SEND,
        relay::REPLICATE_PLAIN,
        crate::also("t_replicate_to", relay::REPLICATE_TO),
        relay::REPLICATE_UDP,
        relay::REPLICATE_TCP,
        relay::REPLICATE_TLS,
        crate::also("t_forward_nonack_to", relay::FORWARD_NONACK_TO),
    ],
    variables: &variables::ALL,
    events: &event::ALL,
    commands: commands::COMMANDS,
    make: settings::make,
    ..Module::EMPTY
};
