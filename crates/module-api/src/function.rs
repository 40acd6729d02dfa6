//! The table entry of a function that scripts can call.

use crate::{Call, Outcome, Routes};

/// A function that scripts can call: its signature, its documentation and its code.
///
/// Several entries may share one name when their parameters differ in count; the checker picks by count.
pub struct Function {
    /// The name in scripts.
    pub name: &'static str,
    /// Parameters in order; optional ones come last.
    pub params: &'static [Param],
    /// Kinds of routes in which it may be called.
    pub routes: Routes,
    /// What it does and what it returns, for the reference. The first sentence stands alone.
    pub doc: &'static str,
    /// A line of script that uses it.
    pub example: &'static str,
    /// The code. Never blocks: what takes time is an [`Outcome::Wait`].
    pub run: fn(&mut Call<'_>) -> Outcome,
}

impl Function {
    /// How many arguments a call must have at least.
    pub fn required(&self) -> usize {
        self.params.iter().filter(|param| !param.optional).count()
    }
}

/// A parameter of a [`Function`].
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name in the reference.
    pub name: &'static str,
    /// What the checker demands of it.
    pub kind: ParamKind,
    /// Whether a call may leave it out.
    pub optional: bool,
}

impl Param {
    /// A parameter that every call must give.
    pub const fn required(name: &'static str, kind: ParamKind) -> Param {
        Param { name, kind, optional: false }
    }

    /// A parameter that a call may leave out.
    pub const fn optional(name: &'static str, kind: ParamKind) -> Param {
        Param { name, kind, optional: true }
    }
}

/// What an argument must be, and how it reaches the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// An integer, constant or computed; a string constant must spell a number. Arrives as [`crate::Value::Int`].
    Int,
    /// A string as written, or a computed one; variables inside a constant are not expanded.
    Str,
    /// A string in which variables are expanded at run time.
    Format,
    /// A regular expression; compiled at load when constant. Arrives as [`crate::Arg::Regex`].
    Regex,
    /// The name of a route of the given kind, constant or computed.
    Route(crate::RouteKind),
    /// A variable that the function writes. Arrives as [`crate::Arg::Variable`].
    Output,
    /// A message flag: a number from 0 to 31 or a declared name. Arrives as [`crate::Value::Int`].
    Flag,
    /// One or several flag characters or numbers with a meaning of the function's own, constant.
    Options,
    /// A SIP method name, or several joined by `|`. Arrives as a string.
    Methods,
    /// A header name. Arrives as a string.
    Header,
    /// A host name or address, with `:port` where the function takes one; bare words are allowed.
    HostPort,
    /// A SIP status code from 100 to 699.
    StatusCode,
}
