//! Phones whose Contact leads nowhere: behind NAT, or in browsers (RFC 7118).
//!
//! Two ways to reach them. The alias way leaves the Contact as it is and adds the address that the
//! network shows as a parameter, which comes back in the Request-URI of later requests of the dialog;
//! the phone recognizes its own Contact in them. The older way writes over host and port.

mod address;
mod alias;
mod contact;
mod question;
mod received;
mod register;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Module, Parameter, SettingKind, Setup, SetupError, State};

pub(crate) use address::alias_of;
pub use contact::NewContact;

/// Reaches phones behind NAT and in browsers.
pub static MODULE: Module = Module {
    name: "nathelper",
    doc: "Reaches phones behind NAT and in browsers, whose Contact leads nowhere.",
    parameters: &[
        Parameter {
            name: "received_avp",
            kind: SettingKind::Str,
            default: "",
            doc: "The attribute, as $avp(NAME), in which fix_nated_register() leaves the source address for save(); module \
                  registrar needs the same.",
        },
        Parameter {
            name: "alias_name",
            kind: SettingKind::Str,
            default: "alias",
            doc: "The URI parameter that carries the source address.",
        },
        Parameter {
            name: "nat_addr_mode",
            kind: SettingKind::Int,
            default: "1",
            doc: "Which IPv4 addresses count as private: 0 those of RFC 1918; 1 also those between a provider and its \
                  customers (RFC 6598) and link-local ones (RFC 3927).",
        },
        Parameter {
            name: "append_sdp_oldmediaip",
            kind: SettingKind::Int,
            default: "1",
            doc: "1: fix_nated_sdp() keeps each address that it writes over as a=oldmediaip.",
        },
        Parameter {
            name: "nortpproxy_str",
            kind: SettingKind::Str,
            default: "a=nortpproxy:yes",
            doc: "The line that fix_nated_sdp() adds with flag 4.",
        },
        ignored("natping_interval", NO_PING),
        ignored("ping_nated_only", NO_PING),
        ignored("natping_processes", NO_PING),
        ignored("natping_socket", NO_PING),
        ignored("natping_disable_bflag", NO_PING),
        ignored("sipping_bflag", NO_PING),
        ignored("sipping_from", NO_PING),
        ignored("sipping_method", NO_PING),
        ignored("keepalive_timeout", NO_PING),
        ignored("udpping_from_path", NO_PING),
        ignored("force_socket", NO_PING),
        ignored("ignore_path", NO_PING),
        ignored("filter_server_id", NO_PING),
    ],
    functions: &[
        alias::ADD,
        alias::ADD_GIVEN,
        alias::SET,
        alias::HANDLE,
        contact::FIX,
        received::ADD,
        received::ALIAS_TO_VARIABLE,
        register::FIX,
        session::FIX,
        question::TEST,
        question::IS_RFC1918,
    ],
    variables: &[question::RECORD_ROUTES, question::TOP_RECORD_ROUTES],
    make,
    ..Module::EMPTY
};

const NO_PING: &str = "Has no effect: phones are not pinged, so they must keep their own way through a NAT open (RFC 5626 \
                       section 4.4).";

const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

/// What the settings say.
struct Nat {
    /// The attribute in which save() finds the source address.
    received: Option<Bytes>,
    alias_name: String,
    /// The line that says that a relay has been here.
    no_proxy_line: String,
    keeps_old_address: bool,
    /// Whether private means more than RFC 1918.
    is_wide: bool,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let alias_name = setup.text("alias_name");
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if alias_name.is_empty() || !alias_name.bytes().all(is_token) {
        let cause = "must be the name of a URI parameter".into();
        return Err(SetupError::Setting { name: "alias_name", cause });
    }
    let received = crate::setting::attribute(&setup.text("received_avp"));
    Ok(Arc::new(Nat {
        received: received.map_err(|cause| SetupError::Setting { name: "received_avp", cause })?,
        alias_name,
        no_proxy_line: setup.text("nortpproxy_str").trim_end().to_owned(),
        keeps_old_address: setup.int("append_sdp_oldmediaip") != 0,
        is_wide: setup.int("nat_addr_mode") != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, make, text};
    use module_api::{Dialect, Setting};
    use sip_message::Transport;

    /// A call about `message` that came from `source` over `transport`, with settings.
    pub(super) fn bench(message: &str, source: &str, transport: Transport, settings: &[(&str, &str)]) -> Bench {
        let settings: Vec<Setting> =
            settings.iter().map(|(name, value)| Setting { name: (*name).into(), value: text(value) }).collect();
        let state = make(&MODULE, &settings, Dialect::Kamailio, &|_| None).expect("nathelper starts");
        let mut bench = Bench::with_state(message, state);
        bench.context.arrival.source = source.parse().expect("an address");
        bench.context.arrival.transport = transport;
        bench
    }

    /// The INVITE of a browser, as in RFC 7118 section 8.2.
    pub(super) const BROWSER: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
        Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks\r\n\
        Max-Forwards: 70\r\n\
        From: sip:alice@example.com;tag=asdyka899\r\n\
        To: sip:bob@example.com\r\n\
        Call-ID: asidkj3ss\r\n\
        CSeq: 1 INVITE\r\n\
        Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws;ob>\r\n\
        Content-Length: 0\r\n\r\n";

    #[test]
    fn a_parameter_name_that_breaks_uris_is_refused() {
        let settings = [Setting { name: "alias_name".into(), value: text("a;b") }];
        assert!(make(&MODULE, &settings, Dialect::Kamailio, &|_| None).is_err());
    }
}
