//! The stable numbers of diagnostics. A number is never given to another meaning.

use std::fmt;

/// The number of a kind of diagnostic, shown as `SCL0201`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SCL{:04}", self.0)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal;)*) => {
        $($(#[doc = $doc])* pub const $name: Code = Code($number);)*
        /// Every code with what it means.
        pub const ALL: &[(Code, &str)] = &[$(($name, concat!($($doc),*))),*];
    };
}

codes! {
    /// A file cannot be read.
    UNREADABLE = 1;
    /// A character that begins no token.
    STRAY_CHARACTER = 2;
    /// A string or comment that is never closed.
    UNTERMINATED = 3;
    /// A number that does not fit or has foreign digits.
    BAD_NUMBER = 4;
    /// `#!ifdef`, `#!else` and `#!endif` do not pair up.
    UNBALANCED_IFDEF = 10;
    /// A preprocessor line that does not follow its form.
    BAD_DIRECTIVE = 11;
    /// A name that is defined a second time.
    REDEFINED = 12;
    /// A name that is not defined.
    UNDEFINED = 13;
    /// Files that include each other, or definitions that expand without end.
    TOO_DEEP = 14;
    /// Something else was expected here.
    SYNTAX = 100;
    /// A core parameter that does not exist.
    UNKNOWN_PARAMETER = 110;
    /// A core parameter with a value of the wrong kind.
    BAD_PARAMETER = 111;
    /// An address in `listen` or `alias` that cannot be read.
    BAD_ADDRESS = 112;
    /// A module that does not exist.
    UNKNOWN_MODULE = 120;
    /// A module that is loaded twice.
    MODULE_TWICE = 121;
    /// `modparam` for a module that is not loaded.
    MODPARAM_NO_MODULE = 122;
    /// `modparam` for a parameter that the module does not have.
    MODPARAM_UNKNOWN = 123;
    /// `modparam` with a value of the wrong kind.
    MODPARAM_KIND = 124;
    /// A module that exists elsewhere and is not built in here.
    ABSENT_MODULE = 125;
    /// A parameter that its module has elsewhere, and that has no effect here yet.
    NO_EFFECT = 126;
    /// A function that no module has.
    UNKNOWN_FUNCTION = 201;
    /// A function of a module that is not loaded.
    MODULE_NOT_LOADED = 202;
    /// A call with too few or too many arguments.
    ARGUMENT_COUNT = 203;
    /// An argument of the wrong kind.
    ARGUMENT_KIND = 204;
    /// A function that cannot be called in this kind of route.
    WRONG_ROUTE = 205;
    /// A variable that no module has.
    UNKNOWN_VARIABLE = 206;
    /// A variable that has no value in this kind of route.
    VARIABLE_ROUTE = 207;
    /// A variable that cannot be written.
    READ_ONLY = 208;
    /// A variable with a key too many or too few, or that cannot be read at all.
    VARIABLE_FORM = 209;
    /// A transformation that does not exist.
    UNKNOWN_TRANSFORMATION = 210;
    /// A route that does not exist.
    UNKNOWN_ROUTE = 211;
    /// A route that is there twice.
    ROUTE_TWICE = 212;
    /// A flag that was not declared or is out of range.
    UNKNOWN_FLAG = 213;
    /// A regular expression that cannot be compiled.
    BAD_REGEX = 214;
    /// A bare word that means nothing here.
    UNKNOWN_WORD = 215;
    /// Values that cannot be compared or combined.
    TYPE_CLASH = 216;
    /// A host name that has no address to compare with.
    UNRESOLVED_HOST = 217;
    /// An event that no module announces.
    UNKNOWN_EVENT = 218;
    /// A header that looks like a misspelt one.
    UNKNOWN_HEADER = 219;
    /// A statement that can never run.
    UNREACHABLE = 301;
    /// A route that nothing calls.
    UNUSED_ROUTE = 302;
    /// A script without a route for requests.
    NO_MAIN_ROUTE = 303;
    /// A function that goes by another name now, or should not be used any more.
    DEPRECATED = 304;
    /// A way through the request route that neither answers nor relays.
    UNANSWERED = 305;
    /// A definition that nothing uses.
    UNUSED_DEFINE = 306;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascend() {
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(UNKNOWN_FUNCTION.to_string(), "SCL0201");
    }
}
