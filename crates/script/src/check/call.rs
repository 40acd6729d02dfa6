//! Calls of functions and routes.

use module_api::{Function, ParamKind, RouteKind, Routes, Value};

use super::expression::placeholder;
use super::legacy;
use super::reach::Use;
use super::tree::{Expression, ExpressionKind, Type};
use super::{Checker, title};
use crate::diagnostic::{Diagnostic, codes};
use crate::program::CallSite;
use crate::source::Span;
use crate::syntax::tree as syntax;
use crate::syntax::tree::Word;

impl Checker<'_, '_> {
    pub(super) fn call(&mut self, name: &Word, arguments: &[syntax::Expression], span: Span) -> Expression {
        if name.text == "route" {
            return self.call_route(arguments, span);
        }
        let Some((module, function)) = self.pick(name, arguments.len(), span) else {
            // The arguments may have mistakes of their own.
            for argument in arguments {
                // Functions that are absent may well be what runs a route.
                if let syntax::ExpressionKind::Text(name) = &argument.kind
                    && let Some(route) = self.scope.route(RouteKind::Request, name)
                {
                    self.reach.root(route, RouteKind::Request);
                }
                if !matches!(argument.kind, syntax::ExpressionKind::Word(_)) {
                    self.expression(argument);
                }
            }
            return placeholder(span);
        };
        if let Some(advice) = legacy::advice(function.name).filter(|_| !self.is_ser()) {
            let text = format!("`{}` should not be used any more", function.name);
            self.report(Diagnostic::warning(codes::DEPRECATED, name.span, text).help(advice));
        }
        if function.routes != Routes::ANY {
            let (route, is_guarded) = (self.route, self.conditions > 0);
            let (allowed, name_text) = (function.routes, name.text.clone());
            self.reach.used(Use { route, allowed, name: name_text, is_variable: false, is_guarded, span: name.span });
        }
        let in_xlog = self.scope.module_name(module) == "xlog";
        let mut sources = Vec::new();
        let mut computed = Vec::new();
        for (argument, param) in arguments.iter().zip(function.params) {
            match self.argument(argument, param, function, in_xlog) {
                Some((source, value)) => {
                    sources.push(source);
                    computed.extend(value);
                }
                None => return placeholder(span),
            }
        }
        let site = CallSite { function, module, arguments: sources.into() };
        Expression { kind: ExpressionKind::Call(site, computed), ty: Type::Int, span }
    }

    /// The entry of a function that takes so many arguments.
    fn pick(&mut self, name: &Word, count: usize, span: Span) -> Option<(u16, &'static Function)> {
        let renamed = self.renamed(name);
        let candidates = self.scope.functions(renamed.unwrap_or(&name.text));
        let fits = |function: &Function| (function.required()..=function.params.len()).contains(&count);
        if let Some(found) = candidates.iter().find(|(_, function)| fits(function)) {
            return Some(*found);
        }
        if candidates.is_empty() {
            self.unknown_function(name);
            return None;
        }
        let forms: Vec<String> = candidates.iter().map(|(_, function)| form(function)).collect();
        let plural = if count == 1 { "" } else { "s" };
        let text = format!("`{}` does not take {count} argument{plural}", name.text);
        let found = Diagnostic::error(codes::ARGUMENT_COUNT, span, text);
        self.report(found.help(format!("its form is {}", forms.join(" or "))));
        None
    }

    /// The present name of a function of old.
    fn renamed(&mut self, name: &Word) -> Option<&'static str> {
        if !self.scope.functions(&name.text).is_empty() {
            return None;
        }
        let new = legacy::function(&name.text)?;
        let is_known = !self.scope.functions(new).is_empty();
        if is_known && !self.is_ser() {
            let text = format!("`{}` is called `{new}` now", name.text);
            self.report(Diagnostic::warning(codes::DEPRECATED, name.span, text).help(format!("write `{new}(...)`")));
        }
        is_known.then_some(new)
    }

    fn unknown_function(&mut self, name: &Word) {
        let current = legacy::function(&name.text).unwrap_or(&name.text);
        let mut owners = self.scope.owners_of_function(&name.text);
        if owners.is_empty() {
            owners = self.scope.owners_of_function(current);
        }
        if owners.is_empty() {
            let absent = [name.text.as_str(), current];
            let owner = absent.iter().find_map(|name| self.absent.owner_of_function(name, self.input.options.catalog));
            if let Some(owner) = owner {
                let catalog = self.input.options.catalog;
                return self.absent.name(owner, &name.text, name.span, catalog, self.diagnostics);
            }
        }
        let found = if owners.is_empty() {
            let is_near = crate::diagnostic::closest(&name.text, self.scope.function_names()).is_some();
            if self.absent.may_explain() && !is_near {
                return;
            }
            let text = format!("unknown function `{}`", name.text);
            let found = Diagnostic::error(codes::UNKNOWN_FUNCTION, name.span, text).label("no module has it");
            found.suggest(&name.text, self.scope.function_names())
        } else {
            let text = format!("`{}` belongs to module `{}`, which is not loaded", name.text, owners.join("` or `"));
            let found = Diagnostic::error(codes::MODULE_NOT_LOADED, name.span, text);
            found.help(format!("add `loadmodule \"{}.so\"`", owners[0]))
        };
        self.report(found);
    }

    fn call_route(&mut self, arguments: &[syntax::Expression], span: Span) -> Expression {
        let [argument] = arguments else {
            let text = "`route` takes the name of one route";
            self.report(Diagnostic::error(codes::ARGUMENT_COUNT, span, text));
            return placeholder(span);
        };
        let name = match &argument.kind {
            syntax::ExpressionKind::Int(number) => Some(number.to_string()),
            syntax::ExpressionKind::Word(name) | syntax::ExpressionKind::Address(name) => Some(name.clone()),
            syntax::ExpressionKind::Text(name) if !name.contains('$') => Some(name.clone()),
            _ => None,
        };
        let kind = match name {
            Some(name) => {
                let name = if name == "0" { String::new() } else { name };
                let Some(route) = self.scope.route(RouteKind::Request, &name) else {
                    self.unknown_route(RouteKind::Request, &name, argument.span);
                    return placeholder(span);
                };
                self.reach.call(self.route, route, span);
                ExpressionKind::Route(route)
            }
            None => {
                self.reach.computed_call();
                ExpressionKind::RouteByName(Box::new(self.computed_name(argument)))
            }
        };
        Expression { kind, ty: Type::Int, span }
    }

    /// The name of a route that is only known when it is called.
    fn computed_name(&mut self, argument: &syntax::Expression) -> Expression {
        match &argument.kind {
            syntax::ExpressionKind::Text(text) => match self.text(text, argument.span) {
                Some(text) => Expression { kind: ExpressionKind::Text(text), ty: Type::Text, span: argument.span },
                None => placeholder(argument.span),
            },
            _ => self.expression(argument),
        }
    }

    pub(super) fn unknown_route(&mut self, kind: RouteKind, name: &str, span: Span) {
        let text = format!("there is no {}", title(kind, name));
        let known: Vec<&str> = self.scope.route_names(kind).collect();
        let found = match kind {
            RouteKind::Request => Diagnostic::error(codes::UNKNOWN_ROUTE, span, text),
            // Both families arm a route that is not there, and then nothing runs.
            _ => Diagnostic::warning(codes::UNKNOWN_ROUTE, span, text).label("nothing is armed"),
        };
        let found = found.suggest(name, known.iter().copied());
        let elsewhere = [RouteKind::Request, RouteKind::Failure, RouteKind::TransactionReply, RouteKind::Branch]
            .into_iter()
            .find(|other| *other != kind && self.scope.route(*other, name).is_some());
        self.report(match elsewhere {
            Some(other) => {
                found.note(None, format!("there is a {}, but here a {} is wanted", title(other, name), kind.as_str()))
            }
            None => found,
        });
    }
}

/// `t_reply(code, reason)`, with optional parameters in brackets.
fn form(function: &Function) -> String {
    let params = function.params.iter().map(|param| {
        let name = match param.kind {
            ParamKind::Output => format!("${}", param.name),
            _ => param.name.to_owned(),
        };
        if param.optional { format!("[{name}]") } else { name }
    });
    format!("{}({})", function.name, params.collect::<Vec<_>>().join(", "))
}

/// A constant argument.
pub(super) fn int(number: i64) -> module_api::Arg {
    module_api::Arg::Value(Value::Int(number))
}
