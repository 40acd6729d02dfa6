//! `$var`, `$avp`, `$shv`: values of the script's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use module_api::{
    Answer, ArgumentKind, Call, Command, CommandParam, Data, Fault, Index, KeyRule, Routes, Selector, Setup,
    SetupError, State, Statistics, Value, Variable,
};

use super::header::nth;
use super::plain;

pub(super) const VAR: Variable = Variable {
    name: "var",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A variable of this run of the script; 0 until it is assigned, and again after $null.",
    example: "$var(tries) = $var(tries) + 1;",
    read: |call, selector| call.context.vars.first(selector.key()).cloned().unwrap_or(Value::Int(0)),
    write: Some(|call, selector, value| {
        let name = selector.key.cloned().unwrap_or_default();
        match value {
            Value::Null => call.context.vars.remove(&name),
            value => call.context.vars.replace(name, value),
        }
        Ok(())
    }),
};

pub(super) const AVP: Variable = Variable {
    name: "avp",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "An attribute that follows the transaction. Assigning pushes on a stack, $(avp(x)[*]) replaces it, $null empties \
          it; reading gives the newest value.",
    example: "$avp(caller) = $fU;",
    read: read_avp,
    write: Some(write_avp),
};

pub(super) const SHARED: Variable = Variable {
    name: "shv",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A variable that all requests share, until the server ends; 0 until it is assigned.",
    example: "$shv(maintenance) = 1;",
    read: |call, selector| {
        let shared = call.state::<Shared>().values.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get(selector.key()).cloned().unwrap_or(Value::Int(0))
    },
    write: Some(|call, selector, value| {
        let mut shared = call.state::<Shared>().values.lock().unwrap_or_else(PoisonError::into_inner);
        let name = selector.key.cloned().unwrap_or_default();
        // A name may come from a message, so their number is bounded.
        if shared.len() >= MAX_SHARED && !shared.contains_key(&name) {
            return Err(Fault { code: -1, cause: "too many shared variables".into() });
        }
        match value {
            Value::Null => shared.remove(&name),
            value => shared.insert(name, value),
        };
        Ok(())
    }),
};

pub(super) const SHARED_INCREMENT: Variable = Variable {
    name: "shvinc",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "Adds one to a shared variable and gives what it is then, in one step.",
    example: "$var(calls) = $shvinc(calls);",
    read: |call, selector| {
        let mut shared = call.state::<Shared>().values.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.len() >= MAX_SHARED && !shared.contains_key(selector.key()) {
            return Value::Null;
        }
        let value = shared.entry(selector.key.cloned().unwrap_or_default()).or_insert(Value::Int(0));
        *value = Value::Int(value.to_int().wrapping_add(1));
        value.clone()
    },
    write: None,
};

/// As `$var`, but undefined until it is assigned.
pub(super) const UNSET_VAR: Variable = Variable {
    name: "vn",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A variable of this run of the script; undefined until it is assigned, and again after $null.",
    example: "$vn(found) = $null;",
    read: |call, selector| call.context.vars.first(&unset_name(selector)).cloned().unwrap_or_default(),
    write: Some(|call, selector, value| {
        let name = unset_name(selector);
        match value {
            Value::Null => call.context.vars.remove(&name),
            value => call.context.vars.replace(name.into(), value),
        }
        Ok(())
    }),
};

/// `$vn(x)` is another variable than `$var(x)`: no name in a script holds this octet.
fn unset_name(selector: &Selector<'_>) -> Vec<u8> {
    [b"\0", selector.key()].concat()
}

pub(super) const NULL: Variable =
    plain("null", "Undefined: nothing equals it but what is not defined.", "if ($avp(x) == $null) exit;", |_, _| {
        Value::Null
    });

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "pv.shvGet",
        params: &[CommandParam::optional("name", ArgumentKind::Str, "The variable; all without it.")],
        doc: "Shows shared variables, $shv().",
        result: "`name` and `value`, or a list of them; error 404 when there is no such variable.",
        example: "pv.shvGet maintenance",
        run: |call| {
            let shared = call.state::<Shared>().values.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = |(name, value): (&Bytes, &Value)| {
                let value = match value {
                    Value::Int(number) => (*number).into(),
                    value => Data::text(&value.to_bytes()),
                };
                Data::of([("name", Data::text(name)), ("value", value)])
            };
            match call.text(0) {
                None => shared.iter().map(shown).collect::<Data>().into(),
                Some(name) => match shared.get_key_value(name.as_bytes()) {
                    Some(found) => shown(found).into(),
                    None => Answer::error(404, "there is no such shared variable"),
                },
            }
        },
        ..Command::EMPTY
    },
    Command {
        name: "pv.shvSet",
        params: &[
            CommandParam::required("name", ArgumentKind::Str, "The variable."),
            CommandParam::required("type", ArgumentKind::Str, "`int` or `str`."),
            CommandParam::required("value", ArgumentKind::Str, "Its new value."),
        ],
        doc: "Sets a shared variable, $shv().",
        result: "nothing.",
        example: "pv.shvSet maintenance int 1",
        run: |call| {
            let [name, kind, text] = [0, 1, 2].map(|n| call.text(n).unwrap_or_default());
            let value = match kind {
                "int" | "i" => match text.trim().parse() {
                    Ok(number) => Value::Int(number),
                    Err(_) => return Answer::error(400, "argument `value` is no integer"),
                },
                "str" | "s" => Value::Str(Bytes::copy_from_slice(text.as_bytes())),
                _ => return Answer::error(400, "argument `type` is `int` or `str`"),
            };
            let mut shared = call.state::<Shared>().values.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.len() >= MAX_SHARED && !shared.contains_key(name.as_bytes()) {
                return Answer::error(507, "there are too many shared variables");
            }
            shared.insert(Bytes::copy_from_slice(name.as_bytes()), value);
            Data::Null.into()
        },
        ..Command::EMPTY
    },
];

const MAX_SHARED: usize = 10_000;

/// Values that all requests share, and what was found out at the start.
pub(super) struct Shared {
    values: Mutex<HashMap<Bytes, Value>>,
    /// The name of this host.
    pub(super) host_name: String,
    /// When the server started, in seconds since 1970.
    pub(super) started: i64,
    /// What the server counts.
    pub(super) statistics: Statistics,
}

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let mut shared = HashMap::new();
    for line in setup.list("shvset") {
        let (name, value) = first_value(&line).ok_or_else(|| SetupError::Setting {
            name: "shvset",
            cause: format!("`{}` is not NAME=s:TEXT or NAME=i:NUMBER", String::from_utf8_lossy(&line)),
        })?;
        shared.insert(name, value);
    }
    let started =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    Ok(Arc::new(Shared { values: Mutex::new(shared), host_name, started, statistics: setup.statistics.clone() }))
}

fn first_value(line: &Bytes) -> Option<(Bytes, Value)> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let value = line.slice(equals + 1..);
    let value = match value.get(..2)? {
        b"s:" => Value::Str(value.slice(2..)),
        b"i:" => Value::Int(std::str::from_utf8(&value[2..]).ok()?.parse().ok()?),
        _ => return None,
    };
    Some((line.slice(..equals), value))
}

/// The stack's name; `s:` says what is so anyway.
fn stack_name(selector: &Selector<'_>) -> Bytes {
    let key = selector.key.cloned().unwrap_or_default();
    if key.starts_with(b"s:") { key.slice(2..) } else { key }
}

fn read_avp(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let name = stack_name(selector);
    let avps = &call.context.avps;
    match selector.index {
        Index::Default => avps.first(&name).cloned().unwrap_or_default(),
        Index::At(n) => {
            let at = nth(avps.all(&name).count(), n);
            at.and_then(|at| avps.all(&name).nth(at)).cloned().unwrap_or_default()
        }
        Index::All => {
            let values: Vec<Bytes> = avps.all(&name).map(Value::to_bytes).collect();
            if values.is_empty() { Value::Null } else { Value::Str(values.join(&b","[..]).into()) }
        }
    }
}

fn write_avp(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let name = stack_name(selector);
    let avps = &mut call.context.avps;
    let is_done = match (selector.index, value) {
        (Index::Default | Index::All, Value::Null) => {
            avps.remove(&name);
            true
        }
        (Index::Default, value) => avps.push(name, value),
        (Index::All, value) => {
            avps.replace(name, value);
            true
        }
        (Index::At(n), value) => {
            let at = nth(avps.all(&name).count(), n);
            at.is_some_and(|at| avps.set_at(&name, at, value))
        }
    };
    if is_done {
        Ok(())
    } else {
        Err(Fault { code: -1, cause: "there is no such value, or there are too many".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, make, text};
    use module_api::{Dialect, Setting, Value};

    #[test]
    fn a_variable_is_zero_until_it_is_assigned() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "var", Some("x")), Value::Int(0));
        bench.write(&MODULE, "var", Some("x"), text("a"));
        assert_eq!(bench.read(&MODULE, "var", Some("x")), text("a"));
        bench.write(&MODULE, "var", Some("x"), Value::Null);
        assert_eq!(bench.read(&MODULE, "var", Some("x")), Value::Int(0));
    }

    #[test]
    fn the_other_kind_of_variable_is_undefined_until_it_is_assigned() {
        let mut bench = Bench::invite();
        bench.write(&MODULE, "var", Some("x"), text("a"));
        assert_eq!(bench.read(&MODULE, "vn", Some("x")), Value::Null);
        bench.write(&MODULE, "vn", Some("x"), text("b"));
        assert_eq!(bench.read(&MODULE, "vn", Some("x")), text("b"));
        assert_eq!(bench.read(&MODULE, "var", Some("x")), text("a"));
    }

    #[test]
    fn an_attribute_is_a_stack() {
        let mut bench = Bench::invite();
        assert_eq!(bench.read(&MODULE, "avp", Some("x")), Value::Null);
        bench.write(&MODULE, "avp", Some("x"), Value::Int(1));
        bench.write(&MODULE, "avp", Some("s:x"), Value::Int(2));
        assert_eq!(bench.read(&MODULE, "avp", Some("x")), Value::Int(2));
        bench.write(&MODULE, "avp", Some("x"), Value::Null);
        assert_eq!(bench.read(&MODULE, "avp", Some("x")), Value::Null);
    }

    #[test]
    fn shared_variables_can_have_a_first_value() {
        let setting = |text: &str| Setting { name: "shvset".into(), value: crate::testing::text(text) };
        let state = make(&MODULE, &[setting("a=i:7"), setting("b=s:x")], Dialect::Kamailio, &|_| None).unwrap();
        let mut bench = Bench::with_state(crate::testing::INVITE, state);
        assert_eq!(bench.read(&MODULE, "shv", Some("a")), Value::Int(7));
        assert_eq!(bench.read(&MODULE, "shv", Some("b")), text("x"));
        bench.write(&MODULE, "shv", Some("c"), Value::Int(1));
        assert_eq!(bench.read(&MODULE, "shv", Some("c")), Value::Int(1));
        assert_eq!(bench.read(&MODULE, "shvinc", Some("a")), Value::Int(8));
        assert_eq!(bench.read(&MODULE, "shv", Some("a")), Value::Int(8));
        assert!(make(&MODULE, &[setting("a")], Dialect::Kamailio, &|_| None).is_err());
    }
}
