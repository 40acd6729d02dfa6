//! One call of a function, or one access to a variable, as the module sees it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use regex::bytes::Regex;

use crate::{Calendar, Context, Dialect, Host, RouteId, State, Value, Variable};

/// An argument, evaluated.
#[derive(Clone)]
pub enum Arg {
    /// A number or a string.
    Value(Value),
    /// A regular expression.
    Regex(Arc<Regex>),
    /// A route.
    Route(RouteId),
    /// A variable to be written: its entry, its evaluated key, its index and its module's state.
    Variable(OutputVariable),
}

/// The variable behind an [`Arg::Variable`].
#[derive(Clone)]
pub struct OutputVariable {
    /// Its table entry.
    pub variable: &'static Variable,
    /// Its evaluated key.
    pub key: Option<Bytes>,
    /// Its index.
    pub index: crate::Index,
    /// The state of the module that owns it.
    pub state: Arc<dyn State>,
}

/// One call: the request, the server, the arguments and the module's own state.
pub struct Call<'a> {
    /// The request or reply in progress.
    pub context: &'a mut Context,
    /// The server.
    pub host: &'a mut dyn Host,
    args: &'a [Arg],
    state: &'a Arc<dyn State>,
    dialect: Dialect,
}

impl<'a> Call<'a> {
    /// A call with `args`, of a module whose state is `state`.
    pub fn new(
        context: &'a mut Context,
        host: &'a mut dyn Host,
        args: &'a [Arg],
        state: &'a Arc<dyn State>,
        dialect: Dialect,
    ) -> Call<'a> {
        Call { context, host, args, state, dialect }
    }

    /// The family of the script that calls.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How many arguments were given.
    pub fn arg_count(&self) -> usize {
        self.args.len()
    }

    /// Argument `n`, where it was given.
    pub fn arg(&self, n: usize) -> Option<&'a Arg> {
        self.args.get(n)
    }

    /// Argument `n` as a string; empty when it is absent or undefined.
    pub fn text(&self, n: usize) -> Bytes {
        match self.args.get(n) {
            Some(Arg::Value(value)) => value.to_bytes(),
            _ => Bytes::new(),
        }
    }

    /// Argument `n` as an integer, where it was given.
    pub fn int(&self, n: usize) -> Option<i64> {
        match self.args.get(n) {
            Some(Arg::Value(value)) => Some(value.to_int()),
            _ => None,
        }
    }

    /// Argument `n` as a regular expression.
    pub fn regex(&self, n: usize) -> Option<&'a Arc<Regex>> {
        match self.args.get(n) {
            Some(Arg::Regex(regex)) => Some(regex),
            _ => None,
        }
    }

    /// Argument `n` as a route.
    pub fn route(&self, n: usize) -> Option<RouteId> {
        match self.args.get(n) {
            Some(Arg::Route(route)) => Some(*route),
            _ => None,
        }
    }

    /// What the variable that argument `n` names holds; undefined where the argument is none.
    pub fn read_output(&mut self, n: usize) -> Value {
        let Some(Arg::Variable(output)) = self.args.get(n) else { return Value::Null };
        let selector = crate::Selector { key: output.key.as_ref(), index: output.index };
        let mut call = Call::new(self.context, self.host, &[], &output.state, self.dialect);
        (output.variable.read)(&mut call, &selector)
    }

    /// The time now, as a clock on the wall where the server is shows it.
    pub fn local_time(&self) -> Calendar {
        self.local_time_of(i64::try_from(self.host.unix_time().as_secs()).unwrap_or(i64::MAX))
    }

    /// A time in seconds since 1970, as a clock on the wall where the server is shows it.
    pub fn local_time_of(&self, unix: i64) -> Calendar {
        Calendar::at(unix, self.host.zone(unix))
    }

    /// Writes `value` to the variable that argument `n` names.
    ///
    /// # Errors
    /// The fault of the variable, or of an argument that is no writable variable.
    pub fn write_output(&mut self, n: usize, value: Value) -> Result<(), crate::Fault> {
        let Some(Arg::Variable(output)) = self.args.get(n) else {
            return Err(crate::Fault { code: -1, cause: format!("argument {} is not a variable", n + 1).into() });
        };
        let Some(write) = output.variable.write else {
            return Err(crate::Fault { code: -1, cause: format!("${} is read-only", output.variable.name).into() });
        };
        let selector = crate::Selector { key: output.key.as_ref(), index: output.index };
        let mut call = Call::new(self.context, self.host, &[], &output.state, self.dialect);
        write(&mut call, &selector, value)
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
