//! Flags of a message beside those of the script's own.

use module_api::{Call, Function, Param, ParamKind, Routes};

use crate::flag_set::{self, FlagSet};

const NAME: &[Param] = &[Param::required("flag", ParamKind::Format)];
const FLAG: &[Param] = &[Param::required("flag", ParamKind::Int)];

pub(super) const SET: Function = Function {
    name: "msg_iflag_set",
    params: NAME,
    routes: Routes::ANY,
    doc: "Sets an internal flag, USE_UAC_FROM, USE_UAC_TO, UAC_AUTH, MSG_APPLY_CHANGES or a number from 0 to 63. A script can \
          set and test them; this server does nothing by them.",
    example: "msg_iflag_set(\"UAC_AUTH\");",
    run: flag_set::set::<Internal>,
};

pub(super) const RESET: Function = Function {
    name: "msg_iflag_reset",
    params: NAME,
    routes: Routes::ANY,
    doc: "Clears an internal flag.",
    example: "msg_iflag_reset(\"UAC_AUTH\");",
    run: flag_set::reset::<Internal>,
};

pub(super) const IS_SET: Function = Function {
    name: "msg_iflag_is_set",
    params: NAME,
    routes: Routes::ANY,
    doc: "True when an internal flag is set.",
    example: "if (msg_iflag_is_set(\"UAC_AUTH\")) xlog(\"set\\n\");",
    run: flag_set::is_set::<Internal>,
};

pub(super) const VIA_SET: Function = Function {
    name: "msg_vbflag_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets one of 32 flags, from 0, of this message's Via. They end with the message; those of t_vbflag_set() last as long \
          as the transaction.",
    example: "msg_vbflag_set(4);",
    run: flag_set::set::<Via>,
};

pub(super) const VIA_RESET: Function = Function {
    name: "msg_vbflag_reset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears a flag of this message's Via.",
    example: "msg_vbflag_reset(4);",
    run: flag_set::reset::<Via>,
};

pub(super) const VIA_IS_SET: Function = Function {
    name: "msg_vbflag_is_set",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when a flag of this message's Via is set.",
    example: "if (msg_vbflag_is_set(4)) xlog(\"set\\n\");",
    run: flag_set::is_set::<Via>,
};

/// Flags that go by name; a note.
struct Internal(u64);

impl FlagSet for Internal {
    const COUNT: u32 = 64;
    const WRONG: &'static str = "not the name of an internal flag, nor a number from 0 to 63";

    /// The names stand for the first numbers.
    fn number(call: &Call<'_>) -> Option<u32> {
        match &call.text(0)[..] {
            b"USE_UAC_FROM" => Some(0),
            b"USE_UAC_TO" => Some(1),
            b"UAC_AUTH" => Some(2),
            b"MSG_APPLY_CHANGES" => Some(3),
            text => std::str::from_utf8(text).ok()?.trim().parse().ok(),
        }
    }

    fn load(call: &Call<'_>) -> u64 {
        call.context.note::<Internal>().map_or(0, |flags| flags.0)
    }

    fn store(call: &mut Call<'_>, flags: u64) {
        call.context.set_note(Internal(flags));
    }
}

/// Flags of the Via of one message; a note.
struct Via(u32);

impl FlagSet for Via {
    const COUNT: u32 = 32;
    const WRONG: &'static str = "not a flag from 0 to 31";

    fn load(call: &Call<'_>) -> u64 {
        call.context.note::<Via>().map_or(0, |flags| flags.0.into())
    }

    fn store(call: &mut Call<'_>, flags: u64) {
        call.context.set_note(Via(flags as u32));
    }
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
