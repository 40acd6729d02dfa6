//! Flags of a message beside those of the script's own.

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes};

const NAME: &[Param] = &[Param::required("flag", ParamKind::Format)];
const FLAG: &[Param] = &[Param::required("flag", ParamKind::Int)];

pub(super) const SET: Function = Function {
    name: "msg_iflag_set",
    params: NAME,
    routes: Routes::ANY,
    doc: "Sets an internal flag, USE_UAC_FROM, USE_UAC_TO, UAC_AUTH, MSG_APPLY_CHANGES or a number from 0 to 63. A script can \
          set and test them; this server does nothing by them.",
    example: "msg_iflag_set(\"UAC_AUTH\");",
    run: |call| with_named(call, |flags, bit| flags.internal |= bit),
};

pub(super) const RESET: Function = Function {
    name: "msg_iflag_reset",
    params: NAME,
    routes: Routes::ANY,
    doc: "Clears an internal flag.",
    example: "msg_iflag_reset(\"UAC_AUTH\");",
    run: |call| with_named(call, |flags, bit| flags.internal &= !bit),
};

pub(super) const IS_SET: Function = Function {
    name: "msg_iflag_is_set",
    params: NAME,
    routes: Routes::ANY,
    doc: "True when an internal flag is set.",
    example: "if (msg_iflag_is_set(\"UAC_AUTH\")) xlog(\"set\\n\");",
    run: |call| {
        let flags = call.context.note::<Flags>().copied().unwrap_or_default();
        named(&call.text(0)).is_some_and(|bit| flags.internal & bit != 0).into()
    },
};

pub(super) const VIA_SET: Function = Function {
    name: "msg_vbflag_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets one of 32 flags, from 0, of this message's Via. They end with the message; those of t_vbflag_set() last as long \
          as the transaction.",
    example: "msg_vbflag_set(4);",
    run: |call| with_via(call, |flags, bit| flags.via |= bit),
};

pub(super) const VIA_RESET: Function = Function {
    name: "msg_vbflag_reset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of this message's Via.",
    example: "msg_vbflag_reset(4);",
    run: |call| with_via(call, |flags, bit| flags.via &= !bit),
};

pub(super) const VIA_IS_SET: Function = Function {
    name: "msg_vbflag_is_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when a flag of this message's Via is set.",
    example: "if (msg_vbflag_is_set(4)) xlog(\"set\\n\");",
    run: |call| {
        let flags = call.context.note::<Flags>().copied().unwrap_or_default();
        numbered(call).is_some_and(|bit| flags.via & bit != 0).into()
    },
};

/// The flags of one message; a note.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    internal: u64,
    via: u32,
}

fn with_named(call: &mut Call<'_>, act: fn(&mut Flags, u64)) -> Outcome {
    match named(&call.text(0)) {
        Some(bit) => change(call, |flags| act(flags, bit)),
        None => Outcome::fail("not the name of an internal flag, nor a number from 0 to 63"),
    }
}

fn with_via(call: &mut Call<'_>, act: fn(&mut Flags, u32)) -> Outcome {
    match numbered(call) {
        Some(bit) => change(call, |flags| act(flags, bit)),
        None => Outcome::fail("not a flag from 0 to 31"),
    }
}

fn change(call: &mut Call<'_>, act: impl FnOnce(&mut Flags)) -> Outcome {
    let mut flags = call.context.note::<Flags>().copied().unwrap_or_default();
    act(&mut flags);
    call.context.set_note(flags);
    Outcome::TRUE
}

/// The names stand for the first numbers.
fn named(text: &[u8]) -> Option<u64> {
    let number = match text {
        b"USE_UAC_FROM" => 0,
        b"USE_UAC_TO" => 1,
        b"UAC_AUTH" => 2,
        b"MSG_APPLY_CHANGES" => 3,
        _ => std::str::from_utf8(text).ok()?.trim().parse().ok()?,
    };
    1_u64.checked_shl(number)
}

fn numbered(call: &Call<'_>) -> Option<u32> {
    1_u32.checked_shl(u32::try_from(call.int(0)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;
    use module_api::{Arg, Value};

    #[test]
    fn internal_flags_go_by_name_or_number() {
        let mut bench = Bench::invite();
        for flag in ["UAC_AUTH", "40"] {
            assert_eq!(bench.run(&MODULE, "msg_iflag_is_set", &[flag]), -1);
            assert_eq!(bench.run(&MODULE, "msg_iflag_set", &[flag]), 1);
            assert_eq!(bench.run(&MODULE, "msg_iflag_is_set", &[flag]), 1);
            assert_eq!(bench.run(&MODULE, "msg_iflag_reset", &[flag]), 1);
            assert_eq!(bench.run(&MODULE, "msg_iflag_is_set", &[flag]), -1);
        }
        for flag in ["64", "-1", "NO_SUCH_FLAG"] {
            assert_eq!(bench.run(&MODULE, "msg_iflag_set", &[flag]), -1, "{flag}");
        }
    }

    #[test]
    fn flags_of_the_via_are_flags_of_their_own() {
        let mut bench = Bench::invite();
        let mut run = |function: &str, flag: i64| bench.run_args(&MODULE, function, &[Arg::Value(Value::Int(flag))]);
        assert_eq!(run("msg_vbflag_set", 31), 1);
        assert_eq!(run("msg_vbflag_is_set", 31), 1);
        assert_eq!(run("msg_vbflag_is_set", 30), -1);
        assert_eq!(run("msg_vbflag_reset", 31), 1);
        assert_eq!(run("msg_vbflag_is_set", 31), -1);
        assert_eq!(run("msg_vbflag_set", 32), -1);
    }
}
