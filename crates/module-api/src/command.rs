//! The table entry of a command: what an operator or another program may ask of the running server.
//!
//! A command is written once; FIFO, JSON-RPC, HTTP, `kamcmd` and `serctl` all call it and each renders its result
//! in its own way. Commands run beside the workers, so one may take a lock or wait, but never blocks for long.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Data, Server, Socket, State};

/// A command: its signature, its documentation and its code.
pub struct Command {
    /// Its name, as Kamailio has it where Kamailio has it: `ul.dump`.
    pub name: &'static str,
    /// Other names under which users know it: SER's, and earlier ones of Kamailio.
    pub aliases: &'static [&'static str],
    /// Arguments in order; optional ones come last.
    pub params: &'static [CommandParam],
    /// What it does, for the reference. The first sentence stands alone.
    pub doc: &'static str,
    /// What it returns, for the reference.
    pub result: &'static str,
    /// A call as typed behind `serctl`.
    pub example: &'static str,
    /// The code.
    pub run: fn(&CommandCall<'_>) -> Answer,
}

impl Command {
    /// A command without name or arguments, from which tables take what they do not set.
    pub const EMPTY: Command = Command {
        name: "",
        aliases: &[],
        params: &[],
        doc: "",
        result: "",
        example: "",
        run: |_| Answer::Now(Ok(Data::Null)),
    };

    /// Whether it goes by `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// How it is called, for error messages: `ul.lookup TABLE AOR [MORE]`.
    pub fn usage(&self) -> String {
        let mut usage = self.name.to_owned();
        for param in self.params {
            let name = param.name.to_uppercase();
            usage += &match (param.kind, param.optional) {
                (ArgumentKind::Rest, _) => format!(" [{name}...]"),
                (_, true) => format!(" [{name}]"),
                (_, false) => format!(" {name}"),
            };
        }
        usage
    }

    /// Turns the arguments of a caller into what the parameters demand.
    ///
    /// # Errors
    /// 400 when one is missing, is too many, or cannot be read as what it must be.
    pub fn accept(&self, given: Vec<Data>) -> Result<Vec<Data>, CommandError> {
        let takes_rest = self.params.last().is_some_and(|param| param.kind == ArgumentKind::Rest);
        if given.len() > self.params.len() && !takes_rest {
            return Err(self.misuse(format!("too many arguments ({})", given.len())));
        }
        let required = self.params.iter().filter(|param| !param.optional).count();
        if let Some(missing) = self.params[..required].get(given.len()) {
            return Err(self.misuse(format!("argument `{}` is missing", missing.name)));
        }
        let param = |n: usize| self.params.get(n).or(self.params.last());
        let accept = |(n, data): (usize, Data)| {
            // A place left empty stands for an argument that is not given, as long as it may be absent.
            let Some(param) = param(n).filter(|param| !(param.optional && data == Data::Null)) else { return Ok(data) };
            let shown = data.to_text();
            param
                .kind
                .accept(data)
                .ok_or_else(|| self.misuse(format!("argument `{}`: `{shown}` is not {}", param.name, param.kind)))
        };
        given.into_iter().enumerate().map(accept).collect()
    }

    fn misuse(&self, what: String) -> CommandError {
        CommandError::new(400, format!("{what}; usage: {}", self.usage()))
    }
}

/// A parameter of a [`Command`].
#[derive(Debug, Clone, Copy)]
pub struct CommandParam {
    /// Its name in the reference, and for callers that name their arguments.
    pub name: &'static str,
    /// What it must be.
    pub kind: ArgumentKind,
    /// Whether a call may leave it out.
    pub optional: bool,
    /// Its meaning.
    pub doc: &'static str,
}

impl CommandParam {
    /// A parameter that every call must give.
    pub const fn required(name: &'static str, kind: ArgumentKind, doc: &'static str) -> CommandParam {
        CommandParam { name, kind, optional: false, doc }
    }

    /// A parameter that a call may leave out.
    pub const fn optional(name: &'static str, kind: ArgumentKind, doc: &'static str) -> CommandParam {
        CommandParam { name, kind, optional: true, doc }
    }
}

/// What an argument of a command must be. Callers that send text only (FIFO, `serctl`) are understood by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// An integer; text must spell one.
    Int,
    /// A number that may have a fraction.
    Float,
    /// Text; numbers are taken as they are spelt.
    Str,
    /// Text or an integer, as the caller has it.
    Any,
    /// All further arguments, each as [`ArgumentKind::Any`]. The last parameter, and always optional.
    Rest,
}

impl ArgumentKind {
    fn accept(self, data: Data) -> Option<Data> {
        match (self, data) {
            (ArgumentKind::Int, Data::Str(text)) => text.trim().parse().ok().map(Data::Int),
            (ArgumentKind::Int, Data::Int(number)) => Some(Data::Int(number)),
            (ArgumentKind::Float, Data::Str(text)) => {
                text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Data::Float)
            }
            (ArgumentKind::Float, Data::Int(number)) => Some(Data::Float(number as f64)),
            (ArgumentKind::Float, Data::Float(number)) => Some(Data::Float(number)),
            (ArgumentKind::Str, data @ (Data::Str(_) | Data::Int(_) | Data::Float(_))) => {
                Some(Data::Str(data.to_text()))
            }
            (ArgumentKind::Any | ArgumentKind::Rest, data @ (Data::Str(_) | Data::Int(_) | Data::Float(_))) => {
                Some(data)
            }
            _ => None,
        }
    }
}

impl fmt::Display for ArgumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArgumentKind::Int => "an integer",
            ArgumentKind::Float => "a number",
            ArgumentKind::Str => "text",
            ArgumentKind::Any | ArgumentKind::Rest => "text or a number",
        })
    }
}

/// One call of a command.
pub struct CommandCall<'a> {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, since 1970-01-01 00:00 UTC.
    pub unix_time: Duration,
    /// The listening sockets; [`crate::SocketId`] is an index.
    pub sockets: &'a [Socket],
    /// The workers, for what they must do.
    pub server: &'a Arc<dyn Server>,
    /// The arguments, as [`Command::accept`] has made them.
    pub args: &'a [Data],
    /// The state of the module that the command belongs to.
    pub state: &'a Arc<dyn State>,
}

impl<'a> CommandCall<'a> {
    /// Argument `n` as text, where it was given.
    pub fn text(&self, n: usize) -> Option<&'a str> {
        match self.args.get(n) {
            Some(Data::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// Argument `n` as an integer, where it was given.
    pub fn int(&self, n: usize) -> Option<i64> {
        match self.args.get(n) {
            Some(Data::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Argument `n` as a number with a fraction, where it was given.
    pub fn float(&self, n: usize) -> Option<f64> {
        match self.args.get(n) {
            Some(Data::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// The state that the module made at start.
    ///
    /// # Panics
    /// When `T` is not the type that the module's `make` returned: a mistake in the module itself.
    pub fn state<T: State>(&self) -> &'a T {
        let state: &'a dyn Any = self.state.as_ref();
        state.downcast_ref().expect("a module asks for the state type that its `make` returned")
    }

    /// The state as a shared pointer, for futures that outlive the call.
    pub fn shared_state<T: State>(&self) -> Arc<T> {
        let state: Arc<dyn Any + Send + Sync> = Arc::clone(self.state) as _;
        state.downcast().expect("a module asks for the state type that its `make` returned")
    }
}

/// What a command answers.
pub enum Answer {
    /// At once.
    Now(Result<Data, CommandError>),
    /// When the future is done. It runs on tokio, must not block a thread, and is dropped at the caller's deadline.
    Later(Pin<Box<dyn Future<Output = Result<Data, CommandError>> + Send>>),
}

impl Answer {
    /// An error at once.
    pub fn error(code: u16, reason: impl Into<Cow<'static, str>>) -> Answer {
        Answer::Now(Err(CommandError::new(code, reason)))
    }

    /// Waits for `work`.
    pub fn later(work: impl Future<Output = Result<Data, CommandError>> + Send + 'static) -> Answer {
        Answer::Later(Box::pin(work))
    }
}

impl<T: Into<Data>> From<T> for Answer {
    fn from(data: T) -> Answer {
        Answer::Now(Ok(data.into()))
    }
}

/// Why a command did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// As SIP counts: 400 for a mistake of the caller, 404 for what is not there, 500 for a failure of ours.
    pub code: u16,
    /// What is wrong, in a phrase, and what would cure it.
    pub reason: Cow<'static, str>,
    /// The code is the answer of a SIP peer, and says nothing about the call of the command.
    pub is_of_peer: bool,
}

impl CommandError {
    /// An error with its code and reason.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError { code, reason: reason.into(), is_of_peer: false }
    }

    /// The answer of a SIP peer that is no success.
    pub fn of_peer(code: u16, reason: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError { code, reason: reason.into(), is_of_peer: true }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKUP: Command = Command {
        name: "ul.lookup",
        aliases: &["ul_show_contact"],
        params: &[
            CommandParam::required("table", ArgumentKind::Str, "The table."),
            CommandParam::optional("most", ArgumentKind::Int, "How many."),
        ],
        ..Command::EMPTY
    };

    fn check(given: &[Data], expected: Result<&[Data], &str>) {
        let accepted = LOOKUP.accept(given.to_vec());
        let shown = accepted.as_ref().map(Vec::as_slice).map_err(ToString::to_string);
        assert_eq!(shown, expected.map_err(str::to_owned));
    }

    #[test]
    fn text_is_read_as_what_the_parameter_must_be() {
        check(&["location".into(), "5".into()], Ok(&["location".into(), 5.into()]));
        check(&[7.into()], Ok(&["7".into()]));
    }

    #[test]
    fn a_wrong_argument_is_answered_with_what_is_wrong_and_how_to_call() {
        let usage = "usage: ul.lookup TABLE [MOST]";
        check(&[], Err(&format!("400 argument `table` is missing; {usage}")));
        check(&["a".into(), "x".into()], Err(&format!("400 argument `most`: `x` is not an integer; {usage}")));
        check(&["a".into(), 1.into(), 2.into()], Err(&format!("400 too many arguments (3); {usage}")));
        check(&[Data::List(vec![])], Err(&format!("400 argument `table`: `[]` is not text; {usage}")));
    }

    #[test]
    fn both_families_names_mean_the_same_command() {
        assert!(LOOKUP.is_called("ul.lookup") && LOOKUP.is_called("ul_show_contact"));
        assert!(!LOOKUP.is_called("ul"));
    }
}
