//! 64 further message flags.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Int)];

pub(super) const SET: Function = Function {
    name: "setxflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets one of 64 further message flags, from 0. They follow the transaction as the others do.",
    example: "setxflag(40);",
    run: |call| change(call, |flags, bit| flags | bit),
};

pub(super) const RESET: Function = Function {
    name: "resetxflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears one of the further message flags.",
    example: "resetxflag(40);",
    run: |call| change(call, |flags, bit| flags & !bit),
};

pub(super) const IS_SET: Function = Function {
    name: "isxflagset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when one of the further message flags is set.",
    example: "if (isxflagset(40)) xlog(\"marked\\n\");",
    run: |call| bit(call).is_some_and(|bit| flags(call) & bit != 0).into(),
};

/// The flags are kept among the attributes, which follow the transaction, under a name that no script can write.
const NAME: Bytes = Bytes::from_static(b"\0xflags");

fn bit(call: &Call<'_>) -> Option<i64> {
    let flag = call.int(0).and_then(|flag| u32::try_from(flag).ok())?;
    1_i64.checked_shl(flag)
}

fn flags(call: &Call<'_>) -> i64 {
    call.context.avps.first(&NAME).map_or(0, Value::to_int)
}

fn change(call: &mut Call<'_>, act: fn(i64, i64) -> i64) -> Outcome {
    let Some(bit) = bit(call) else { return Outcome::fail("not a flag from 0 to 63") };
    let flags = act(flags(call), bit);
    call.context.avps.replace(NAME, Value::Int(flags));
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn sixty_four_flags_are_set_and_cleared() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "isxflagset", &["63"]), -1);
        bench.run(&MODULE, "setxflag", &["63"]);
        bench.run(&MODULE, "setxflag", &["0"]);
        bench.run(&MODULE, "resetxflag", &["0"]);
        assert_eq!((bench.run(&MODULE, "isxflagset", &["63"]), bench.run(&MODULE, "isxflagset", &["0"])), (1, -1));
        assert_eq!(bench.run(&MODULE, "setxflag", &["64"]), -1);
    }
}
