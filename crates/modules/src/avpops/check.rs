//! `avp_check()` and `avp_op()`: comparing values and calculating with them.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use regex::bytes::RegexBuilder;

use super::name::{Flags, Which, no_attribute};
use super::text_of;
use crate::glob;
use crate::text_variable::TextVariable;

pub(super) const CHECK: Function = Function {
    name: "avp_check",
    params: &[Param::required("name", ParamKind::Str), Param::required("comparison", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Compares the newest value of an attribute, or that of another variable: OPERATOR/VALUE/FLAGS with eq, ne, lt, le, gt, \
          ge, re (regular expression), fm (shell pattern), and, or, xor (bits). The value is a variable, i:NUMBER, s:TEXT or \
          a text. Flag g: any of the attribute's values will do; i: whatever the case.",
    example: "if (avp_check(\"$avp(tries)\", \"gt/i:3\")) xlog(\"too many\\n\");",
    run: |call| {
        let (name, rule) = (text_of(call, 0), text_of(call, 1));
        match check(call, &name, &rule) {
            Ok(is_so) => is_so.into(),
            Err(cause) => Outcome::fail(format!("avp_check: {cause}")),
        }
    },
};

pub(super) const OPERATE: Function = Function {
    name: "avp_op",
    params: &[Param::required("names", ParamKind::Str), Param::required("operation", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Calculates with the number of an attribute, \"$avp(a)\" or \"$avp(a)/$avp(b)\" for a result of its own: \
          OPERATOR/VALUE/FLAGS with add, sub, mul, div, mod, and, or, xor, not. Flag g: all values; d: the first attribute is \
          removed.",
    example: "avp_op(\"$avp(tries)\", \"add/i:1\");",
    run: |call| {
        let (names, rule) = (text_of(call, 0), text_of(call, 1));
        match operate(call, &names, &rule) {
            Ok(is_so) => is_so.into(),
            Err(cause) => Outcome::fail(format!("avp_op: {cause}")),
        }
    },
};

/// `OPERATOR/VALUE/FLAGS`. The value may hold slashes, as patterns do: flags are letters behind the last of them.
struct Rule<'a> {
    operator: &'a str,
    value: &'a str,
    flags: Flags,
}

impl Rule<'_> {
    fn parse(text: &str) -> Result<Rule<'_>, String> {
        let (operator, rest) = text.split_once('/').unwrap_or((text, ""));
        let with_flags = rest.rsplit_once('/').and_then(|(value, flags)| {
            let is_flags = flags.len() <= 3 && flags.bytes().all(|letter| b"gGiIdD".contains(&letter));
            is_flags.then(|| Flags::parse(flags)).flatten().map(|flags| (value, flags))
        });
        let (value, flags) = with_flags.unwrap_or((rest, Flags::default()));
        Ok(Rule { operator, value, flags })
    }

    fn value(&self, call: &mut Call<'_>) -> Result<Value, String> {
        if let Some(number) = self.value.strip_prefix("i:") {
            let value = Value::Str(Bytes::copy_from_slice(number.as_bytes()));
            let is_number = number.parse::<i64>().is_ok() || number.starts_with("0x");
            return is_number.then(|| Value::Int(value.to_int())).ok_or_else(|| format!("`{number}` is not a number"));
        }
        if self.value.starts_with('$') && self.operator != "re" || self.value.starts_with("$avp(") {
            return Ok(TextVariable::parse(self.value)?.read(call));
        }
        let text = self.value.strip_prefix("s:").unwrap_or(self.value);
        Ok(Value::Str(Bytes::copy_from_slice(text.as_bytes())))
    }
}

fn check(call: &mut Call<'_>, name: &str, rule: &str) -> Result<bool, String> {
    let rule = Rule::parse(rule)?;
    let right = rule.value(call)?;
    let left: Vec<Value> = match Which::parse(name) {
        Some(Which::One(name)) if !name.is_empty() && !is_other_variable(name.as_ref(), call) => {
            let most = if rule.flags.has(b'g') { usize::MAX } else { 1 };
            call.context.avps.all(&name).take(most).cloned().collect()
        }
        _ => vec![TextVariable::parse(name)?.read(call)],
    };
    let compare = comparison(&rule, &right)?;
    Ok(left.iter().any(compare))
}

/// A bare `$ru` is no attribute.
fn is_other_variable(name: &[u8], call: &Call<'_>) -> bool {
    name.starts_with(b"$")
        || (call.arg_count() > 0 && call.text(0).starts_with(b"$") && !call.text(0).starts_with(b"$avp("))
}

/// Whether a value passes a rule.
type Check = Box<dyn Fn(&Value) -> bool>;

fn comparison(rule: &Rule<'_>, right: &Value) -> Result<Check, String> {
    let folds = rule.flags.has(b'i');
    let fold = move |value: &Value| match folds {
        true => value.to_bytes().to_ascii_lowercase(),
        false => value.to_bytes().to_vec(),
    };
    let (text, number, is_number) = (fold(right), right.to_int(), matches!(right, Value::Int(_)));
    // Numbers with numbers, texts with texts; what is not of one kind is not equal.
    let order = move |left: &Value| match (left, is_number) {
        (Value::Null, _) => None,
        (Value::Int(left), true) => Some(left.cmp(&number)),
        (Value::Str(_), false) => Some(fold(left).cmp(&text)),
        (left, true) => left.to_bytes().iter().all(u8::is_ascii_digit).then(|| left.to_int().cmp(&number)),
        (left, false) => Some(fold(left).cmp(&text)),
    };
    Ok(match rule.operator {
        "eq" => Box::new(move |left| order(left).is_some_and(|order| order.is_eq())),
        "ne" => Box::new(move |left| order(left).is_none_or(|order| order.is_ne())),
        "lt" => Box::new(move |left| order(left).is_some_and(|order| order.is_lt())),
        "le" => Box::new(move |left| order(left).is_some_and(|order| order.is_le())),
        "gt" => Box::new(move |left| order(left).is_some_and(|order| order.is_gt())),
        "ge" => Box::new(move |left| order(left).is_some_and(|order| order.is_ge())),
        "and" => Box::new(move |left| left.to_int() & number != 0),
        "or" => Box::new(move |left| left.to_int() | number != 0),
        "xor" => Box::new(move |left| left.to_int() ^ number != 0),
        "re" => {
            let pattern = String::from_utf8_lossy(&right.to_bytes()).into_owned();
            let regex = RegexBuilder::new(&pattern).case_insensitive(folds).unicode(false).size_limit(1 << 20).build();
            let regex = regex.map_err(|_| format!("`{pattern}` is no regular expression"))?;
            Box::new(move |left| !left.is_null() && regex.is_match(&left.to_bytes()))
        }
        "fm" => {
            let pattern = fold(right);
            Box::new(move |left| !left.is_null() && glob::matches(&fold(left), &pattern))
        }
        other => return Err(format!("`{other}` is none of eq, ne, lt, le, gt, ge, re, fm, and, or and xor")),
    })
}

fn operate(call: &mut Call<'_>, names: &str, rule: &str) -> Result<bool, String> {
    let rule = Rule::parse(rule)?;
    let right = rule.value(call)?.to_int();
    let (from, to) = names.split_once('/').map_or((names, None), |(from, to)| (from, Some(to)));
    let attribute = |text: &str| Which::parse(text).and_then(Which::one).ok_or_else(|| no_attribute(text));
    let from = attribute(from)?;
    let to = to.map(attribute).transpose()?;
    let most = if rule.flags.has(b'g') { usize::MAX } else { 1 };
    let numbers: Vec<i64> = call.context.avps.all(&from).take(most).map(Value::to_int).collect();
    let mut results = Vec::with_capacity(numbers.len());
    for left in numbers {
        results.push(calculate(rule.operator, left, right)?);
    }
    let is_any = !results.is_empty();
    match to {
        None => {
            for (at, result) in results.into_iter().enumerate() {
                call.context.avps.set_at(&from, at, Value::Int(result));
            }
        }
        Some(to) => {
            let has_room =
                results.into_iter().rev().all(|result| call.context.avps.push(to.clone(), Value::Int(result)));
            if !has_room {
                return Err("there are too many attributes".into());
            }
            if rule.flags.has(b'd') {
                call.context.avps.remove(&from);
            }
        }
    }
    Ok(is_any)
}

fn calculate(operator: &str, left: i64, right: i64) -> Result<i64, String> {
    let zero = || "division by zero".to_owned();
    Ok(match operator {
        "add" => left.wrapping_add(right),
        "sub" => left.wrapping_sub(right),
        "mul" => left.wrapping_mul(right),
        "div" => left.checked_div(right).ok_or_else(zero)?,
        "mod" => left.checked_rem(right).ok_or_else(zero)?,
        "and" => left & right,
        "or" => left | right,
        "xor" => left ^ right,
        "not" => !left,
        other => return Err(format!("`{other}` is none of add, sub, mul, div, mod, and, or, xor and not")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, started, text};

    fn bench() -> Bench {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        for (name, value) in
            [("n", Value::Int(7)), ("n", Value::Int(3)), ("s", text("sip:Bob@bar.net")), ("p", text("*bar*"))]
        {
            bench.context.avps.push(Bytes::copy_from_slice(name.as_bytes()), value);
        }
        bench
    }

    #[test]
    fn values_are_compared() {
        for (name, rule, expected) in [
            ("$avp(n)", "eq/i:3", 1),
            ("$avp(n)", "gt/i:5", -1),
            ("$avp(n)", "gt/i:5/g", 1),
            ("$avp(n)", "and/i:0x2", 1),
            ("$avp(s)", "eq/sip:bob@bar.net", -1),
            ("$avp(s)", "eq/sip:bob@bar.net/i", 1),
            ("$avp(s)", "re/sip:.*@bar.net/g", 1),
            ("$avp(s)", "fm/$avp(p)/g", 1),
            ("$avp(s)", "fm/*foo*", -1),
            ("$fU", "eq/alice", 1),
            ("$fd", "ne/$td/I", -1),
            ("$avp(none)", "eq/x", -1),
            ("$avp(s)", "re/(", -1),
            ("$avp(s)", "like/x", -1),
        ] {
            assert_eq!(bench().run(&MODULE, "avp_check", &[name, rule]), expected, "{name} {rule}");
        }
    }

    #[test]
    fn numbers_are_calculated() {
        let mut bench = bench();
        assert_eq!(bench.run(&MODULE, "avp_op", &["$avp(n)", "add/i:1"]), 1);
        assert_eq!(bench.run(&MODULE, "avp_op", &["$avp(n)/$avp(m)", "mul/$avp(n)/g"]), 1);
        let all = |bench: &Bench, name: &[u8]| bench.context.avps.all(name).map(Value::to_int).collect::<Vec<_>>();
        assert_eq!((all(&bench, b"n"), all(&bench, b"m")), (vec![4, 7], vec![16, 28]));
        assert_eq!(bench.run(&MODULE, "avp_op", &["$avp(n)", "div/i:0"]), -1);
        assert_eq!(bench.run(&MODULE, "avp_op", &["$avp(none)", "add/i:1"]), -1);
    }
}
