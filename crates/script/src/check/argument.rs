//! Arguments of calls, against the kinds that the function declares.

use bytes::Bytes;
use module_api::{Arg, FLAG_COUNT, Function, Param, ParamKind, RouteKind, Value};

use super::Checker;
use super::call::int;
use super::expression::named_number;
use super::tree::Expression;
use crate::diagnostic::{Diagnostic, codes, is_slip};
use crate::pattern;
use crate::program::{Argument, Text};
use crate::source::Span;
use crate::syntax::tree::{Expression as Tree, ExpressionKind as Syntax, Word};

/// Where the argument comes from, and what must be computed before the call.
type Checked = (Argument, Option<Expression>);

/// What an argument belongs to, for messages.
#[derive(Clone, Copy)]
struct Slot<'a> {
    param: &'a Param,
    function: &'a Function,
    span: Span,
}

impl Checker<'_, '_> {
    pub(super) fn argument(
        &mut self,
        tree: &Tree,
        param: &Param,
        function: &Function,
        in_xlog: bool,
    ) -> Option<Checked> {
        let slot = Slot { param, function, span: tree.span };
        match &tree.kind {
            Syntax::Variable(text) if param.kind == ParamKind::Output => self.output(text, slot),
            Syntax::Variable(text) => {
                let variable = self.variable(text, tree.span)?;
                self.note_computed_route(param.kind);
                Some((Argument::Read(variable, param.kind), None))
            }
            Syntax::Text(text) => self.quoted(text, slot, in_xlog),
            Syntax::Int(number) => self.number(*number, slot),
            Syntax::Word(word) => self.bare(word, slot),
            Syntax::Address(text) => self.address(text, slot),
            Syntax::Call { name, .. } => {
                let text = format!("`{}()` cannot be called inside of another call", name.text);
                let found = Diagnostic::error(codes::ARGUMENT_KIND, tree.span, text);
                self.report(found.help("put its result into a variable first: `$var(x) = f();`"));
                None
            }
            _ if matches!(param.kind, ParamKind::Output) => self.wrong(slot, "a variable"),
            _ => {
                self.note_computed_route(param.kind);
                let value = self.expression(tree);
                Some((Argument::Stack(param.kind), Some(value)))
            }
        }
    }

    /// A route whose name is computed may be any.
    fn note_computed_route(&mut self, kind: ParamKind) {
        if kind == ParamKind::Route(RouteKind::Request) {
            self.reach.computed_call();
        }
    }

    fn wrong(&mut self, slot: Slot<'_>, expected: &str) -> Option<Checked> {
        let text = format!("argument `{}` of `{}` must be {expected}", slot.param.name, slot.function.name);
        let found = Diagnostic::error(codes::ARGUMENT_KIND, slot.span, text);
        self.report(found.help(format!("for instance `{}`", slot.function.example)));
        None
    }

    fn output(&mut self, text: &str, slot: Slot<'_>) -> Option<Checked> {
        let target = self.target(&Word { text: text.to_owned(), span: slot.span })?;
        Some((Argument::Output(target), None))
    }

    fn number(&mut self, number: i64, slot: Slot<'_>) -> Option<Checked> {
        let arg = match slot.param.kind {
            ParamKind::Int => int(number),
            ParamKind::StatusCode if (100..700).contains(&number) => int(number),
            ParamKind::StatusCode => return self.wrong(slot, "a status code from 100 to 699"),
            ParamKind::Flag if (0..i64::from(FLAG_COUNT)).contains(&number) => int(number),
            ParamKind::Flag => return self.no_flag(&number.to_string(), slot),
            ParamKind::Route(kind) => return self.route_name(kind, &number.to_string(), slot),
            ParamKind::Output => return self.wrong(slot, "a variable"),
            _ => text(number.to_string()),
        };
        constant(arg)
    }

    /// A string in quotes.
    fn quoted(&mut self, written: &str, slot: Slot<'_>, in_xlog: bool) -> Option<Checked> {
        let kind = slot.param.kind;
        if kind == ParamKind::Header {
            self.header(written, slot.span);
        }
        // A route that goes on later is found by its name at run time; one whose name is computed may be any.
        if kind == ParamKind::Format && slot.param.name == "route" {
            match self.scope.route(RouteKind::Request, written).filter(|_| !written.is_empty()) {
                Some(route) => self.reach.root(route, RouteKind::Request),
                None if written.contains('$') => self.reach.computed_call(),
                None => {}
            }
        }
        match kind {
            ParamKind::Str | ParamKind::Options => return constant(text(written.to_owned())),
            ParamKind::Format if self.is_ser() && !in_xlog => return constant(text(written.to_owned())),
            ParamKind::Format => {
                let text =
                    if self.is_ser() { self.percent_text(written, slot.span)? } else { self.text(written, slot.span)? };
                return Some(from_text(text, kind));
            }
            ParamKind::Regex => return self.regex(written, slot),
            ParamKind::Output if written.starts_with('$') => return self.output(written, slot),
            ParamKind::Output => return self.wrong(slot, "a variable"),
            _ => {}
        }
        // Kamailio expands variables in most strings, and numbers may come from one.
        if !self.is_ser() && written.contains('$') {
            let text = self.text(written, slot.span)?;
            self.note_computed_route(kind);
            return Some(from_text(text, kind));
        }
        match kind {
            ParamKind::Int | ParamKind::StatusCode => match parse(written) {
                Some(number) => self.number(number, slot),
                None if kind == ParamKind::Int => self.wrong(slot, "a number"),
                None => self.wrong(slot, "a status code from 100 to 699"),
            },
            ParamKind::Flag => match parse(written).or_else(|| self.scope.flag(written)) {
                Some(number) => self.number(number, slot),
                None => self.no_flag(written, slot),
            },
            ParamKind::Route(kind) => self.route_name(kind, written, slot),
            _ => constant(text(written.to_owned())),
        }
    }

    /// A word without quotes.
    fn bare(&mut self, word: &str, slot: Slot<'_>) -> Option<Checked> {
        let number = named_number(word);
        match slot.param.kind {
            ParamKind::Flag => match self.scope.flag(word) {
                Some(number) => constant(int(number)),
                None => self.no_flag(word, slot),
            },
            ParamKind::Int | ParamKind::StatusCode => match number.or_else(|| self.scope.flag(word)) {
                Some(number) => self.number(number, slot),
                None if word.starts_with("uri:") => constant(text(word.to_owned())),
                None => {
                    self.unknown_word(word, slot.span);
                    None
                }
            },
            ParamKind::Route(kind) => self.route_name(kind, word, slot),
            ParamKind::HostPort | ParamKind::Methods | ParamKind::Header | ParamKind::Options => {
                constant(text(word.to_owned()))
            }
            ParamKind::Output => self.wrong(slot, "a variable"),
            ParamKind::Regex => self.wrong(slot, "a regular expression in quotes"),
            ParamKind::Str | ParamKind::Format => self.bare_text(word, slot),
        }
    }

    /// A bare word where a string is wanted: only names that mean something pass.
    fn bare_text(&mut self, word: &str, slot: Slot<'_>) -> Option<Checked> {
        let is_known = word.starts_with("uri:")
            || word.starts_with("L_")
            || named_number(word).is_some()
            || self.scope.flag(word).is_some()
            || sip_message::Transport::from_token(word.as_bytes()).is_some();
        if is_known {
            return constant(text(word.to_owned()));
        }
        if let Some(value) = self.operand(word, slot.span) {
            return Some((Argument::Stack(slot.param.kind), Some(value)));
        }
        self.unknown_word(word, slot.span);
        None
    }

    /// The name of a header, which may be a slip of the finger.
    pub(super) fn header(&mut self, name: &str, span: Span) {
        if HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return;
        }
        let Some(meant) = HEADERS.iter().find(|known| is_slip(&name.to_ascii_lowercase(), &known.to_ascii_lowercase()))
        else {
            return;
        };
        let text = format!("no header is known as `{name}`");
        self.report(Diagnostic::warning(codes::UNKNOWN_HEADER, span, text).help(format!("did you mean `{meant}`?")));
    }

    fn address(&mut self, written: &str, slot: Slot<'_>) -> Option<Checked> {
        match slot.param.kind {
            ParamKind::HostPort | ParamKind::Str | ParamKind::Format | ParamKind::Options => {
                constant(text(written.to_owned()))
            }
            ParamKind::Int | ParamKind::Flag | ParamKind::StatusCode => self.wrong(slot, "a number"),
            ParamKind::Output => self.wrong(slot, "a variable"),
            _ => self.wrong(slot, "a string in quotes"),
        }
    }

    fn regex(&mut self, written: &str, slot: Slot<'_>) -> Option<Checked> {
        match pattern::compile(written, pattern::Use::Search) {
            Ok(regex) => constant(Arg::Regex(regex.into())),
            Err(cause) => {
                self.bad_regex(written, &cause, slot.span);
                None
            }
        }
    }

    /// The empty name and 0 stand for none: they take an armed route back.
    fn route_name(&mut self, kind: RouteKind, name: &str, slot: Slot<'_>) -> Option<Checked> {
        if let Some(route) = self.scope.route(kind, name).filter(|_| !name.is_empty()) {
            self.reach.root(route, kind);
            return constant(Arg::Route(route));
        }
        if name.is_empty() || name == "0" {
            return constant(Arg::Value(Value::Null));
        }
        self.unknown_route(kind, name, slot.span);
        if kind == RouteKind::Request { None } else { constant(Arg::Value(Value::Null)) }
    }

    fn no_flag(&mut self, name: &str, slot: Slot<'_>) -> Option<Checked> {
        let found = Diagnostic::error(codes::UNKNOWN_FLAG, slot.span, format!("unknown flag `{name}`"));
        let found = found.suggest(name, self.scope.flag_names());
        let help = "flags are numbers from 0 to 31, or names declared by `flags NAME:n`";
        self.report(if found.help.is_none() { found.help(help) } else { found });
        None
    }
}

/// Whether a header of that name is in common use.
pub(super) fn is_header(name: &str) -> bool {
    HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Headers of RFC 3261 and of extensions that scripts deal with; any other name may be the script's own.
const HEADERS: &[&str] = &[
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Allow-Events",
    "Authorization",
    "Call-ID",
    "Call-Info",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Date",
    "Diversion",
    "Error-Info",
    "Event",
    "Expires",
    "From",
    "Geolocation",
    "Identity",
    "In-Reply-To",
    "Max-Forwards",
    "Min-Expires",
    "Min-SE",
    "MIME-Version",
    "Organization",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Reason",
    "Record-Route",
    "Refer-To",
    "Referred-By",
    "Remote-Party-ID",
    "Replaces",
    "Reply-To",
    "Require",
    "Retry-After",
    "Route",
    "RSeq",
    "Server",
    "Service-Route",
    "Session-Expires",
    "Session-ID",
    "SIP-ETag",
    "SIP-If-Match",
    "Subject",
    "Subscription-State",
    "Supported",
    "Timestamp",
    "To",
    "Unsupported",
    "User-Agent",
    "Via",
    "Warning",
    "WWW-Authenticate",
];

fn text(text: String) -> Arg {
    Arg::Value(Value::Str(Bytes::from(text)))
}

fn constant(arg: Arg) -> Option<Checked> {
    Some((Argument::Constant(arg), None))
}

fn from_text(text: Text, kind: ParamKind) -> Checked {
    match text {
        Text::Constant(text) if matches!(kind, ParamKind::Format) => {
            (Argument::Constant(Arg::Value(Value::Str(text))), None)
        }
        text => (Argument::Text(text, kind), None),
    }
}

/// A number in a string: decimal or `0x`.
fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
