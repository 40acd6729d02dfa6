//! `$rcv`, `$msgbuf` and single flags: small parts of what a request carries.

use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};

use super::{copied, text};
use crate::kex::ScriptFlags;

pub(super) const RECEIVED: Variable = Variable {
    read: received,
    ..keyed(
        "rcv",
        "A part of what was received: buf the message as it came, len its length, proto the transport, srcip, srcport, rcvip \
         and rcvport the addresses of both ends.",
        "xlog(\"$rcv(len) bytes from $rcv(srcip)\\n\");",
    )
};

pub(super) const CHARACTER: Variable = Variable {
    read: |call, selector| {
        let bytes = call.context.message.bytes();
        let at = Value::Str(selector.key.cloned().unwrap_or_default()).to_int();
        let at = super::header::nth(bytes.len(), at);
        copied(at.map(|at| &bytes[at..=at]))
    },
    ..keyed(
        "msgbuf",
        "One character of the message as it came, counted from 0; from the end with a negative number.",
        "if ($msgbuf(0) == \"I\") xlog(\"perhaps an INVITE\\n\");",
    )
};

pub(super) const COUNT: Variable = keyed(
    "cnt",
    "How many values an $avp or a record has: $cnt($avp(x)). Of another variable 1, or 0 when it is undefined.",
    "if ($cnt($avp(gateway)) > 1) xlog(\"there is a choice\\n\");",
);

pub(super) const CUSTOM: Variable = keyed(
    "ccp",
    "What the script sets with group.name = value: $ccp(group.name).",
    "if ($ccp(gateway.active) == 1) route(GATEWAY);",
);

pub(super) const MESSAGE_FLAG: Variable = Variable {
    read: |call, selector| flag(call.context.flags, selector),
    write: Some(|call, selector, value| set(&mut call.context.flags, selector, &value)),
    ..keyed("Mf", "One message flag by its number: 1 when it is set.", "if ($Mf(3) == 1) exit;")
};

pub(super) const BRANCH_FLAG: Variable = Variable {
    read: |call, selector| flag(call.context.target.flags, selector),
    write: Some(|call, selector, value| set(&mut call.context.target.flags, selector, &value)),
    ..keyed("Bf", "One branch flag of the Request-URI by its number: 1 when it is set.", "$Bf(3) = 1;")
};

pub(super) const SCRIPT_FLAG: Variable = Variable {
    read: |call, selector| flag(script_flags(call), selector),
    write: Some(|call, selector, value| {
        let mut flags = script_flags(call);
        set(&mut flags, selector, &value)?;
        call.context.set_note(ScriptFlags(flags));
        Ok(())
    }),
    ..keyed("Sf", "One flag of this run of the script by its number: 1 when it is set.", "$Sf(3) = 1;")
};

pub(super) const SCRIPT_FLAGS: Variable = Variable {
    write: Some(set_script_flags),
    ..super::plain("sf", "The flags of this run of the script as a number.", "xlog(\"$sf\\n\");", |call, _| {
        Value::Int(script_flags(call).into())
    })
};

pub(super) const SCRIPT_FLAGS_HEX: Variable = Variable {
    write: Some(set_script_flags),
    ..super::plain("sF", "The flags of this run of the script in hexadecimal.", "xlog(\"$sF\\n\");", |call, _| {
        text(format!("{:08X}", script_flags(call)))
    })
};

/// The language itself reads `$cnt` and `$ccp`, whose keys it knows; what is left says nothing.
const fn keyed(name: &'static str, doc: &'static str, example: &'static str) -> Variable {
    let read: super::Read = |_, _| Value::Null;
    Variable { name, key: KeyRule::Required, routes: Routes::ANY, doc, example, read, write: None }
}

fn bit(selector: &Selector<'_>) -> Option<u32> {
    let number = std::str::from_utf8(selector.key()).ok()?.trim().parse().ok()?;
    1_u32.checked_shl(number)
}

fn flag(flags: u32, selector: &Selector<'_>) -> Value {
    bit(selector).map_or(Value::Null, |bit| Value::Int((flags & bit != 0).into()))
}

fn set(flags: &mut u32, selector: &Selector<'_>, value: &Value) -> Result<(), Fault> {
    let Some(bit) = bit(selector) else {
        return Err(Fault { code: -1, cause: "a flag has a number from 0 to 31".into() });
    };
    *flags = if value.to_int() != 0 { *flags | bit } else { *flags & !bit };
    Ok(())
}

fn script_flags(call: &Call<'_>) -> u32 {
    call.context.note::<ScriptFlags>().map_or(0, |flags| flags.0)
}

fn set_script_flags(call: &mut Call<'_>, _: &Selector<'_>, value: Value) -> Result<(), Fault> {
    call.context.set_note(ScriptFlags(value.to_int() as u32));
    Ok(())
}

fn received(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let (message, arrival) = (&call.context.message, &call.context.arrival);
    match selector.key() {
        b"buf" => copied(Some(message.bytes())),
        b"len" => Value::Int(message.bytes().len() as i64),
        b"proto" => Value::from_static(arrival.transport.uri_param()),
        b"srcip" | b"ip" => text(arrival.source.ip().to_string()),
        b"srcport" | b"scrport" => Value::Int(arrival.source.port().into()),
        b"rcvip" => text(arrival.local.ip().to_string()),
        b"rcvport" => Value::Int(arrival.local.port().into()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, text};
    use module_api::Value;

    #[test]
    fn what_was_received_is_shown_by_its_parts() {
        let mut bench = Bench::invite();
        for (key, expected) in [
            ("buf", text(INVITE)),
            ("len", Value::Int(INVITE.len() as i64)),
            ("proto", text("udp")),
            ("srcip", text("198.51.100.7")),
            ("srcport", Value::Int(5070)),
            ("rcvip", text("192.0.2.1")),
            ("rcvport", Value::Int(5060)),
            ("other", Value::Null),
        ] {
            assert_eq!(bench.read(&MODULE, "rcv", Some(key)), expected, "{key}");
        }
        assert_eq!(bench.read(&MODULE, "msgbuf", Some("0")), text("I"));
        assert_eq!(bench.read(&MODULE, "msgbuf", Some("-1")), text("\n"));
        assert_eq!(bench.read(&MODULE, "msgbuf", Some("99999")), Value::Null);
    }

    #[test]
    fn single_flags_are_read_and_written() {
        let mut bench = Bench::invite();
        for (flag, all) in [("Mf", "mf"), ("Bf", "bf"), ("Sf", "sf")] {
            assert_eq!(bench.read(&MODULE, flag, Some("3")), Value::Int(0), "{flag}");
            bench.write(&MODULE, flag, Some("3"), Value::Int(1));
            bench.write(&MODULE, flag, Some("0"), Value::Int(1));
            bench.write(&MODULE, flag, Some("0"), Value::Int(0));
            assert_eq!(bench.read(&MODULE, flag, Some("3")), Value::Int(1), "{flag}");
            assert_eq!(bench.read(&MODULE, all, None), Value::Int(8), "{all}");
            assert_eq!(bench.read(&MODULE, flag, Some("32")), Value::Null, "{flag}");
        }
        bench.write(&MODULE, "sF", None, Value::Int(255));
        assert_eq!(bench.read(&MODULE, "sF", None), text("000000FF"));
        assert_eq!(bench.run(&crate::kex::MODULE, "resetsflag", &["0"]), 1);
        assert_eq!(bench.read(&MODULE, "sf", None), Value::Int(254));
    }
}
