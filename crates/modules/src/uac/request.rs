//! `$uac_req` and `uac_req_send()`: requests of the server's own.

use bytes::Bytes;
use module_api::{
    Call, Fault, Function, Host, KeyRule, Outcome, OwnAnswer, OwnRequest, RouteKind, Routes, Selector, Value, Variable,
    bracketed, made_up_context,
};
use sip_message::HeaderName;

use super::auth::{Account, Request, answer};
use crate::tm::uac::header_lines;

pub(super) const FIELDS: Variable = Variable {
    name: "uac_req",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The request for uac_req_send(): method, ruri, furi, turi, ouri (next hop), sock, callid, cseq, hdrs, body, auser, \
          apasswd, evroute, evparam. $uac_req(all) = $null forgets it. In event_route[uac:reply] also evcode and evtype.",
    example: "$uac_req(method) = \"MESSAGE\";",
    read: |call, selector| {
        let fields = call.context.note::<Fields>();
        fields.and_then(|fields| fields.read(selector.key()).cloned()).unwrap_or_default()
    },
    write: Some(write),
};

pub(super) const SEND: Function = Function {
    name: "uac_req_send",
    params: &[],
    routes: Routes::ANY,
    doc: "Sends the request that $uac_req describes. With auser and apasswd a challenge is answered. With evroute=1 the \
          final reply runs event_route[uac:reply].",
    example: "$uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"sip:gw@192.0.2.7\"; $uac_req(furi) = \"sip:me@example.com\"; uac_req_send();",
    run: send,
};

/// What `$uac_req` holds.
#[derive(Clone, Default)]
struct Fields(Vec<(&'static str, Value)>);

const NAMES: [&str; 18] = [
    "method", "ruri", "furi", "turi", "ouri", "sock", "callid", "cseq", "hdrs", "body", "auser", "apasswd", "evroute",
    "evparam", "evcode", "evtype", "fdname", "tdname",
];

impl Fields {
    fn read(&self, name: &[u8]) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, value)| value)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        self.0.retain(|(own, _)| *own != name);
        if !value.is_null() {
            self.0.push((name, value));
        }
    }

    fn text(&self, name: &str) -> Option<Bytes> {
        self.read(name.as_bytes()).map(Value::to_bytes).filter(|text| !text.is_empty())
    }
}

fn write(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let mut fields = call.context.note::<Fields>().cloned().unwrap_or_default();
    match NAMES.iter().find(|name| name.as_bytes() == selector.key()) {
        Some(name) => fields.set(name, value),
        None if selector.key() == b"all" => fields = Fields::default(),
        None => {
            let cause = format!("$uac_req has {} and all", NAMES.join(", "));
            return Err(Fault { code: -1, cause: cause.into() });
        }
    }
    call.context.set_note(fields);
    Ok(())
}

fn send(call: &mut Call<'_>) -> Outcome {
    let fields = call.context.note::<Fields>().cloned().unwrap_or_default();
    let (Some(method), Some(uri)) = (fields.text("method"), fields.text("ruri")) else {
        return Outcome::fail("uac_req_send needs $uac_req(method) and $uac_req(ruri)");
    };
    let from = fields.text("furi").unwrap_or_else(|| uri.clone());
    let mut request = OwnRequest::new(method, uri, &from);
    if let Some(name) = fields.text("fdname") {
        request.from = named(&name, &from);
    }
    if let Some(to) = fields.text("turi") {
        request.to = fields.text("tdname").map_or_else(|| bracketed(&to), |name| named(&name, &to));
    }
    request.destination = fields.text("ouri");
    request.call_id = fields.text("callid");
    request.cseq =
        fields.read(b"cseq").and_then(|value| u32::try_from(value.to_int()).ok()).filter(|number| *number > 0);
    if let Some(socket) = fields.text("sock") {
        request.socket = crate::core::socket_named(call, &socket);
        if request.socket.is_none() {
            return Outcome::fail("$uac_req(sock) is none of the server's sockets");
        }
    }
    let mut kind = Bytes::from_static(b"text/plain");
    let mut lines = Vec::new();
    for (name, value) in header_lines(&fields.text("hdrs").unwrap_or_default()) {
        match name.eq_ignore_ascii_case(b"content-type") {
            true => kind = value,
            false => lines.extend_from_slice(&[&name[..], b": ", &value, b"\r\n"].concat()),
        }
    }
    request.headers = lines.into();
    request.body = fields.text("body").map(|body| (kind, body));
    dispatch(call.host, request, fields, false);
    Outcome::TRUE
}

fn named(name: &[u8], uri: &[u8]) -> Bytes {
    let clean: Vec<u8> = name.iter().copied().filter(|byte| !byte.is_ascii_control() && *byte != b'"').collect();
    [b"\"", &clean[..], b"\" <", uri, b">"].concat().into()
}

fn dispatch(host: &mut dyn Host, request: OwnRequest, fields: Fields, is_second: bool) {
    let again = request.clone();
    let on_answer = move |host: &mut dyn Host, answer: OwnAnswer| {
        if !is_second && let Some(request) = with_credentials(host, &again, &fields, &answer) {
            return dispatch(host, request, fields, true);
        }
        tell(host, fields, &answer);
    };
    host.request(request, Box::new(on_answer));
}

/// The request once more, with credentials for the realm that was asked for (RFC 3261 section 22.2: the same but
/// for a greater CSeq).
fn with_credentials(
    host: &mut dyn Host,
    request: &OwnRequest,
    fields: &Fields,
    answered: &OwnAnswer,
) -> Option<OwnRequest> {
    let (reply, sent) = (answered.reply.as_ref()?, answered.request.as_ref()?);
    let (user, password) = (fields.text("auser")?, fields.text("apasswd")?);
    let account = Account { user, realm: Bytes::new(), password, is_ha1: false };
    let about = Request { method: &request.method, uri: &request.uri, random: host.random() };
    let answer = answer(reply, &about, |_| Some(account.clone()))?;
    let line = [answer.header.as_str().as_bytes(), b": ", &answer.value, b"\r\n"].concat();
    Some(OwnRequest {
        from: Bytes::copy_from_slice(sent.value(HeaderName::From)?),
        call_id: Some(Bytes::copy_from_slice(sent.call_id())),
        cseq: Some(sent.cseq().ok()?.number.checked_add(1)?),
        headers: [&request.headers[..], &line].concat().into(),
        ..request.clone()
    })
}

fn tell(host: &mut dyn Host, mut fields: Fields, answer: &OwnAnswer) {
    if fields.read(b"evroute").is_none_or(|value| value.to_int() != 1) {
        return;
    }
    let Some(route) = host.find_route(None, RouteKind::Event, "uac:reply") else { return };
    fields.set("evcode", Value::Int(answer.status.into()));
    fields.set("evtype", Value::Int(if answer.reply.is_some() { 1 } else { 2 }));
    let mut context = made_up_context(host);
    context.set_note(fields);
    host.start_route(route, context);
}
