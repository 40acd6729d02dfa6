//! Arguments of calls.

use module_api::{Arg, FLAG_COUNT, Fault, Level, OutputVariable, ParamKind, RouteKind, Value};
use smallvec::SmallVec;

use super::evaluate::Scene;
use crate::pattern;
use crate::program::{Argument, CallSite, Source, VariableUse};

/// Evaluated arguments; most calls have fewer than four.
pub(super) type Args = SmallVec<[Arg; 3]>;

impl Scene<'_> {
    /// Evaluates the arguments of a call, taking the computed ones from the stack.
    pub(super) fn arguments(&mut self, site: &CallSite, stack: &mut Vec<Value>) -> Result<Args, Fault> {
        let computed = site.arguments.iter().filter(|argument| matches!(argument, Argument::Stack(_))).count();
        let mut from_stack = stack.split_off(stack.len() - computed).into_iter();
        let mut args = Args::new();
        for argument in &site.arguments {
            args.push(match argument {
                Argument::Constant(arg) => arg.clone(),
                Argument::Text(text, ParamKind::Format | ParamKind::Str) => Arg::Value(Value::Str(self.render(text))),
                Argument::Text(text, kind) => {
                    let text = self.render(text);
                    self.convert(Value::Str(text), *kind)?
                }
                Argument::Read(variable, kind) => {
                    let value = self.read(variable);
                    self.convert(value, *kind)?
                }
                Argument::Stack(kind) => {
                    let value = from_stack.next().unwrap_or_default();
                    self.convert(value, *kind)?
                }
                Argument::Output(variable) => self.output(variable)?,
            });
        }
        Ok(args)
    }

    /// Turns a computed value into what the parameter demands.
    fn convert(&mut self, value: Value, kind: ParamKind) -> Result<Arg, Fault> {
        Ok(match kind {
            ParamKind::Int => Arg::Value(Value::Int(value.to_int())),
            ParamKind::Flag => match value.to_int() {
                number if (0..i64::from(FLAG_COUNT)).contains(&number) => Arg::Value(Value::Int(number)),
                number => return Err(fault(format!("there is no flag {number}"))),
            },
            ParamKind::StatusCode => match value.to_int() {
                number if (100..700).contains(&number) => Arg::Value(Value::Int(number)),
                number => return Err(fault(format!("{number} is not a status code"))),
            },
            ParamKind::Regex => {
                let text = value.to_bytes();
                let compiled = pattern::compile(&String::from_utf8_lossy(&text), pattern::Use::Search);
                Arg::Regex(compiled.map_err(|cause| fault(format!("bad regular expression: {cause}")))?.into())
            }
            ParamKind::Route(kind) => self.route_argument(&value, kind)?,
            _ => Arg::Value(value),
        })
    }

    fn route_argument(&mut self, value: &Value, kind: RouteKind) -> Result<Arg, Fault> {
        let name = value.to_bytes();
        let name = String::from_utf8_lossy(&name);
        match self.program.route(kind, &name) {
            Some(route) => Ok(Arg::Route(route)),
            // The empty name and 0 take an armed route back.
            None if name.is_empty() || name == "0" => Ok(Arg::Value(Value::Null)),
            None => Err(fault(format!("there is no {}[{name}]", kind.as_str()))),
        }
    }

    fn output(&mut self, variable: &VariableUse) -> Result<Arg, Fault> {
        let Source::Module { variable: entry, module } = variable.source else {
            return Err(fault("the variable cannot be written".into()));
        };
        let key = variable.key.as_ref().map(|key| self.render(key));
        let index = self.index(&variable.index);
        let state = self.program.state(module).clone();
        Ok(Arg::Variable(OutputVariable { variable: entry, key, index, state }))
    }

    pub(super) fn report(&mut self, name: &str, fault: &Fault) {
        self.log(Level::Error, &format!("{name}: {}", fault.cause));
    }
}

fn fault(cause: String) -> Fault {
    Fault { code: -1, cause: cause.into() }
}
