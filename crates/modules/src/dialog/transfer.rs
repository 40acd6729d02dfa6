//! Calls that the server makes or moves: REFER within a dialog (RFC 3515), and two parties brought together.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Function, Host, Outcome, OwnAnswer, OwnRequest, Param, ParamKind, Routes};
use sip_message::{HeaderName, Uri};
use sip_proto::dialog::course_of_caller;

use super::call::{Dialog, request_to};
use super::function::sides;
use super::settings::Settings;
use super::{Dialogs, current};

pub(super) const REFER: Function = Function {
    name: "dlg_refer",
    params: &[Param::required("side", ParamKind::Format), Param::required("address", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Asks \"caller\" or \"callee\" by REFER to call an address, as if the other side had asked. What becomes of it the \
          referred side tells in NOTIFYs within the dialog, which go to the other side.",
    example: "dlg_refer(\"caller\", \"sip:desk@example.com\");",
    run: |call| {
        let (side, address) = (call.text(0), call.text(1));
        let dialog = current(call);
        refer(call, dialog, &side, &address)
    },
};

pub(super) const REFER_BY_NUMBER: Function = Function {
    name: "dlg_refer_did",
    params: &[
        Param::required("entry", ParamKind::Int),
        Param::required("id", ParamKind::Int),
        Param::required("side", ParamKind::Format),
        Param::required("address", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "As dlg_refer(), for the dialog with those numbers ($dlg(h_entry) and $dlg(h_id)).",
    example: "dlg_refer_did(\"$var(entry)\", \"$var(id)\", \"caller\", \"sip:desk@example.com\");",
    run: |call| {
        let number = |n| call.int(n).and_then(|number| u32::try_from(number).ok());
        let (Some(entry), Some(id)) = (number(0), number(1)) else { return Outcome::FALSE };
        let (side, address) = (call.text(2), call.text(3));
        let dialog = call.state::<Dialogs>().table.numbered(entry, id);
        refer(call, dialog, &side, &address)
    },
};

pub(super) const REFER_BY_CALL_ID: Function = Function {
    name: "dlg_refer_cid",
    params: &[
        Param::required("call-id", ParamKind::Format),
        Param::required("side", ParamKind::Format),
        Param::required("address", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "As dlg_refer(), for the dialog with that Call-ID.",
    example: "dlg_refer_cid(\"$var(callid)\", \"caller\", \"sip:desk@example.com\");",
    run: |call| {
        let (call_id, side, address) = (call.text(0), call.text(1), call.text(2));
        let dialog = call.state::<Dialogs>().table.find(&call_id, b"", b"");
        refer(call, dialog, &side, &address)
    },
};

pub(super) const BRIDGE: Function = Function {
    name: "dlg_bridge",
    params: &[
        Param::required("from", ParamKind::Format),
        Param::required("to", ParamKind::Format),
        Param::optional("proxy", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Brings two parties together: calls the first with an INVITE that puts it on hold, asks it by REFER to call the \
          second, and hangs up. The calls come from bridge_controller, through a proxy where one is named.",
    example: "dlg_bridge(\"sip:alice@example.com\", \"sip:bob@example.com\");",
    run: |call| {
        let (from, to, proxy) = (call.text(0), call.text(1), call.text(2));
        let state = call.shared_state::<Dialogs>();
        match bridge(&state.settings, call.host, (&from, &to), &proxy) {
            true => Outcome::TRUE,
            false => Outcome::fail("dlg_bridge: a party is not a SIP URI"),
        }
    },
};

/// Whether a text is a SIP URI and nothing besides.
pub(super) fn is_sip(text: &[u8]) -> bool {
    crate::rewrite::is_clean(text) && Uri::parse(text).is_ok_and(|uri| uri.is_sip())
}

fn refer(call: &mut Call<'_>, dialog: Option<Arc<Dialog>>, side: &[u8], address: &[u8]) -> Outcome {
    let Some(dialog) = dialog else { return Outcome::FALSE };
    let Some([side]) = sides(side) else { return Outcome::fail("dlg_refer: a side is \"caller\" or \"callee\"") };
    if !is_sip(address) {
        return Outcome::fail("dlg_refer: the address is not a SIP URI");
    }
    let mut request = request_to(&dialog, *side, b"REFER");
    // Whoever is asked must know who asks, and where to send NOTIFY: the other side (RFC 3515 section 2.4.1).
    let other = dialog.facts().leg_of_other(*side).contact.clone();
    let own = [b"Contact: <", &other[..], b">\r\nRefer-To: <", address, b">\r\n"].concat();
    request.headers = [&request.headers[..], &own].concat().into();
    call.host.request(request, Box::new(|_, _| ()));
    call.state::<Dialogs>().touch(&dialog);
    Outcome::TRUE
}

/// Begins to bring `parties` together. False when one of them, or the proxy, is no SIP URI.
pub(super) fn bridge(settings: &Settings, host: &mut dyn Host, parties: (&Bytes, &Bytes), proxy: &Bytes) -> bool {
    let (from, to) = parties;
    if !is_sip(from) || !is_sip(to) || !(proxy.is_empty() || is_sip(proxy)) {
        return false;
    }
    let Some(contact) = contact(settings, host) else { return false };
    let mut invite = OwnRequest::new("INVITE", from.clone(), &settings.controller);
    invite.destination = (!proxy.is_empty()).then(|| proxy.clone());
    invite.headers = [b"Contact: <", &contact[..], b">\r\n"].concat().into();
    invite.body = Some(("application/sdp".into(), hold(host).into()));
    let to = to.clone();
    host.request(invite, Box::new(move |host, answer| on_answer(host, &answer, contact, &to)));
    true
}

/// The Contact of calls that the server makes.
fn contact(settings: &Settings, host: &dyn Host) -> Option<Bytes> {
    if !settings.bridge_contact.is_empty() {
        return Some(settings.bridge_contact.clone());
    }
    let socket = host.sockets().first()?;
    let (name, port) = socket.sent_by();
    let name = String::from_utf8_lossy(&name).into_owned();
    let transport = match socket.transport {
        sip_message::Transport::Udp => String::new(),
        transport => format!(";transport={}", transport.uri_param()),
    };
    Some(format!("sip:{name}:{port}{transport}").into())
}

/// An offer that no media follows (RFC 3264 section 5.1).
fn hold(host: &mut dyn Host) -> String {
    let id = host.random() >> 33;
    format!(
        "v=0\r\no=- {id} 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0\r\na=inactive\r\n"
    )
}

/// The first party has answered: it is asked to call the second.
fn on_answer(host: &mut dyn Host, answer: &OwnAnswer, contact: Bytes, to: &Bytes) {
    let Some(mut refer) = within(answer, "REFER", 1) else { return };
    let own = [b"Contact: <", &contact[..], b">\r\nRefer-To: <", to, b">\r\n"].concat();
    refer.headers = [&refer.headers[..], &own].concat().into();
    let bye = within(answer, "BYE", 2);
    let hang_up = move |host: &mut dyn Host, _: OwnAnswer| {
        // Accepted or not: nothing is left for this call to do (RFC 5589 section 6.1).
        if let Some(bye) = bye {
            host.request(bye, Box::new(|_, _| ()));
        }
    };
    host.request(refer, Box::new(hang_up));
}

/// A request within the dialog that `answer`, a 2xx, has made: the `nth` behind the INVITE. None for other answers.
fn within(answer: &OwnAnswer, method: &'static str, nth: u32) -> Option<OwnRequest> {
    let (request, reply) = (answer.request.as_ref()?, answer.reply.as_ref()?);
    if !(200..300).contains(&answer.status) {
        return None;
    }
    let course = course_of_caller(request, reply);
    let value = |name| reply.value(name).map(Bytes::copy_from_slice);
    Some(OwnRequest {
        method: method.into(),
        uri: course.uri,
        destination: course.next_hop,
        from: value(HeaderName::From)?,
        to: value(HeaderName::To)?,
        call_id: Some(Bytes::copy_from_slice(reply.call_id())),
        cseq: Some(request.cseq().ok()?.number + nth),
        headers: course.routes,
        ..OwnRequest::default()
    })
}
