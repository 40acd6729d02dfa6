//! Path: the way back to a phone that registers through this server (RFC 3327).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Module, Outcome, Param, ParamKind, Parameter, Routes, Setup, SetupError, State};
use sip_message::{HeaderName, Transport};

use crate::outbound::Outbound;
use crate::setting::{ignored, number, text};

/// Path: the way back to a phone that registers through this server.
pub static MODULE: Module = Module {
    name: "path",
    doc: "Adds this server to the Path of a REGISTER on its way to a registrar (RFC 3327).",
    parameters: PARAMETERS,
    functions: &[
        adds("add_path", USER_AND_PARAMETERS, |call| add(call, None, false)),
        adds("add_path_received", USER_AND_PARAMETERS, |call| add(call, None, true)),
        adds("add_path_advertised_address", ADDRESS_TOO, |call| add(call, Some(call.text(0)), false)),
        adds("add_path_received_advertised_address", ADDRESS_TOO, |call| add(call, Some(call.text(0)), true)),
    ],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    ignored(
        "use_received",
        "Has no effect: the received of the topmost own Path is used where module registrar looks at it.",
    ),
    number("received_format", "0", "0: received holds a URI; 1: it holds ADDRESS~PORT~TRANSPORT."),
    ignored("enable_r2", "Has no effect: one Path leads back to the socket that the phone knows."),
    ignored("sockname_mode", "Has no effect."),
    text("received_name", "received", "The parameter that holds where the REGISTER came from."),
];

const USER_AND_PARAMETERS: &[Param] =
    &[Param::optional("user", ParamKind::Format), Param::optional("parameters", ParamKind::Format)];
const ADDRESS_TOO: &[Param] = &[
    Param::required("address", ParamKind::HostPort),
    Param::optional("user", ParamKind::Format),
    Param::optional("parameters", ParamKind::Format),
];

const fn adds(name: &'static str, params: &'static [Param], run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function {
        name,
        params,
        routes: Routes::REQUEST,
        doc: "Adds a Path header with the address at which the REGISTER arrived, or a given one, and with a user part and \
              URI parameters where they are given. The received form says also where the REGISTER came from. Where \
              module outbound is loaded, the user part names the flow of a phone that asks for it (RFC 5626 section 5.1).",
        example: "if (is_method(\"REGISTER\")) add_path_received(\"edge\");",
        run,
    }
}

/// The state of module path.
struct Settings {
    received_name: String,
    is_compact: bool,
    /// Names flows, where the script makes the server an edge proxy.
    outbound: Option<Arc<Outbound>>,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let received_name = setup.text("received_name");
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if received_name.is_empty() || !received_name.bytes().all(is_name) {
        let cause = "must be the name of a URI parameter".into();
        return Err(SetupError::Setting { name: "received_name", cause });
    }
    let outbound = setup.module::<Outbound>("outbound").ok();
    Ok(Arc::new(Settings { received_name, is_compact: setup.int("received_format") != 0, outbound }))
}

/// A new Path goes on top of others (RFC 3327 section 5.1), and asks to be a loose route.
fn add(call: &mut Call<'_>, address: Option<Bytes>, is_received: bool) -> Outcome {
    let first = usize::from(address.is_some());
    let (user, params) = (call.text(first), call.text(first + 1));
    let is_uri_text = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(byte));
    if ![&user, &params].iter().all(|text| is_uri_text(text)) || address.as_ref().is_some_and(|text| !is_uri_text(text))
    {
        return Outcome::fail("add_path: what is given cannot stand in a URI");
    }
    let outbound = call.state::<Settings>().outbound.clone();
    let flow = outbound.filter(|outbound| outbound.is_used(call)).and_then(|outbound| outbound.user(call));
    let has_flow = flow.is_some();
    let user = flow.unwrap_or(user);
    let mut path = b"Path: <sip:".to_vec();
    if !user.is_empty() {
        path.extend_from_slice(&user);
        path.push(b'@');
    }
    let transport = call.context.arrival.transport;
    path.extend_from_slice(&address.unwrap_or_else(|| own_address(call)));
    if transport != Transport::Udp {
        path.extend_from_slice(format!(";transport={}", transport.uri_param()).as_bytes());
    }
    path.extend_from_slice(b";lr");
    if is_received {
        path.extend_from_slice(received(call).as_bytes());
    }
    if !params.is_empty() {
        path.push(b';');
        path.extend_from_slice(params.strip_prefix(b";").unwrap_or(&params));
    }
    if has_flow {
        // RFC 5626 section 5.1.
        path.extend_from_slice(b";ob");
    }
    path.extend_from_slice(b">\r\n");
    call.context.edits.insert_before(HeaderName::Path, path);
    Outcome::TRUE
}

fn own_address(call: &Call<'_>) -> Bytes {
    let arrival = &call.context.arrival;
    let socket = call.host.sockets().get(usize::from(arrival.socket.0));
    match socket.and_then(|socket| socket.advertised.as_ref()) {
        Some((host, port)) => [host, &b":"[..], port.to_string().as_bytes()].concat().into(),
        None => arrival.local.to_string().into(),
    }
}

fn received(call: &Call<'_>) -> String {
    let (settings, arrival) = (call.state::<Settings>(), &call.context.arrival);
    let (name, source, transport) = (&settings.received_name, arrival.source, arrival.transport.uri_param());
    if settings.is_compact {
        let host = match source.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        return format!(";{name}={host}~{}~{transport}", source.port());
    }
    match arrival.transport {
        Transport::Udp => format!(";{name}=sip:{source}"),
        // A semicolon would end the parameter, so it is escaped (RFC 3261 section 25.1, pvalue).
        _ => format!(";{name}=sip:{source}%3Btransport%3D{transport}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started, try_start};

    fn path(function: &str, args: &[&str], settings: &[(&str, &str)], transport: Transport) -> String {
        let mut bench = Bench::with_state(&INVITE.replace("INVITE", "REGISTER"), started(&MODULE, settings));
        bench.context.arrival.transport = transport;
        assert_eq!(bench.run(&MODULE, function, args), 1);
        let written = bench.written();
        written.split("\r\n").find_map(|line| line.strip_prefix("Path: ")).unwrap().to_owned()
    }

    // The forms are those of Kamailio 5.6.3.
    #[test]
    fn the_path_leads_back_here() {
        let udp = |function: &str, args: &[&str]| path(function, args, &[], Transport::Udp);
        assert_eq!(udp("add_path", &[]), "<sip:192.0.2.1:5060;lr>");
        assert_eq!(udp("add_path", &["user"]), "<sip:user@192.0.2.1:5060;lr>");
        assert_eq!(udp("add_path", &["user", "a=b"]), "<sip:user@192.0.2.1:5060;lr;a=b>");
        let received = "<sip:user@192.0.2.1:5060;lr;received=sip:198.51.100.7:5070;a=b>";
        assert_eq!(udp("add_path_received", &["user", "a=b"]), received);
        let advertised = "<sip:user@edge.example.com:5060;lr>";
        assert_eq!(udp("add_path_advertised_address", &["edge.example.com:5060", "user"]), advertised);
    }

    #[test]
    fn other_transports_are_named() {
        let tcp = path("add_path_received", &[], &[], Transport::Tcp);
        assert_eq!(tcp, "<sip:192.0.2.1:5060;transport=tcp;lr;received=sip:198.51.100.7:5070%3Btransport%3Dtcp>");
        let compact = path("add_path_received", &[], &[("received_format", "1")], Transport::Tcp);
        assert_eq!(compact, "<sip:192.0.2.1:5060;transport=tcp;lr;received=198.51.100.7~5070~tcp>");
    }

    #[test]
    fn what_would_break_the_uri_is_refused() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "add_path", &["a>\r\nX: y"]), -1);
        assert!(bench.context.edits.is_empty());
        assert!(try_start(&MODULE, &[("received_name", "a;b")]).is_err());
    }
}
