//! Relaying: the request goes on to its targets, one branch each.

use bytes::Bytes;
use module_api::{
    Call, Dialect, Fault, Function, Outcome, Param, ParamKind, RelayError, RelayOptions, RouteKind, Routes, Value,
};
use sip_message::Transport;

use crate::rewrite;

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Event));
const HOST_AND_PORT: &[Param] =
    &[Param::required("host", ParamKind::HostPort), Param::required("port", ParamKind::Str)];

/// Noted when a relay failed, for a function that tells the sender.
#[derive(Debug, Clone, Copy)]
pub struct RelayFailure(pub RelayError);

/// What the script chose for later relays of this request.
#[derive(Debug, Clone, Copy, Default)]
struct Choices {
    is_quiet: bool,
    no_error_reply: bool,
}

pub(super) const RELAY: Function = Function {
    name: "t_relay",
    params: &[],
    routes: WHERE,
    doc: "Relays the request statefully to the Request-URI (or $du) and all added branches at once. Repetitions are \
          absorbed, an ACK to a 2xx goes on, a CANCEL cancels the branches of its INVITE. False when no branch could be \
          made; the sender is then told when the script is over. In SER scripts the failure ends the script.",
    example: "if (!t_relay()) sl_reply_error();",
    run: |call| relay(call, RelayOptions::default()),
};

pub(super) const RELAY_TO_PROXY_URI: Function = Function {
    name: "t_relay",
    params: &[Param::required("proxy", ParamKind::Format)],
    routes: WHERE,
    doc: "As t_relay(), with all branches sent to the given proxy, written proto:host:port.",
    example: "t_relay(\"udp:192.0.2.7:5060\");",
    run: |call| {
        let proxy = call.text(0);
        relay_to(call, rewrite::uri_of_proxy(&proxy), RelayOptions::default())
    },
};

pub(super) const RELAY_TO_HOST: Function = Function {
    name: "t_relay",
    params: HOST_AND_PORT,
    routes: WHERE,
    doc: "As t_relay(), with all branches sent to the given host and port.",
    example: "t_relay(\"192.0.2.7\", \"5060\");",
    run: |call| to_host(call, None, RelayOptions::default()),
};

pub(super) const RELAY_TO: Function = Function {
    name: "t_relay_to",
    params: &[Param::optional("proxy", ParamKind::Format), Param::optional("flags", ParamKind::Str)],
    routes: WHERE,
    doc: "As t_relay(), with all branches sent to a proxy written proto:host:port, and flags added up: 1 sends no 100, \
          2 leaves the error reply to the script. SER's form takes host and port.",
    example: "t_relay_to(\"tcp:192.0.2.7:5060\", \"2\");",
    run: relay_to_proxy,
};

pub(super) const RELAY_TO_UDP: Function =
    transported("t_relay_to_udp", "t_relay_to_udp();", |call| relay(call, over(Transport::Udp)));
pub(super) const RELAY_TO_TCP: Function =
    transported("t_relay_to_tcp", "t_relay_to_tcp();", |call| relay(call, over(Transport::Tcp)));
pub(super) const RELAY_TO_TLS: Function =
    transported("t_relay_to_tls", "t_relay_to_tls();", |call| relay(call, over(Transport::Tls)));

const fn transported(name: &'static str, example: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function {
        name,
        params: &[],
        routes: WHERE,
        doc: "As t_relay(), over the transport in the function's name, whatever the target asks for.",
        example,
        run,
    }
}

pub(super) const RELAY_TO_UDP_HOST: Function =
    to_transport("t_relay_to_udp", "t_relay_to_udp(\"192.0.2.7\", \"5060\");", |call| {
        to_host(call, Some(Transport::Udp), RelayOptions::default())
    });
pub(super) const RELAY_TO_TCP_HOST: Function =
    to_transport("t_relay_to_tcp", "t_relay_to_tcp(\"192.0.2.7\", \"5060\");", |call| {
        to_host(call, Some(Transport::Tcp), RelayOptions::default())
    });
pub(super) const RELAY_TO_TLS_HOST: Function =
    to_transport("t_relay_to_tls", "t_relay_to_tls(\"192.0.2.7\", \"5061\");", |call| {
        to_host(call, Some(Transport::Tls), RelayOptions::default())
    });

const fn to_transport(name: &'static str, example: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function {
        name,
        params: HOST_AND_PORT,
        routes: WHERE,
        doc: "As t_relay(), with all branches sent to the given host and port over the transport in the function's name.",
        example,
        run,
    }
}

pub(super) const FORWARD_NONACK: Function = Function {
    name: "t_forward_nonack",
    params: &[],
    routes: WHERE,
    doc: "Relays on a transaction that the script made with t_newtran(). The error reply is left to the script.",
    example: "t_forward_nonack();",
    run: |call| relay(call, RelayOptions { no_error_reply: true, ..RelayOptions::default() }),
};

pub(super) const FORWARD_NONACK_TO: Function = Function {
    name: "t_forward_nonack",
    params: HOST_AND_PORT,
    routes: WHERE,
    doc: "Relays to a host and port on a transaction that the script made with t_newtran(). The error reply is left to \
          the script.",
    example: "t_forward_nonack(\"192.0.2.7\", \"5060\");",
    run: |call| to_host(call, None, RelayOptions { no_error_reply: true, ..RelayOptions::default() }),
};

pub(super) const REPLICATE: Function = Function {
    name: "t_replicate",
    params: &[Param::required("uri", ParamKind::Format)],
    routes: Routes::REQUEST,
    doc: "Sends a copy of the request to a URI. Replies to the copy are not relayed.",
    example: "t_replicate(\"sip:backup.example.com\");",
    run: |call| {
        let uri = call.text(0);
        relay_to(call, rewrite::uri_of_proxy(&uri), RelayOptions { is_replica: true, ..RelayOptions::default() })
    },
};

pub(super) const REPLICATE_TO: Function = Function {
    name: "t_replicate",
    params: HOST_AND_PORT,
    routes: Routes::REQUEST,
    doc: "Sends a copy of the request to a host and port. Replies to the copy are not relayed.",
    example: "t_replicate(\"backup.example.com\", \"5060\");",
    run: |call| to_host(call, None, RelayOptions { is_replica: true, ..RelayOptions::default() }),
};

pub(super) const REPLICATE_PLAIN: Function = Function {
    name: "t_replicate",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Sends a copy of the request to its target. Replies to the copy are not relayed.",
    example: "$du = \"sip:backup.example.com\"; t_replicate();",
    run: |call| relay(call, RelayOptions { is_replica: true, ..RelayOptions::default() }),
};

pub(super) const REPLICATE_UDP: Function =
    replicated("t_replicate_udp", "t_replicate_udp(\"192.0.2.7\", \"5060\");", |call| {
        to_host(call, Some(Transport::Udp), RelayOptions { is_replica: true, ..RelayOptions::default() })
    });
pub(super) const REPLICATE_TCP: Function =
    replicated("t_replicate_tcp", "t_replicate_tcp(\"192.0.2.7\", \"5060\");", |call| {
        to_host(call, Some(Transport::Tcp), RelayOptions { is_replica: true, ..RelayOptions::default() })
    });
pub(super) const REPLICATE_TLS: Function =
    replicated("t_replicate_tls", "t_replicate_tls(\"192.0.2.7\", \"5061\");", |call| {
        to_host(call, Some(Transport::Tls), RelayOptions { is_replica: true, ..RelayOptions::default() })
    });

const fn replicated(name: &'static str, example: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function {
        name,
        params: HOST_AND_PORT,
        routes: Routes::REQUEST,
        doc: "Sends a copy of the request to a host and port over the transport in the function's name. Replies to the \
              copy are not relayed.",
        example,
        run,
    }
}

const SWITCH: &[Param] = &[Param::required("on", ParamKind::Int)];

pub(super) const SET_AUTO_INV_100: Function = Function {
    name: "t_set_auto_inv_100",
    params: SWITCH,
    routes: Routes::REQUEST,
    doc: "Chooses whether this INVITE gets a 100 by itself when it is relayed: 1 or 0.",
    example: "t_set_auto_inv_100(\"0\");",
    run: |call| choose(call, |choices, is_on| choices.is_quiet = !is_on),
};

pub(super) const SET_DISABLE_INTERNAL_REPLY: Function = Function {
    name: "t_set_disable_internal_reply",
    params: SWITCH,
    routes: Routes::REQUEST,
    doc: "Chooses who replies when this request cannot be relayed: 1 the script, 0 the server.",
    example: "t_set_disable_internal_reply(\"1\");",
    run: |call| choose(call, |choices, is_on| choices.no_error_reply = is_on),
};

fn choose(call: &mut Call<'_>, change: impl FnOnce(&mut Choices, bool)) -> Outcome {
    let mut choices = call.context.note::<Choices>().copied().unwrap_or_default();
    change(&mut choices, call.int(0).unwrap_or(0) != 0);
    call.context.set_note(choices);
    Outcome::TRUE
}

fn over(transport: Transport) -> RelayOptions {
    RelayOptions { transport: Some(transport), ..RelayOptions::default() }
}

fn to_host(call: &mut Call<'_>, transport: Option<Transport>, options: RelayOptions) -> Outcome {
    let port = Value::Str(call.text(1)).to_int();
    let host = call.text(0);
    let to = rewrite::uri_of_host(&host, Some(port), transport.map(Transport::uri_param));
    relay_to(call, to, RelayOptions { transport, ..options })
}

fn relay_to_proxy(call: &mut Call<'_>) -> Outcome {
    if call.arg_count() == 0 {
        return relay(call, RelayOptions::default());
    }
    let proxy = call.text(0);
    let second = call.text(1);
    // SER's two arguments are host and port. Flags are small and a proxy of Kamailio's names its transport.
    if call.dialect() == Dialect::Ser && call.arg_count() == 2 {
        return to_host(call, None, RelayOptions::default());
    }
    let flags = Value::Str(second).to_int();
    let options = RelayOptions { is_quiet: flags & 1 != 0, no_error_reply: flags & 2 != 0, ..RelayOptions::default() };
    relay_to(call, rewrite::uri_of_proxy(&proxy), options)
}

fn relay_to(call: &mut Call<'_>, to: Option<Bytes>, options: RelayOptions) -> Outcome {
    match to {
        Some(to) => relay(call, RelayOptions { to: Some(to), ..options }),
        None => Outcome::fail("the destination of t_relay cannot be read"),
    }
}

fn relay(call: &mut Call<'_>, mut options: RelayOptions) -> Outcome {
    let choices = call.context.note::<Choices>().copied().unwrap_or_default();
    options.is_quiet |= choices.is_quiet;
    options.no_error_reply |= choices.no_error_reply;
    match call.host.relay(call.context, &options) {
        Ok(()) => Outcome::TRUE,
        Err(error) => failed(call, error, options.no_error_reply),
    }
}

fn failed(call: &mut Call<'_>, error: RelayError, is_left_to_script: bool) -> Outcome {
    call.context.set_note(RelayFailure(error));
    // SER replied by itself and stopped; scripts of its time follow the call with `break` at most.
    if call.dialect() == Dialect::Ser && !is_left_to_script {
        return Outcome::Value(0);
    }
    match error {
        RelayError::Full => Outcome::Fail(Fault { code: -1, cause: "too many transactions".into() }),
        // Kamailio's code for "reply yourself".
        _ if is_left_to_script => Outcome::Value(-4),
        _ => Outcome::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;
    use module_api::{Dialect, RelayError};

    fn check(function: &str, args: &[&str], done: &str) {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, function, args), 1, "{function}");
        assert_eq!(bench.host.done, [done], "{function}");
    }

    #[test]
    fn each_form_of_relay_names_its_destination() {
        check("t_relay", &[], "relay sip:bob@example.com");
        check("t_relay", &["udp:192.0.2.7:5080"], "relay sip:bob@example.com to sip:192.0.2.7:5080;transport=udp");
        check("t_relay", &["192.0.2.7", "5080"], "relay sip:bob@example.com to sip:192.0.2.7:5080");
        check("t_relay_to_tcp", &[], "relay sip:bob@example.com over TCP");
        check(
            "t_relay_to_udp",
            &["192.0.2.7", "5080"],
            "relay sip:bob@example.com to sip:192.0.2.7:5080;transport=udp over UDP",
        );
        check(
            "t_relay_to",
            &["tcp:192.0.2.7:5080", "0x3"],
            "relay sip:bob@example.com to sip:192.0.2.7:5080;transport=tcp quietly without error reply",
        );
        check("t_replicate", &["sip:b.example"], "relay sip:bob@example.com to sip:b.example as replica");
    }

    #[test]
    fn a_failed_relay_is_false_in_kamailio_and_ends_a_ser_script() {
        let mut bench = Bench::invite();
        bench.host.relay = Err(RelayError::Unresolvable);
        assert_eq!(bench.run(&MODULE, "t_relay", &[]), -1);
        bench.dialect = Dialect::Ser;
        assert_eq!(bench.run(&MODULE, "t_relay", &[]), 0);
    }

    #[test]
    fn choices_made_before_hold_for_the_relay() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "t_set_auto_inv_100", &["0"]);
        bench.run(&MODULE, "t_set_disable_internal_reply", &["1"]);
        bench.host.relay = Err(RelayError::NoBranches);
        assert_eq!(bench.run(&MODULE, "t_relay", &[]), -4);
        assert_eq!(bench.host.done, ["relay sip:bob@example.com quietly without error reply"]);
    }

    #[test]
    fn sers_two_arguments_are_host_and_port() {
        let mut bench = Bench::invite();
        bench.dialect = Dialect::Ser;
        bench.run(&MODULE, "t_relay_to", &["192.0.2.7", "5080"]);
        assert_eq!(bench.host.done, ["relay sip:bob@example.com to sip:192.0.2.7:5080"]);
    }
}
