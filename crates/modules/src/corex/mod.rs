//! What Kamailio keeps beside its core: further flags, sockets and addresses, files.

mod file;
mod iflag;
mod send;
mod socket;
mod via;
mod xflag;

use module_api::{Function, KeyRule, Module, Outcome, RouteKind, Routes, Value, Variable};

use crate::setting::ignored;

/// Further flags, sockets and addresses, files.
pub static MODULE: Module = Module {
    name: "corex",
    doc: "Further flags, sockets and addresses of a message, and files. append_branch() is in the core.",
    parameters: &[
        ignored("alias_subdomains", "Has no effect: name each domain with alias=, or keep them in module domain."),
        ignored("dns_cache", "Has no effect."),
        ignored("dns_file", "Has no effect."),
        ignored("nio_intercept", "Has no effect."),
        ignored("nio_min_msg_len", "Has no effect."),
        ignored("nio_msg_avp", "Has no effect."),
        ignored("evcb_reply_out", "Has no effect: scripts are written in the routing language."),
    ],
    functions: &[
        xflag::SET,
        xflag::RESET,
        xflag::IS_SET,
        socket::SET_SEND,
        socket::SET_SEND_NAME,
        socket::SET_RECEIVE,
        socket::SET_RECEIVE_NAME,
        socket::SET_SOURCE,
        socket::IS_NAME,
        file::READ,
        file::WRITE,
        send::SEND_UDP,
        send::SEND_DATA,
        send::SENDX,
        send::FORWARD_UAC,
        send::FORWARD_UAC_URI,
        send::FORWARD_REPLY,
        via::ADD_SERVER_ID,
        via::ADD_PARAMS,
        via::USE_FIELDS,
        iflag::SET,
        iflag::RESET,
        iflag::IS_SET,
        iflag::VIA_SET,
        iflag::VIA_RESET,
        iflag::VIA_IS_SET,
        IS_FAKED,
        IS_INCOMING,
    ],
    variables: &[socket::LISTENING, OWN_PLACE],
    ..Module::EMPTY
};

const OWN_PLACE: Variable = Variable {
    name: "cfg",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "Where the variable itself stands in the script: $cfg(line), $cfg(file) (also $cfg(name)) and $cfg(route).",
    example: "xlog(\"$cfg(route) at line $cfg(line)\\n\");",
    // The language knows, and never asks.
    read: |_, _| Value::Null,
    write: None,
};

const IS_FAKED: Function = Function {
    name: "is_faked_msg",
    params: &[],
    routes: Routes::ANY,
    doc: "True where the message is a copy that the server keeps, and not one that has just arrived: in failure routes and \
          event routes.",
    example: "if (is_faked_msg()) xlog(\"not from the network\\n\");",
    run: |call| Outcome::from(matches!(call.context.kind, RouteKind::Failure | RouteKind::Event)),
};

const IS_INCOMING: Function = Function {
    name: "is_incoming",
    params: &[],
    routes: Routes::ANY,
    doc: "True where the message at hand is one that came, false in onsend_route, where it is one that is about to leave.",
    example: "if (is_incoming()) xlog(\"from $si\\n\");",
    run: |call| (call.context.kind != RouteKind::Send).into(),
};

#[cfg(test)]
mod tests {
    use super::MODULE;
    use crate::testing::Bench;
    use module_api::RouteKind;

    #[test]
    fn what_leaves_is_told_from_what_came() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "is_incoming", &[]), 1);
        bench.context.kind = RouteKind::Send;
        assert_eq!(bench.run(&MODULE, "is_incoming", &[]), -1);
    }

    #[test]
    fn a_failure_routes_message_is_a_copy() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "is_faked_msg", &[]), -1);
        bench.context.kind = RouteKind::Failure;
        assert_eq!(bench.run(&MODULE, "is_faked_msg", &[]), 1);
    }
}
