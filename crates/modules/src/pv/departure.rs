//! `$sndto`, `$sndfrom`: the way of a message that is about to leave.

use module_api::{Call, Departure, KeyRule, RouteKind, Routes, Value, Variable};

use super::text;

pub(super) const TO: Variable = Variable {
    name: "sndto",
    key: KeyRule::Required,
    routes: Routes::of(RouteKind::Send),
    doc: "In onsend_route where the message goes: ip, port, proto (a number, see $K), sproto (its name) or af (4 or 6).",
    example: "xlog(\"to $sndto(ip):$sndto(port)\\n\");",
    read: |call, selector| match call.context.note::<Departure>() {
        Some(departure) => part(departure.peer, departure.transport, selector.key()),
        None => Value::Null,
    },
    write: None,
};
pub(super) const FROM: Variable = Variable {
    name: "sndfrom",
    doc: "In onsend_route where the message leaves from; parts as of $sndto.",
    example: "xlog(\"from $sndfrom(ip):$sndfrom(port)\\n\");",
    read: |call, selector| from(call, selector.key()),
    ..TO
};

fn from(call: &Call<'_>, name: &[u8]) -> Value {
    let Some(departure) = call.context.note::<Departure>() else { return Value::Null };
    let socket = call.host.sockets().get(usize::from(departure.socket.0));
    socket.map_or(Value::Null, |socket| part(socket.address, departure.transport, name))
}

fn part(address: std::net::SocketAddr, transport: sip_message::Transport, name: &[u8]) -> Value {
    match name {
        b"ip" => text(address.ip().to_string()),
        b"port" => Value::Int(address.port().into()),
        b"proto" => Value::Int(super::via::number(transport)),
        b"sproto" => Value::from_static(transport.uri_param()),
        b"af" => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
        _ => Value::Null,
    }
}
