//! Whether a message comes from a gateway.

use std::net::IpAddr;

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::{Transport, Uri};

use super::Dispatcher;
use super::target::Target;
use crate::setting::Place;

pub(super) const IS_FROM_LIST: Function = Function {
    name: "ds_is_from_list",
    params: &[
        Param::optional("set", ParamKind::Int),
        Param::optional("mode", ParamKind::Int),
        Param::optional("uri", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "True when the message comes from a gateway of the set, or of any (-1). Mode adds up: 1 whatever the port, 2 \
          whatever the transport (the default), 4 only if it takes calls, 8 only at its own socket. With a URI that is \
          looked for instead.",
    example: "if (ds_is_from_list(1)) setflag(FROM_GATEWAY);",
    run: is_from_list,
};

/// Where a message came from, or what else is looked for.
struct Sought {
    address: IpAddr,
    port: u16,
    transport: Transport,
}

fn is_from_list(call: &mut Call<'_>) -> Outcome {
    let wanted = call.int(0).filter(|set| *set >= 0);
    let mode = call.int(1).unwrap_or(ANY_TRANSPORT);
    let sought = match call.arg_count() {
        3 => match sought(&call.text(2)) {
            Some(sought) => sought,
            None => return Outcome::fail("ds_is_from_list: the URI must hold an address"),
        },
        _ => Sought {
            address: call.context.arrival.source.ip().to_canonical(),
            port: call.context.arrival.source.port(),
            transport: call.context.arrival.transport,
        },
    };
    let arrival_socket = call.context.arrival.socket;
    let sets = call.state::<Dispatcher>().sets();
    let socket_fits = |target: &Target| {
        mode & OWN_SOCKET == 0
            || target.attrs.socket.is_empty()
            || crate::core::socket_named(call, &target.attrs.socket) == Some(arrival_socket)
    };
    let found = sets
        .0
        .iter()
        .filter(|(id, _)| wanted.is_none_or(|wanted| wanted == **id))
        .flat_map(|(id, set)| set.targets.iter().map(move |target| (*id, target)))
        .find(|(_, target)| fits(target, &sought, mode) && socket_fits(target));
    if let Some((id, target)) = found {
        let dispatcher = call.shared_state::<Dispatcher>();
        let places = &dispatcher.settings.found;
        tell(call, places.set.as_ref(), || Value::Int(id));
        tell(call, places.attrs.as_ref(), || Value::Str(target.attrs.text.clone()));
        tell(call, places.uri.as_ref(), || Value::Str(target.uri.clone()));
    }
    found.is_some().into()
}

fn tell(call: &mut Call<'_>, place: Option<&Place>, value: impl FnOnce() -> Value) {
    if let Some(place) = place {
        place.put(call.context, value());
    }
}

const ANY_PORT: i64 = 1;
const ANY_TRANSPORT: i64 = 2;
const ONLY_ACTIVE: i64 = 4;
const OWN_SOCKET: i64 = 8;

fn fits(target: &Target, sought: &Sought, mode: i64) -> bool {
    (mode & ANY_PORT != 0 || target.port == sought.port)
        && (mode & ANY_TRANSPORT != 0 || target.transport == sought.transport)
        && (mode & ONLY_ACTIVE == 0 || target.is_active())
        && target.addresses().iter().any(|address| address.to_canonical() == sought.address)
}

fn sought(uri: &[u8]) -> Option<Sought> {
    let uri = Uri::parse(uri).ok()?;
    let transport = uri.transport().unwrap_or(Transport::Udp);
    Some(Sought {
        address: uri.host.address()?.to_canonical(),
        port: uri.port.unwrap_or_else(|| transport.default_port()),
        transport,
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, Scratch, started, text};

    #[test]
    fn what_is_known_of_the_gateway_is_left_where_the_script_wants_it() {
        let files = Scratch::new(&[("list", "1 sip:192.0.2.1\n7 sip:198.51.100.7:5070 0 0 zone=north\n")]);
        let settings = [
            ("list_file", files.path("list")),
            ("setid_pvname", "$var(set)".into()),
            ("attrs_pvname", "$avp(attrs)".into()),
            ("uri_pvname", "$var(uri)".into()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &settings));
        bench.context.arrival.source = "198.51.100.7:5070".parse().unwrap();
        assert_eq!(bench.run(&MODULE, "ds_is_from_list", &[]), 1);
        assert_eq!(bench.context.vars.first(b"set"), Some(&Value::Int(7)));
        assert_eq!(bench.context.vars.first(b"uri"), Some(&text("sip:198.51.100.7:5070")));
        assert_eq!(bench.context.avps.first(b"attrs"), Some(&text("zone=north")));
        bench.context.arrival.source = "198.51.100.8:5070".parse().unwrap();
        assert_eq!(bench.run(&MODULE, "ds_is_from_list", &[]), -1);
        assert_eq!(bench.context.vars.first(b"set"), Some(&Value::Int(7)));
    }
}
