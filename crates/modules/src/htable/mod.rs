//! Tables in memory that all requests share: counters, bans, caches.

mod commands;
mod condition;
mod event;
mod function;
mod iterate;
mod settings;
mod stored;
mod table;
mod variable;

use std::any::Any;
use std::sync::Arc;

use module_api::{Event, Module, State};

use crate::named_lock::Locks;
use table::Table;

/// Tables in memory that all requests share.
pub static MODULE: Module = Module {
    name: "htable",
    doc: "Tables in memory that all requests share, whose entries may have an end of life.",
    parameters: settings::PARAMETERS,
    functions: function::FUNCTIONS,
    variables: &[
        variable::VALUE,
        variable::EXPIRES,
        variable::INCREMENT,
        variable::DECREMENT,
        variable::COUNT_BY_NAME,
        variable::COUNT_BY_VALUE,
        variable::ITERATOR_KEY,
        variable::ITERATOR_VALUE,
        event::RECORD,
    ],
    events: &[
        Event { name: "htable:mod-init", doc: "Once, when the tables are there. There is no message." },
        Event {
            name: "htable:expired:",
            doc: "When an entry of the table named behind it has run out. There is no message.",
        },
    ],
    commands: commands::COMMANDS,
    save: Some(|state| Box::pin(save(state))),
    make: settings::make,
    ..Module::EMPTY
};

/// The state of module htable.
struct Tables {
    tables: Vec<Arc<Table>>,
    locks: Arc<Locks>,
}

impl Tables {
    /// The table of that name. A list and not a map: scripts have a handful.
    fn table(&self, name: &[u8]) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.name.as_bytes() == name)
    }

    /// Table and key of `TABLE=>KEY`.
    fn split<'a>(&self, text: &'a [u8]) -> Option<(&Table, &'a [u8])> {
        let at = text.windows(2).position(|pair| pair == b"=>")?;
        let table = self.table(text[..at].trim_ascii())?;
        Some((table, &text[at + 2..]))
    }
}

/// Writes the tables back that are to be.
async fn save(state: &Arc<dyn State>) {
    let any: &(dyn Any + Send + Sync) = &**state;
    let Some(tables) = any.downcast_ref::<Tables>() else { return };
    for table in &tables.tables {
        if let Some(stored) = table.stored.as_ref().filter(|stored| stored.is_written_back) {
            stored.write_or_say(table).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MODULE;
    use crate::testing::{Bench, INVITE, started};

    /// Table `a` as plain as can be, table `b` with a first value and a life.
    pub(super) fn bench() -> Bench {
        let settings = [("htable", "a=>size=4;"), ("htable", "b=>size=4;initval=5;autoexpire=100")];
        Bench::with_state(INVITE, started(&MODULE, &settings))
    }
}
