//! What a record says, gathered from a request and its reply.

use bytes::Bytes;
use module_api::{Call, Value};
use sip_message::{HeaderName, Message, Uri};

use super::rules::Rules;
use crate::auth::verified;
use crate::named_variable::NamedVariable;

/// Why a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A final reply has gone upstream.
    Answered,
    /// A call reached nobody.
    Missed,
    /// An ACK was relayed.
    Acknowledged,
    /// The script asks for it.
    Requested,
}

impl Occasion {
    /// How a log line begins.
    pub(super) fn title(self) -> &'static str {
        match self {
            Occasion::Answered => "ACC: transaction answered: ",
            Occasion::Missed => "ACC: call missed: ",
            Occasion::Acknowledged => "ACC: request acknowledged: ",
            Occasion::Requested => "ACC: request accounted: ",
        }
    }

    /// The word in JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            Occasion::Answered => "answered",
            Occasion::Missed => "missed",
            Occasion::Acknowledged => "acknowledged",
            Occasion::Requested => "requested",
        }
    }
}

/// What happened, as far as the request itself does not say it.
pub(super) struct Event<'a> {
    pub(super) occasion: Occasion,
    pub(super) code: u16,
    pub(super) reason: &'a [u8],
    /// Of the reply; none: of the request.
    pub(super) to_tag: Option<&'a [u8]>,
}

/// A record.
pub(super) struct Facts {
    pub(super) occasion: Occasion,
    /// Seconds and microseconds since 1970.
    pub(super) time: (i64, u32),
    pub(super) method: Bytes,
    pub(super) from_tag: Bytes,
    pub(super) to_tag: Bytes,
    pub(super) call_id: Bytes,
    /// As text: a comment of the script may hold none.
    pub(super) code: String,
    pub(super) reason: Bytes,
}

impl Facts {
    pub(super) fn of(call: &Call<'_>, event: &Event<'_>, rules: Rules) -> Facts {
        let message = &call.context.message;
        let now = call.host.unix_time();
        let copied = |text: Option<&[u8]>| text.map(Bytes::copy_from_slice).unwrap_or_default();
        let from_tag = copied(message.from_tag());
        let to_tag = copied(event.to_tag.filter(|tag| !tag.is_empty()).or(message.to_tag()));
        let turns = rules.detects_direction && crate::rr::is_upstream(call);
        let (from_tag, to_tag) = if turns { (to_tag, from_tag) } else { (from_tag, to_tag) };
        Facts {
            occasion: event.occasion,
            time: (now.as_secs() as i64, now.subsec_micros()),
            method: copied(Some(message.method_text())),
            from_tag,
            to_tag,
            call_id: copied(Some(message.call_id())),
            code: if event.code == 0 { String::new() } else { event.code.to_string() },
            reason: copied(Some(event.reason)),
        }
    }
}

/// What SER's records say besides: whole header values and URIs.
pub(super) struct Addresses {
    pub(super) from: Bytes,
    pub(super) to: Bytes,
    pub(super) from_uri: Bytes,
    pub(super) to_uri: Bytes,
    /// The Request-URI as it came, and as it was sent on.
    pub(super) inbound_uri: Bytes,
    pub(super) outbound_uri: Bytes,
    /// Who was verified, else who From says.
    pub(super) user: Bytes,
    pub(super) domain: Bytes,
    /// The user of From.
    pub(super) user_part: Bytes,
}

impl Addresses {
    pub(super) fn of(call: &Call<'_>) -> Addresses {
        let message = &call.context.message;
        let from_uri = uri_of(message.from().ok().map(|address| address.uri));
        let to_uri = uri_of(message.to().ok().map(|address| address.uri));
        let parsed = Uri::parse(&from_uri).ok();
        let user_part = parsed.as_ref().and_then(|uri| uri.user).map(Bytes::copy_from_slice).unwrap_or_default();
        let verified = verified(call.context).map(|credentials| Bytes::copy_from_slice(credentials.username));
        Addresses {
            from: header(message, HeaderName::From),
            to: header(message, HeaderName::To),
            domain: parsed.map(|uri| Bytes::copy_from_slice(uri.host_text)).unwrap_or_default(),
            user: verified.unwrap_or_else(|| user_part.clone()),
            inbound_uri: Bytes::copy_from_slice(message.request_uri()),
            outbound_uri: call.context.target.uri.clone(),
            from_uri,
            to_uri,
            user_part,
        }
    }
}

fn uri_of(uri: Option<&[u8]>) -> Bytes {
    uri.map(Bytes::copy_from_slice).unwrap_or_default()
}

fn header(message: &Message, name: HeaderName) -> Bytes {
    message.header(name).map(|header| Bytes::copy_from_slice(&header.unfolded())).unwrap_or_default()
}

/// Values of the variables that a setting names.
pub(super) fn values(call: &mut Call<'_>, variables: &[(String, NamedVariable)]) -> Vec<Value> {
    variables.iter().map(|(_, variable)| variable.read(call)).collect()
}
