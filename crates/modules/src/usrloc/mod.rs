//! Where users are: the location tables, in memory and (where the script wants it) in a database.

mod binding;
mod commands;
mod locations;
mod settings;
mod table;

use module_api::{Module, Statistic, StatisticKind};

pub use binding::{Contact, method_bit};
pub(crate) use settings::{default_database, open_store};

pub use locations::{LocationTable, Locations, WriteFailed};
pub use table::Table;

/// The location tables that registrar writes and reads.
pub static MODULE: Module = Module {
    name: "usrloc",
    doc: "Keeps where users are; module registrar has the functions.",
    parameters: &settings::PARAMETERS,
    commands: commands::COMMANDS,
    statistics: &[
        Statistic {
            group: "usrloc",
            name: "registered_users",
            kind: StatisticKind::Gauge,
            doc: "Users who are registered, in all tables. Each table has its own figures too: `location_users`, `location_contacts`.",
        },
        Statistic {
            group: "usrloc",
            name: "expired_contacts",
            kind: StatisticKind::Counter,
            doc: "Contacts whose registration ran out.",
        },
    ],
    make: settings::make,
    ..Module::EMPTY
};
