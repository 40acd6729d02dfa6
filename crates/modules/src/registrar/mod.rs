//! The registrar: REGISTER in, bindings out (RFC 3261 section 10).

mod aor;
mod fetched;
mod gruu;
mod lookup;
mod question;
mod record;
mod reply;
mod save;
mod settings;

use module_api::{Module, Statistic, StatisticKind};

/// Registers phones and finds them again.
pub static MODULE: Module = Module {
    name: "registrar",
    doc: "Registers phones and finds them again.",
    parameters: &settings::PARAMETERS,
    functions: &[
        save::SAVE,
        crate::also("save_contact", save::SAVE),
        save::SAVE_NOREPLY,
        lookup::LOOKUP,
        crate::also("lookup_contact", lookup::LOOKUP),
        lookup::TO_BRANCHES,
        lookup::BRANCHES,
        lookup::SEND_REPLY,
        fetched::LOOKUP_XAVP,
        fetched::FETCH,
        fetched::FREE,
        save::SEND_REPLY,
        question::FROM_USER,
        question::REGISTERED,
        question::UNREGISTER,
        question::ADD_SOCK_HDR,
    ],
    variables: &[fetched::ULC],
    statistics: &[
        Statistic {
            group: "registrar",
            name: "accepted_regs",
            kind: StatisticKind::Counter,
            doc: "REGISTER requests that save() has done.",
        },
        Statistic {
            group: "registrar",
            name: "rejected_regs",
            kind: StatisticKind::Counter,
            doc: "REGISTER requests that save() has refused.",
        },
    ],
    make: settings::make,
    ..Module::EMPTY
};

#[cfg(test)]
mod tests;
