//! Accounting: what became of requests and of calls, to the log, to files and to a database.

mod cdr;
mod facts;
mod journal;
mod observe;
mod radius;
#[cfg(test)]
mod radius_tests;
mod request;
mod rules;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use module_api::Module;

pub use radius::RADIUS;

/// Accounting of transactions.
pub static MODULE: Module = Module {
    name: "acc",
    doc: "Writes down what became of transactions: to the log, to a file of JSON lines, to a database. A record is on the \
          disk before the reply that it is about leaves, and reaches the database exactly once, however long that is away \
          and whenever the server is killed.",
    parameters: &settings::PARAMETERS,
    functions: &[request::LOG, request::DB, request::BOTH],
    observe: Some(observe::observe),
    make: settings::make,
    ..Module::EMPTY
};
