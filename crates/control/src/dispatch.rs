//! The table of commands, and calling one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use module_api::{Answer, Command, CommandCall, CommandError, Data, Server, Socket, State};

use crate::commands::{INTROSPECTION, Myself};

/// The commands of a running server. Clones are the same table.
#[derive(Clone)]
pub struct Commands(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    table: ArcSwap<Table>,
    sockets: Vec<Socket>,
    server: Arc<dyn Server>,
    deadline: Duration,
    /// The commands about commands work on this.
    myself: Arc<dyn State>,
}

type Table = HashMap<&'static str, Entry>;

#[derive(Clone)]
struct Entry {
    command: &'static Command,
    state: Arc<dyn State>,
}

/// A module's commands and the state that they work on.
pub type Owner = (&'static [Command], Arc<dyn State>);

/// How long a command may take. What waits for a peer's answer ends with Timer B or F (RFC 3261 section 17.1).
const DEADLINE: Duration = Duration::from_secs(35);

impl Commands {
    /// A table with the commands of `owners`, of a server with these listening sockets.
    pub fn new(owners: Vec<Owner>, sockets: Vec<Socket>, server: Arc<dyn Server>) -> Commands {
        Commands::with_deadline(owners, sockets, server, DEADLINE)
    }

    fn with_deadline(
        owners: Vec<Owner>,
        sockets: Vec<Socket>,
        server: Arc<dyn Server>,
        deadline: Duration,
    ) -> Commands {
        Commands(Arc::new_cyclic(|weak| {
            let myself: Arc<dyn State> = Arc::new(Myself(Weak::clone(weak)));
            Inner { table: ArcSwap::from_pointee(table(owners, &myself)), sockets, server, deadline, myself }
        }))
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Commands {
        Commands(inner)
    }

    /// Puts other commands in place of all, after a reload. Calls under way go on with their state.
    pub fn replace(&self, owners: Vec<Owner>) {
        self.0.table.store(Arc::new(table(owners, &self.0.myself)));
    }

    /// The command of that name, whichever of its names it is.
    pub fn find(&self, name: &str) -> Option<&'static Command> {
        self.0.table.load().get(name).map(|entry| entry.command)
    }

    /// Every command once, by name.
    pub fn all(&self) -> Vec<&'static Command> {
        let table = self.0.table.load();
        let mut all: Vec<_> =
            table.iter().filter(|(name, e)| **name == e.command.name).map(|(_, e)| e.command).collect();
        all.sort_by_key(|command| command.name);
        all
    }

    /// Every name that can be called, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.table.load().keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Calls command `name`.
    ///
    /// # Errors
    /// What the command says, 400 for arguments that it does not take, 404 for a name that nothing has,
    /// 504 when it does not end in time.
    pub async fn call(&self, name: &str, args: Vec<Data>) -> Result<Data, CommandError> {
        let entry = self.0.table.load().get(name).cloned();
        let Some(Entry { command, state }) = entry else { return Err(self.unknown(name)) };
        let args = command.accept(args)?;
        let answer = (command.run)(&CommandCall {
            now: Instant::now(),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            sockets: &self.0.sockets,
            server: &self.0.server,
            args: &args,
            state: &state,
        });
        match answer {
            Answer::Now(result) => result,
            Answer::Later(work) => match tokio::time::timeout(self.0.deadline, work).await {
                Ok(result) => result,
                Err(_) => {
                    let text = format!("{name} did not end within {} seconds", self.0.deadline.as_secs());
                    Err(CommandError::new(504, text))
                }
            },
        }
    }

    /// The error for a name that nothing has, with the nearest one that something has.
    pub fn unknown(&self, name: &str) -> CommandError {
        // A name may be as long as a request; what is compared and shown is not.
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let closeness = |known: &&'static str| strsim::jaro_winkler(known, &shown);
        let nearest = self.names().into_iter().max_by(|one, other| closeness(one).total_cmp(&closeness(other)));
        let hint = match nearest.filter(|known| closeness(known) > 0.8) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "`which` lists all commands".to_owned(),
        };
        CommandError::new(404, format!("no command is called `{shown}`; {hint}"))
    }
}

/// Where two modules have the same name the earlier keeps it; the catalogue's own test sees that none do.
fn table(owners: Vec<Owner>, myself: &Arc<dyn State>) -> Table {
    let mut table = Table::new();
    let introspection: Owner = (INTROSPECTION, Arc::clone(myself));
    for (commands, state) in [introspection].into_iter().chain(owners) {
        for command in commands {
            let names = command.aliases.iter().copied().chain([command.name]);
            for name in names {
                table.entry(name).or_insert_with(|| Entry { command, state: Arc::clone(&state) });
            }
        }
    }
    table
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use module_api::{ArgumentKind, CommandParam, NoServer};

    /// Commands for the tests of front ends.
    pub(crate) static EXAMPLES: &[Command] = &[
        Command {
            name: "test.echo",
            aliases: &["echo"],
            params: &[CommandParam::optional("things", ArgumentKind::Rest, "What comes back.")],
            doc: "Gives its arguments back.",
            result: "the arguments.",
            example: "test.echo one 2",
            run: |call| Answer::Now(Ok(Data::List(call.args.to_vec()))),
        },
        Command {
            name: "test.lookup",
            params: &[
                CommandParam::required("table", ArgumentKind::Str, "Where to look."),
                CommandParam::optional("most", ArgumentKind::Int, "How many."),
            ],
            doc: "Finds one thing.",
            result: "a struct.",
            example: "test.lookup location",
            run: |call| match call.text(0) {
                Some("location") => {
                    Data::of([("Table", "location".into()), ("AoRs", Data::List(vec!["alice".into()]))]).into()
                }
                _ => Answer::error(404, "Table not found"),
            },
            ..Command::EMPTY
        },
        Command {
            name: "test.stuck",
            doc: "Never ends.",
            result: "nothing.",
            example: "test.stuck",
            run: |_| Answer::later(std::future::pending()),
            ..Command::EMPTY
        },
    ];

    pub(crate) fn examples() -> Commands {
        Commands::new(vec![(EXAMPLES, Arc::new(()))], Vec::new(), Arc::new(NoServer))
    }

    #[tokio::test]
    async fn an_unknown_command_is_answered_with_the_nearest_known() {
        let commands = examples();
        let error = commands.call("test.ecko", vec![]).await.expect_err("there is no such command");
        assert_eq!(error.to_string(), "404 no command is called `test.ecko`; did you mean `test.echo`?");
        let error = commands.call("xyzzy", vec![]).await.expect_err("there is no such command");
        assert_eq!(error.to_string(), "404 no command is called `xyzzy`; `which` lists all commands");
    }

    #[tokio::test]
    async fn a_command_answers_by_any_of_its_names_and_is_listed_once() {
        let commands = examples();
        assert_eq!(commands.call("echo", vec![1.into()]).await, Ok(Data::List(vec![1.into()])));
        let of_test = |name: &&str| name.ends_with("echo");
        let all: Vec<_> = commands.all().iter().map(|command| command.name).filter(of_test).collect();
        assert_eq!(all, ["test.echo"]);
        assert_eq!(commands.names().into_iter().filter(of_test).collect::<Vec<_>>(), ["echo", "test.echo"]);
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_given_up() {
        let commands =
            Commands::with_deadline(vec![(EXAMPLES, Arc::new(()))], Vec::new(), Arc::new(NoServer), Duration::ZERO);
        let error = commands.call("test.stuck", vec![]).await.expect_err("it never ends");
        assert_eq!(error.to_string(), "504 test.stuck did not end within 0 seconds");
    }

    #[tokio::test]
    async fn after_a_reload_only_the_new_commands_are_there() {
        let commands = examples();
        commands.replace(Vec::new());
        assert_eq!(commands.call("echo", vec![]).await.expect_err("it is gone").code, 404);
    }
}
