//! Dialogs: calls as a whole, from the INVITE to the BYE.

mod call;
mod command;
mod function;
mod over;
mod profile;
mod settings;
mod state;
mod stored;
mod table;
mod track;
mod transfer;
mod variable;

use std::any::Any;
use std::sync::{Arc, RwLock, Weak};

use module_api::{Call, Event, Module, Server, Setup, SetupError, State};

pub(crate) use over::{Ending, Over};

use call::{Dialog, Side};
use profile::Profiles;
use settings::Settings;
use stored::Stored;
use table::Table;

/// Tracks calls: how long they may last, how many there are of a kind, and how to end one.
pub static MODULE: Module = Module {
    name: "dialog",
    doc: "Tracks calls from the INVITE to the BYE: limits, lifetimes, variables of a call, and a way to end it from the middle.",
    parameters: &settings::PARAMETERS,
    functions: &[
        function::MANAGE,
        function::IS_KNOWN,
        function::GET,
        function::BYE,
        function::SET_TIMEOUT,
        function::SET_TIMEOUT_OF,
        function::SET_FLAG,
        function::RESET_FLAG,
        function::IS_FLAG_SET,
        function::SET_PROPERTY,
        function::RESET_PROPERTY,
        function::SET_VAR,
        function::GET_VAR,
        function::REQUEST_WITHIN,
        transfer::REFER,
        transfer::REFER_BY_NUMBER,
        transfer::REFER_BY_CALL_ID,
        transfer::BRIDGE,
        state::SET,
        state::UPDATE,
        state::SET_RURI,
        state::UPDATE_CONTACT,
        state::UPDATE_SOCKET,
        profile::SET,
        profile::UNSET,
        profile::IS_IN,
        profile::SIZE,
        profile::SIZE_OF_VALUE,
        profile::SET_TIMEOUT_BY_PROFILE,
    ],
    variables: &variable::ALL,
    events: &EVENTS,
    commands: &command::ALL,
    observe: Some(track::observe),
    save: Some(|state| Box::pin(save(state))),
    make,
    ..Module::EMPTY
};

static EVENTS: [Event; 3] = [
    Event { name: "dialog:start", doc: "When a call has been answered. The message is its INVITE." },
    Event { name: "dialog:end", doc: "When a call is over. The message is the BYE, or made up where its time was up." },
    Event { name: "dialog:failed", doc: "When a call has not come about. The message is its INVITE." },
];

/// The state of the module.
pub(crate) struct Dialogs {
    settings: Settings,
    table: Table,
    profiles: Profiles,
    server: Arc<dyn Server>,
    watchers: RwLock<Vec<(Weak<dyn State>, over::Watcher)>>,
    /// Where dialogs are kept beside memory.
    stored: Option<Arc<Stored>>,
}

impl Dialogs {
    /// Notes that a dialog has changed, for the database.
    fn touch(&self, dialog: &Arc<Dialog>) {
        if let Some(stored) = &self.stored {
            stored.touch(dialog);
        }
    }
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let profiles = Profiles::new(&setup.text("profiles_with_value"), &setup.text("profiles_no_value"));
    let dialogs = Arc::new(Dialogs {
        settings: Settings::read(setup)?,
        table: Table::default(),
        profiles,
        server: Arc::clone(setup.server),
        watchers: RwLock::default(),
        stored: Stored::named(setup)?,
    });
    stored::start(setup, &dialogs)?;
    Ok(dialogs)
}

/// Writes dialogs that are not in the database yet, when the server ends.
async fn save(state: &Arc<dyn State>) {
    let any: &(dyn Any + Send + Sync) = &**state;
    if let Some(dialogs) = any.downcast_ref::<Dialogs>() {
        stored::save(dialogs).await;
    }
}

/// Noted with a request: the dialog that a script has chosen.
struct Chosen(Arc<Dialog>);

/// The dialog in question: the one that the script has chosen, else that of the message.
fn current(call: &Call<'_>) -> Option<Arc<Dialog>> {
    if let Some(Chosen(dialog)) = call.context.note() {
        return Some(Arc::clone(dialog));
    }
    side(call).map(|(dialog, _)| dialog)
}

/// The dialog of the message, and who sent the request.
fn side(call: &Call<'_>) -> Option<(Arc<Dialog>, Side)> {
    let request = call.context.request.as_ref().unwrap_or(&call.context.message);
    call.state::<Dialogs>().table.of(request)
}
