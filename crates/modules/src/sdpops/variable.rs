//! `$sdp(...)`: parts of a session description.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Fault, KeyRule, Routes, Selector, Value, Variable};
use sip_message::sdp::{Media, Session};

pub(super) const SDP: Variable = Variable {
    name: "sdp",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A part of the session description: body all of it, sess_version the version in o=, o:ip the address there, c:ip and c:af \
          address and family (IP4 or IP6) of the first c= line, mN:raw the m= line of stream N (from 0), mN:rtp:port its port, \
          mN:rtcp:port the one of RTCP (RFC 3605), mN:b:AS and the like a bandwidth. Undefined without a description or such \
          a part. $sdp(sess_version) can be set to a number from 0; -1 makes it one more.",
    example: "if ($sdp(c:af) == \"IP6\") xlog(\"$sdp(m0:rtp:port)\\n\");",
    read,
    write: Some(write),
};

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let message = Arc::clone(&call.context.message);
    if selector.key() == b"body" {
        return super::description(&message).map_or(Value::Null, |found| copied(found.text));
    }
    let Some(session) = super::session(&message) else { return Value::Null };
    match selector.key() {
        b"sess_version" => session.origin().map_or(Value::Null, |origin| copied(origin.version)),
        b"o:ip" => session.origin().map_or(Value::Null, |origin| copied(origin.address)),
        b"c:ip" => session.connections().next().map_or(Value::Null, |connection| copied(connection.address)),
        b"c:af" => session.connections().next().map_or(Value::Null, |connection| copied(connection.address_type)),
        key => stream(&session, key).unwrap_or(Value::Null),
    }
}

/// `mN:...`
fn stream(session: &Session<'_>, key: &[u8]) -> Option<Value> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix('m')?;
    let (number, part) = key.split_once(':')?;
    let media = session.media().nth(number.parse().ok()?)?;
    match part {
        "raw" => Some(copied(&[b"m=", media.line.value].concat())),
        "rtp:port" => Some(Value::Int(media.port.into())),
        "rtcp:port" => Some(Value::Int(rtcp_port(&media).into())),
        part => {
            let kind = part.strip_prefix("b:")?;
            let lines = media.lines().filter(|line| line.kind == b'b');
            let mut found = lines.filter_map(|line| {
                let colon = line.value.iter().position(|byte| *byte == b':')?;
                line.value[..colon].eq_ignore_ascii_case(kind.as_bytes()).then(|| copied(&line.value[colon + 1..]))
            });
            found.next()
        }
    }
}

/// The port that `a=rtcp` names, else the one behind that of RTP (RFC 3605 section 2.1, RFC 3550 section 11).
fn rtcp_port(media: &Media<'_>) -> u16 {
    let named = media.attribute("rtcp").and_then(|attribute| attribute.value).and_then(|value| {
        let port = value.split(|byte| *byte == b' ').next()?;
        std::str::from_utf8(port).ok()?.parse().ok()
    });
    named.unwrap_or_else(|| if media.port == 0 { 0 } else { media.port.saturating_add(1) })
}

fn write(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let refuse = |cause: &'static str| Err(Fault { code: -1, cause: cause.into() });
    if selector.key() != b"sess_version" {
        return refuse("of $sdp only sess_version can be set");
    }
    let message = Arc::clone(&call.context.message);
    let origin = super::session(&message).and_then(|session| session.origin());
    let Some(origin) = origin else { return refuse("there is no session description with an o= line") };
    let version = match value.to_int() {
        -1 => {
            let now: Option<u64> = std::str::from_utf8(origin.version).ok().and_then(|version| version.parse().ok());
            match now.and_then(|now| now.checked_add(1)) {
                Some(next) => next,
                None => return refuse("the version of the description is no number"),
            }
        }
        version => match u64::try_from(version) {
            Ok(version) => version,
            Err(_) => return refuse("a version is a number from 0, or -1 for one more"),
        },
    };
    call.context.edits.replace(origin.version_span, version.to_string());
    Ok(())
}

fn copied(text: &[u8]) -> Value {
    Value::Str(Bytes::copy_from_slice(text))
}
