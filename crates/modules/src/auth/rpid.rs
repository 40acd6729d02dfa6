//! Remote-Party-ID in SER's scripts, whose module auth writes it; Kamailio moved it to siputils.

use module_api::{Function, Param, ParamKind, Routes};

use super::Authentication;

pub(super) const APPEND: Function = Function {
    name: "append_rpid_hf",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Adds a Remote-Party-ID with the URI in attribute rpid, between rpid_prefix and rpid_suffix. Without that \
          attribute the request stays as it is.",
    example: "append_rpid_hf();",
    run: |call| call.state::<Authentication>().remote_party.append(call),
};

pub(super) const APPEND_WITH: Function = Function {
    name: "append_rpid_hf",
    params: &[Param::required("prefix", ParamKind::Format), Param::required("suffix", ParamKind::Format)],
    routes: Routes::REQUESTS,
    doc: "As append_rpid_hf() without arguments, with a prefix and a suffix of its own.",
    example: "append_rpid_hf(\"\", \";party=calling;screen=yes\");",
    run: APPEND.run,
};

pub(super) const IS_E164: Function = Function {
    name: "is_rpid_user_e164",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the user of the URI in attribute rpid is an E.164 number.",
    example: "if (is_rpid_user_e164()) append_rpid_hf();",
    run: |call| call.state::<Authentication>().remote_party.is_number(call).into(),
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, started, text};

    #[test]
    fn sers_auth_names_the_caller() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[("rpid_prefix", "<"), ("rpid_suffix", ">")]));
        bench.context.avps.push("rpid".into(), text("sip:+4930123@example.com"));
        assert_eq!(bench.run(&MODULE, "is_rpid_user_e164", &[]), 1);
        assert_eq!(bench.run(&MODULE, "append_rpid_hf", &[]), 1);
        assert!(bench.written().contains("Remote-Party-ID: <sip:+4930123@example.com>\r\n"));
    }
}
