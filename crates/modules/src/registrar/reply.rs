//! What a REGISTER is answered (RFC 3261 section 10.3 step 8), and who is told of it.

use bytes::Bytes;
use module_api::{Call, Data, Dialect, EventKind, Outcome, Reply};
use sip_message::HeaderName;
use sip_proto::registrar::Refusal;

use super::save::{Decided, HEADERS_ONLY, NO_REPLY, path_values};
use super::settings::{PathUse, Registrar};

/// Step 8: 200 with all contacts as they are now.
pub(super) fn confirm(call: &mut Call<'_>, decided: Decided, flags: i64) -> Outcome {
    let Decided { code, contacts, is_outbound, touched, .. } = decided;
    let registrar = call.shared_state::<Registrar>();
    registrar.accepted.increment();
    tell(call, code, &contacts);
    super::record::show(call, &registrar, &touched);
    let mut headers = contacts;
    let message = &call.context.message;
    let path = registrar.path;
    let knows_path = message.has_token(HeaderName::Supported, "path");
    // RFC 3327 section 5.3: the phone is shown the Path that was kept.
    if matches!(path, PathUse::Confirmed | PathUse::Demanded) && knows_path && message.has(HeaderName::Path) {
        headers.extend_from_slice(&[b"Path: ", &path_values(message)[..], b"\r\n"].concat());
    }
    if is_outbound {
        // RFC 5626 section 6: so the phone knows that its flow is kept.
        headers.extend_from_slice(b"Require: outbound\r\n");
        if registrar.flow_timer > 0 {
            headers.extend_from_slice(format!("Flow-Timer: {}\r\n", registrar.flow_timer).as_bytes());
        }
    }
    headers.extend_from_slice(&registrar.service_route);
    answer(call, 200, "OK", &headers, flags);
    Outcome::Value(code)
}

/// Tells the outside world what a REGISTER has changed; a query has changed nothing.
fn tell(call: &Call<'_>, code: i64, contacts: &[u8]) {
    let kind = match code {
        1 | 2 => EventKind::RegistrationSave,
        3 => EventKind::RegistrationRemove,
        _ => return,
    };
    let context = &*call.context;
    call.state::<Registrar>().events.tell(kind, call.host.unix_time(), || {
        let text = |bytes: &[u8]| Data::from(String::from_utf8_lossy(bytes).into_owned());
        let message = &context.message;
        let listed = String::from_utf8_lossy(contacts);
        let listed = listed.trim().strip_prefix("Contact: ").unwrap_or_default().to_owned();
        let user_agent = message.header(HeaderName::UserAgent).map_or(Data::Null, |header| text(header.value));
        vec![
            ("aor", message.to().map_or(Data::Null, |to| text(to.uri))),
            ("contacts", listed.into()),
            ("source", context.arrival.source.to_string().into()),
            ("transport", context.arrival.transport.uri_param().into()),
            ("user_agent", user_agent),
            ("call_id", text(message.call_id())),
        ]
    });
}

pub(super) fn refuse(call: &mut Call<'_>, refusal: Refusal, flags: i64) -> Outcome {
    let registrar = call.shared_state::<Registrar>();
    registrar.rejected.increment();
    let headers = match refusal {
        Refusal::TooBrief { min_expires } => format!("Min-Expires: {min_expires}\r\n"),
        Refusal::PathUnsupported => "Require: path\r\n".to_owned(),
        Refusal::OutboundUnsupported => "Require: outbound\r\n".to_owned(),
        Refusal::OutboundOff => "Unsupported: outbound\r\n".to_owned(),
        Refusal::OutOfOrder if registrar.retry_after > 0 => format!("Retry-After: {}\r\n", registrar.retry_after),
        _ => String::new(),
    };
    let (code, reason) = refusal.status();
    answer(call, code, reason, headers.as_bytes(), flags);
    let own = if refusal == Refusal::TooManyContacts { -2 } else { -1 };
    Outcome::Value(refused_code(call, own))
}

/// SER's save() ends the script when it has refused.
pub(super) fn refused_code(call: &Call<'_>, own: i64) -> i64 {
    if call.dialect() == Dialect::Ser { 0 } else { own }
}

pub(super) fn answer(call: &mut Call<'_>, code: u16, reason: &str, headers: &[u8], flags: i64) {
    if flags & HEADERS_ONLY != 0 && code < 300 {
        call.context.reply_headers.extend_from_slice(headers);
        return;
    }
    if flags & (NO_REPLY | HEADERS_ONLY) != 0 {
        let headers = Bytes::copy_from_slice(headers);
        call.context.set_note(Unsent { code, reason: Bytes::copy_from_slice(reason.as_bytes()), headers });
        return;
    }
    send(call, &Reply { code, reason: reason.as_bytes(), headers });
}

/// A reply that save() was told to leave to reg_send_reply().
struct Unsent {
    code: u16,
    reason: Bytes,
    headers: Bytes,
}

pub(super) fn send_later(call: &mut Call<'_>) -> Outcome {
    let Some(unsent) = call.context.take_note::<Unsent>() else { return Outcome::FALSE };
    send(call, &Reply { code: unsent.code, reason: &unsent.reason, headers: &unsent.headers });
    Outcome::TRUE
}

pub(super) fn send(call: &mut Call<'_>, reply: &Reply<'_>) {
    // What fails here is that the phone named no address to reply to; there is nobody to tell.
    let _ = match call.context.transaction {
        Some(_) => call.host.reply(call.context, reply),
        None => call.host.reply_stateless(call.context, reply),
    };
}
