//! Who calls, as the database or the script says.

use module_api::{Function, Param, ParamKind, Routes};

use super::options::Settings;

pub(super) const APPEND: Function = Function {
    name: "append_rpid_hf",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Adds a Remote-Party-ID with the URI in the attribute of rpid_avp, between rpid_prefix and rpid_suffix. Without \
          that attribute the request stays as it is.",
    example: "append_rpid_hf();",
    run: |call| call.state::<Settings>().remote_party.append(call),
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
    doc: "True when the user of the URI in the attribute of rpid_avp is an E.164 number.",
    example: "if (is_rpid_user_e164()) append_rpid_hf();",
    run: |call| call.state::<Settings>().remote_party.is_number(call).into(),
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, started, text};

    fn bench(uri: &str, settings: &[(&str, &str)]) -> Bench {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, settings));
        bench.context.avps.push("rpid".into(), text(uri));
        bench
    }

    #[test]
    fn the_caller_is_named_between_prefix_and_suffix() {
        let mut named = bench("sip:+4930123@example.com", &[]);
        assert_eq!(named.run(&MODULE, "append_rpid_hf", &[]), 1);
        let line = "Remote-Party-ID: <sip:+4930123@example.com>;party=calling;id-type=subscriber;screen=yes\r\n";
        assert!(named.written().contains(line), "{}", named.written());
        let mut named = bench("\"A\" <sip:a@example.com>", &[("rpid_suffix", ";screen=no")]);
        assert_eq!(named.run(&MODULE, "append_rpid_hf", &[]), 1);
        assert!(named.written().contains("Remote-Party-ID: \"A\" <sip:a@example.com>;screen=no\r\n"));
        let mut named = bench("sip:a@example.com", &[]);
        assert_eq!(named.run(&MODULE, "append_rpid_hf", &["\"B\" ", ";party=called"]), 1);
        assert!(named.written().contains("Remote-Party-ID: \"B\" <sip:a@example.com>;party=called\r\n"));
    }

    #[test]
    fn without_a_name_nothing_is_written_and_no_second_line_gets_in() {
        let mut nameless = Bench::with_state(INVITE, started(&MODULE, &[]));
        assert_eq!(nameless.run(&MODULE, "append_rpid_hf", &[]), 1);
        let mut hostile = bench("sip:a@h>\r\nX-Evil: 1", &[]);
        assert_eq!(hostile.run(&MODULE, "append_rpid_hf", &[]), -1);
        assert!(nameless.context.edits.is_empty() && hostile.context.edits.is_empty());
    }

    #[test]
    fn a_callers_number_is_told_from_a_name() {
        for (uri, code) in [("sip:+4930123@h", 1), ("<sip:+4930123@h>;x=y", 1), ("sip:alice@h", -1), ("nonsense", -1)] {
            assert_eq!(bench(uri, &[]).run(&MODULE, "is_rpid_user_e164", &[]), code, "{uri}");
        }
        assert_eq!(Bench::with_state(INVITE, started(&MODULE, &[])).run(&MODULE, "is_rpid_user_e164", &[]), -1);
        let mut other = bench("sip:alice@h", &[("rpid_avp", "$avp(caller)")]);
        other.context.avps.push("caller".into(), text("sip:+4930123@h"));
        assert_eq!(other.run(&MODULE, "is_rpid_user_e164", &[]), 1);
    }
}
