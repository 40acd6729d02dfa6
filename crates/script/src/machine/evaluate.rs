//! Variables, texts and the operations on values.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Arrival, Call, Context, Fault, Host, Index, Level, Matched, Other, SelectedInstances, Selector, Target, Value,
};
use sip_message::Message;

use crate::program::{BoundProgram, IndexUse, Source, Text, TextPiece, VariableUse};
use crate::syntax::tree::Binary;

/// What evaluation works on.
pub(super) struct Scene<'a> {
    pub(super) program: &'a BoundProgram,
    pub(super) context: &'a mut Context,
    pub(super) host: &'a mut dyn Host,
    /// The instruction, for messages.
    pub(super) at: u32,
}

impl Scene<'_> {
    pub(super) fn log(&mut self, level: Level, cause: &str) {
        let text = format!("{}: {cause}", self.program.place(self.at));
        self.host.log(level, text.as_bytes());
    }

    pub(super) fn read(&mut self, variable: &VariableUse) -> Value {
        let mut value = match variable.source {
            Source::ReturnCode => Value::Int(self.context.return_code),
            Source::Null => Value::Null,
            Source::Config(n) => self.config(n),
            Source::Of(other) => self.read_of(other, variable),
            Source::Count => self.count(variable),
            Source::Module { variable: entry, module } => {
                let key = variable.key.as_ref().map(|key| self.render(key));
                let selector = Selector { key: key.as_ref(), index: self.index(&variable.index) };
                let state = self.program.state(module);
                let mut call = Call::new(self.context, self.host, &[], state, self.program.dialect);
                (entry.read)(&mut call, &selector)
            }
        };
        for transform in &variable.transforms {
            // Whatever is undone to nothing is nothing, except where the operation is about just that.
            if value.is_null() && !transform.accepts_null() {
                return Value::Null;
            }
            value = if transform.needs_zone() {
                let zone = self.host.zone(value.to_int());
                transform.apply_in(zone, &value, &mut |text| self.render(text))
            } else {
                transform.apply(value, &mut |text| self.render(text))
            };
        }
        value
    }

    /// A value of the configuration, of the instance that the request selected.
    fn config(&self, n: u32) -> Value {
        let Some(config) = self.program.values.get(n as usize) else { return Value::Null };
        if !config.instances.is_empty() {
            let selected = self.context.note::<SelectedInstances>();
            let id = selected.and_then(|all| all.0.iter().find(|(group, _)| *group == config.group));
            let own = id.and_then(|(_, id)| config.instances.iter().find(|(instance, _)| instance == id));
            if let Some((_, value)) = own {
                return value.clone();
            }
        }
        config.value.clone()
    }

    /// Reads the variable in the key with another message in the place of the one at hand.
    fn read_of(&mut self, other: Other, variable: &VariableUse) -> Value {
        let Some(Text::Pieces(pieces)) = &variable.key else { return Value::Null };
        let [TextPiece::Variable(inner)] = pieces.as_ref() else { return Value::Null };
        let Some((message, arrival)) = self.other(other) else { return Value::Null };
        let target = match message.is_request() {
            true => Target::new(message.slice(message.request_uri_span())),
            false => self.context.target.clone(),
        };
        let message = std::mem::replace(&mut self.context.message, message);
        let target = std::mem::replace(&mut self.context.target, target);
        let arrival = arrival.map(|arrival| std::mem::replace(&mut self.context.arrival, arrival));
        let value = self.read(inner);
        self.context.message = message;
        self.context.target = target;
        if let Some(arrival) = arrival {
            self.context.arrival = arrival;
        }
        value
    }

    /// How many values the variable of a variable's key has: those that are counted from 0, or one.
    fn count(&mut self, variable: &VariableUse) -> Value {
        let Some(Text::Pieces(pieces)) = &variable.key else { return Value::Null };
        let [TextPiece::Variable(inner)] = pieces.as_ref() else { return Value::Null };
        let has_many = matches!(
            inner.source,
            Source::Module { variable: entry, .. } if matches!(entry.name, "avp" | "xavp" | "xavu" | "xavi")
        );
        if !has_many {
            return Value::Int((!self.read(inner).is_null()).into());
        }
        let mut inner = inner.clone();
        let is_there = |n: i64, machine: &mut Self| {
            inner.index = IndexUse::Fixed(Index::At(n));
            !machine.read(&inner).is_null()
        };
        let mut is_there = is_there;
        Value::Int((0..MOST_COUNTED).find(|n| !is_there(*n, self)).unwrap_or(MOST_COUNTED))
    }

    /// A message beside the one at hand, and where it came from as far as that is known.
    fn other(&mut self, other: Other) -> Option<(Arc<Message>, Option<Arrival>)> {
        match other {
            Other::Reply if !self.context.message.is_request() => Some((Arc::clone(&self.context.message), None)),
            Other::Reply => Some((self.context.reply.clone()?, None)),
            Other::Request => {
                let standing = self.host.standing(self.context);
                let standing = standing.and_then(|standing| Some((standing.request?, standing.request_arrival)));
                standing.or_else(|| Some((self.context.request.clone()?, None)))
            }
            Other::Invite => {
                let Matched::Cancel(key) = self.host.matched(self.context) else { return None };
                let own = self.context.transaction.replace(key);
                let standing = self.host.standing(self.context);
                self.context.transaction = own;
                let standing = standing?;
                Some((standing.request?, standing.request_arrival))
            }
        }
    }

    pub(super) fn write(&mut self, variable: &VariableUse, value: Value) -> Result<(), Fault> {
        let Source::Module { variable: entry, module } = variable.source else { return Ok(()) };
        let Some(write) = entry.write else { return Ok(()) };
        let key = variable.key.as_ref().map(|key| self.render(key));
        let selector = Selector { key: key.as_ref(), index: self.index(&variable.index) };
        let state = self.program.state(module);
        let mut call = Call::new(self.context, self.host, &[], state, self.program.dialect);
        write(&mut call, &selector, value)
    }

    pub(super) fn index(&mut self, index: &IndexUse) -> Index {
        match index {
            IndexUse::Fixed(index) => *index,
            IndexUse::Computed(text) => {
                let text = self.render(text);
                if text.as_ref() == b"*" { Index::All } else { Index::At(Value::Str(text).to_int()) }
            }
        }
    }

    pub(super) fn render(&mut self, text: &Text) -> Bytes {
        match text {
            Text::Constant(text) => text.clone(),
            Text::Pieces(pieces) => {
                // A single variable needs no buffer.
                if let [TextPiece::Variable(variable)] = pieces.as_ref() {
                    let value = self.read(variable);
                    return match value {
                        Value::Str(text) => text,
                        other => shown(&other),
                    };
                }
                let mut out = Vec::with_capacity(64);
                for piece in pieces {
                    match piece {
                        TextPiece::Text(text) => out.extend_from_slice(text),
                        TextPiece::Variable(variable) => self.read(variable).show(&mut out),
                    }
                }
                Bytes::from(out)
            }
        }
    }

    /// Applies a binary operator to two values. Division by zero gives undefined, and a line in the log.
    pub(super) fn binary(&mut self, operator: Binary, left: &Value, right: &Value) -> Value {
        let (a, b) = (left.to_int(), right.to_int());
        let yes = |yes: bool| Value::Int(i64::from(yes));
        match operator {
            Binary::Equal => yes(super::compare::equal(left, right)),
            Binary::NotEqual => yes(!super::compare::equal(left, right)),
            Binary::TextEqual => yes(left.to_bytes() == right.to_bytes()),
            Binary::TextNotEqual => yes(left.to_bytes() != right.to_bytes()),
            Binary::IntEqual => yes(a == b),
            Binary::IntNotEqual => yes(a != b),
            Binary::Less => yes(a < b),
            Binary::LessEqual => yes(a <= b),
            Binary::Greater => yes(a > b),
            Binary::GreaterEqual => yes(a >= b),
            // The left side decides whether `+` adds or joins.
            Binary::Add => match left {
                Value::Str(text) => join(text, right),
                Value::Null if matches!(right, Value::Str(_)) => right.clone(),
                _ => Value::Int(a.wrapping_add(b)),
            },
            Binary::Subtract => Value::Int(a.wrapping_sub(b)),
            Binary::Multiply => Value::Int(a.wrapping_mul(b)),
            Binary::Divide => self.divide(a.checked_div(b)),
            Binary::Remainder => self.divide(a.checked_rem(b)),
            Binary::BitOr => Value::Int(a | b),
            Binary::BitAnd => Value::Int(a & b),
            Binary::BitXor => Value::Int(a ^ b),
            Binary::ShiftLeft => Value::Int(a.wrapping_shl(b as u32)),
            Binary::ShiftRight => Value::Int(a.wrapping_shr(b as u32)),
            // These three have instructions of their own.
            Binary::Or => yes(a > 0 || b > 0),
            Binary::And => yes(a > 0 && b > 0),
            Binary::Matches => self.match_text(left, right),
        }
    }

    fn divide(&mut self, result: Option<i64>) -> Value {
        if result.is_none() {
            self.log(Level::Error, "division by zero");
        }
        result.map_or(Value::Null, Value::Int)
    }

    /// `=~` with a pattern that is only known now.
    pub(super) fn match_text(&mut self, subject: &Value, pattern: &Value) -> Value {
        let pattern = pattern.to_bytes();
        let compiled = crate::pattern::compile(&String::from_utf8_lossy(&pattern), crate::pattern::Use::Operator);
        match compiled {
            Ok(regex) => Value::Int(i64::from(regex.is_match(&subject.to_bytes()))),
            Err(cause) => {
                self.log(Level::Error, &format!("bad regular expression: {cause}"));
                Value::Int(0)
            }
        }
    }
}

/// What a format string shows for one value.
fn shown(value: &Value) -> Bytes {
    let mut out = Vec::new();
    value.show(&mut out);
    Bytes::from(out)
}

/// How long a string may grow by joining; a loop that doubles one must not eat the memory.
/// As many as a request has room for.
const MOST_COUNTED: i64 = 1024;

const LONGEST: usize = 1 << 20;

fn join(text: &Bytes, right: &Value) -> Value {
    let right = right.to_bytes();
    if right.is_empty() {
        return Value::Str(text.clone());
    }
    let mut out = Vec::with_capacity(text.len() + right.len());
    out.extend_from_slice(text);
    out.extend_from_slice(&right);
    out.truncate(LONGEST);
    Value::Str(Bytes::from(out))
}
