//! 64 further message flags.

use module_api::{Call, Function, Param, ParamKind, Routes};

use crate::flag_set::{self, FlagSet};

const FLAG: &[Param] = &[Param::required("flag", ParamKind::Int)];

pub(super) const SET: Function = Function {
    name: "setxflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Sets one of 64 further message flags, from 0. They follow the transaction as the others do.",
    example: "setxflag(40);",
    run: flag_set::set::<Further>,
};

pub(super) const RESET: Function = Function {
    name: "resetxflag",
    params: FLAG,
    routes: Routes::ANY,
    doc: "Clears one of the further message flags.",
    example: "resetxflag(40);",
    run: flag_set::reset::<Further>,
};

pub(super) const IS_SET: Function = Function {
    name: "isxflagset",
    params: FLAG,
    routes: Routes::ANY,
    doc: "True when one of the further message flags is set.",
    example: "if (isxflagset(40)) xlog(\"marked\\n\");",
    run: flag_set::is_set::<Further>,
};

struct Further;

impl FlagSet for Further {
    const COUNT: u32 = 64;
    const WRONG: &'static str = "not a flag from 0 to 63";

    fn load(call: &Call<'_>) -> u64 {
        flag_set::among_attributes(call, NAME)
    }

    fn store(call: &mut Call<'_>, flags: u64) {
        flag_set::into_attributes(call, NAME, flags);
    }
}

const NAME: &[u8] = b"\0xflags";

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
