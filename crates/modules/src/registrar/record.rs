//! What the script sets for one request and what it is shown, in records.

use bytes::Bytes;
use module_api::{Attributes, Call, Content, Record, RecordKind, SocketId, Value};
use sip_proto::registrar::Policy;

use super::settings::Registrar;
use crate::usrloc::Contact;

/// A field of the record that `xavp_cfg` names.
pub(super) fn limit(call: &Call<'_>, registrar: &Registrar, field: &[u8]) -> Option<Value> {
    let name = registrar.limits.as_ref()?;
    let records = &call.context.records;
    records.all(RecordKind::Stacked, name).find_map(|record| record.field(field)).cloned()
}

/// The registrar's policy, with what the script has set for this request.
pub(super) fn policy(call: &Call<'_>, registrar: &Registrar) -> Policy {
    let mut policy = registrar.policy.clone();
    if registrar.limits.is_none() {
        return policy;
    }
    let number = |field| limit(call, registrar, field).map(|value| value.to_int());
    if let Some(most) = number(b"max_contacts").and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0) {
        policy.max_contacts = most;
    }
    policy.forced_q = number(b"q").and_then(|q| u16::try_from(q).ok()).filter(|q| *q <= 1000);
    policy
}

/// Shortens lifetimes at random, so that phones that came at once do not come back at once.
pub(super) fn spread(call: &mut Call<'_>, registrar: &Registrar, policy: &mut Policy) {
    let (by_default, asked) = registrar.spread;
    if (by_default, asked) == (0, 0) {
        return;
    }
    let random = call.host.random();
    let part = |most: u8| (random % (u64::from(most) + 1)) as u8;
    (policy.shortens_default, policy.shortens) = (part(by_default), part(asked));
}

/// The socket that counts as the one at which the REGISTER arrived: another server may have taken it.
pub(super) fn socket(call: &Call<'_>, registrar: &Registrar) -> SocketId {
    let context = &*call.context;
    let by_header =
        registrar.socket_header.as_ref().filter(|(flag, _)| context.has_flag(*flag)).and_then(|(_, name)| {
            let header = context.message.headers_with_name(name.as_bytes()).next()?;
            Some(header.value.trim_ascii().to_vec())
        });
    let named = by_header.or_else(|| limit(call, registrar, b"socket").map(|value| value.to_bytes().to_vec()));
    let at = named.and_then(|named| {
        let is_named = |socket: &module_api::Socket| socket.to_string().as_bytes().eq_ignore_ascii_case(&named);
        call.host.sockets().iter().position(is_named)
    });
    at.and_then(|at| u16::try_from(at).ok()).map_or(context.arrival.socket, SocketId)
}

/// Shows contacts in the records that `xavp_rcd` names, the first in `[0]`.
pub(super) fn show(call: &mut Call<'_>, registrar: &Registrar, contacts: &[Contact]) {
    let Some((name, mask)) = &registrar.shown else { return };
    let now = call.host.unix_time().as_secs();
    let records = &mut call.context.records;
    records.remove(RecordKind::Stacked, name);
    // The newest record is read first.
    for contact in contacts.iter().rev() {
        let mut fields = Attributes::default();
        let mut push = |bit: i64, field: &'static str, value: Value| {
            if mask & bit == 0 {
                fields.push(Bytes::from_static(field.as_bytes()), value);
            }
        };
        let filled = |text: &Bytes| Value::from(Some(text.clone()).filter(|text| !text.is_empty()));
        let left = contact.binding.expires.saturating_sub(now);
        push(1, "ruid", Value::Str(contact.ruid.clone()));
        push(2, "contact", Value::Str(contact.binding.uri.clone()));
        push(4, "expires", Value::Int(i64::try_from(left).unwrap_or(i64::MAX)));
        push(8, "received", filled(&contact.received));
        push(16, "path", filled(&contact.binding.path));
        // What finds no room is not shown; the contacts count all the same.
        records.push(RecordKind::Stacked, Record { name: name.clone(), content: Content::Fields(fields) });
    }
}
