//! One dialog that is tracked, and where its two sides are reached.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use module_api::{Attributes, OwnRequest, SocketId};
use sip_message::{HeaderName, Message};
use sip_proto::dialog::{contact_uri, course, recorded};

/// How far a dialog has come, by Kamailio's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The INVITE has been seen.
    Unconfirmed = 1,
    /// It rings.
    Early = 2,
    /// It has been answered, and the ACK is due.
    Answered = 3,
    /// It is up.
    Confirmed = 4,
    /// It is over.
    Ended = 5,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

impl Side {
    /// The one that it talks to.
    pub(super) fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// A dialog.
///
/// Both sides use one Call-ID, and so do all its messages: one worker sees them all, in order. The lock is for
/// commands and for scripts about other calls; it is never contended by the call itself.
pub(super) struct Dialog {
    /// Its two numbers, as Kamailio's commands and the Record-Route cookie name it.
    pub(super) entry: u32,
    pub(super) id: u32,
    pub(super) call_id: Bytes,
    pub(super) from_tag: Bytes,
    /// Number of the INVITE.
    pub(super) invite: u32,
    state: Mutex<Facts>,
}

/// What changes in the life of a dialog.
pub(super) struct Facts {
    pub(super) stage: Stage,
    pub(super) from: Bytes,
    pub(super) to: Bytes,
    pub(super) to_tag: Bytes,
    pub(super) request_uri: Bytes,
    pub(super) caller: Leg,
    pub(super) callee: Leg,
    /// When its INVITE was seen, by the wall clock.
    pub(super) created: Duration,
    /// When it first rang, by the wall clock; zero before.
    pub(super) rang: Duration,
    /// Whose credentials were verified in the INVITE; empty: nobody's.
    pub(super) identity: Bytes,
    /// When it began to be up, by the wall clock; zero before.
    pub(super) started: Duration,
    /// How long it may last once it is up.
    pub(super) lifetime: Duration,
    /// When it ends by itself, by the wall clock.
    pub(super) expires: Duration,
    /// When somebody looks next whether its time is up, by the wall clock; zero: nobody does.
    pub(super) looked_at: Duration,
    /// Whether both sides get a BYE when its time is up.
    pub(super) ends_with_bye: bool,
    pub(super) flags: u32,
    pub(super) vars: Attributes,
    pub(super) profiles: Vec<(Bytes, Bytes)>,
}

/// How one side is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Leg {
    /// The remote target: the URI of its Contact.
    pub(super) contact: Bytes,
    /// The elements on the way to it, nearest first.
    pub(super) routes: Vec<Bytes>,
    /// Number of the latest request that it sent.
    pub(super) cseq: u32,
    pub(super) socket: Option<SocketId>,
}

impl Dialog {
    /// The dialog that `invite`, which arrived at `socket`, may become.
    pub(super) fn new((entry, id): (u32, u32), invite: &Message, socket: SocketId) -> Dialog {
        let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        let value = |name| invite.value(name).map(Bytes::copy_from_slice).unwrap_or_default();
        let caller = Leg {
            contact: contact_uri(invite).unwrap_or_default(),
            // Ours is not among them yet: those that it brought lead back to the caller.
            routes: recorded(invite),
            cseq,
            socket: Some(socket),
        };
        Dialog {
            entry,
            id,
            call_id: Bytes::copy_from_slice(invite.call_id()),
            from_tag: invite.from_tag().map(Bytes::copy_from_slice).unwrap_or_default(),
            invite: cseq,
            state: Mutex::new(Facts {
                stage: Stage::Unconfirmed,
                from: value(HeaderName::From),
                to: value(HeaderName::To),
                to_tag: Bytes::new(),
                request_uri: Bytes::copy_from_slice(invite.request_uri()),
                caller,
                callee: Leg::default(),
                created: Duration::ZERO,
                rang: Duration::ZERO,
                identity: Bytes::new(),
                started: Duration::ZERO,
                lifetime: Duration::ZERO,
                expires: Duration::MAX,
                looked_at: Duration::ZERO,
                ends_with_bye: false,
                flags: 0,
                vars: Attributes::default(),
                profiles: Vec::new(),
            }),
        }
    }

    /// A dialog of before the start.
    pub(super) fn restored((entry, id): (u32, u32), call_id: Bytes, from_tag: Bytes, facts: Facts) -> Dialog {
        let invite = facts.caller.cseq;
        Dialog { entry, id, call_id, from_tag, invite, state: Mutex::new(facts) }
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which side sent a request of this dialog; none when it is of another.
    pub(super) fn sender(&self, request: &Message) -> Option<Side> {
        let (from, to) = (request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default());
        let to_tag = &self.facts().to_tag;
        if from == self.from_tag && (to == &to_tag[..] || to_tag.is_empty() || to.is_empty()) {
            Some(Side::Caller)
        } else if to == self.from_tag && (from == &to_tag[..] || to_tag.is_empty()) {
            Some(Side::Callee)
        } else {
            None
        }
    }

    /// The cookie that its Record-Route carries.
    pub(super) fn cookie(&self) -> String {
        format!("{:x}.{:x}", self.entry, self.id)
    }
}

impl Facts {
    /// Takes down what a reply of the callee says about it: RFC 3261 section 12.1.2, seen from between the two.
    pub(super) fn note_callee(&mut self, reply: &Message, is_own: impl Fn(&[u8]) -> bool) {
        if let Some(to) = reply.value(HeaderName::To) {
            self.to = Bytes::copy_from_slice(to);
        }
        self.to_tag = reply.to_tag().map(Bytes::copy_from_slice).unwrap_or_default();
        if let Some(contact) = contact_uri(reply) {
            self.callee.contact = contact;
        }
        let all = recorded(reply);
        // Each hop has put its own on top, so those above ours are the callee's side, the nearest to us last.
        let before_ours = all.iter().position(|route| is_own(route));
        let count = before_ours.unwrap_or_else(|| all.len().saturating_sub(self.caller.routes.len()));
        self.callee.routes = all.into_iter().take(count).rev().collect();
    }

    /// Takes down the number of a request, and where a target refresh says that its sender is now (12.2.2).
    pub(super) fn note_request(&mut self, side: Side, request: &Message) {
        let leg = self.leg_mut(side);
        leg.cseq = leg.cseq.max(request.cseq().map_or(0, |cseq| cseq.number));
        if let Some(contact) = contact_uri(request).filter(|_| is_refresh(request)) {
            leg.contact = contact;
        }
    }

    /// How the side is reached that is not `side`.
    pub(super) fn leg_of_other(&self, side: Side) -> &Leg {
        match side {
            Side::Caller => &self.callee,
            Side::Callee => &self.caller,
        }
    }

    pub(super) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }
}

/// A request within a dialog to one side, as if the other had sent it (RFC 3261 section 12.2.1.1).
pub(super) fn request_to(dialog: &Arc<Dialog>, side: Side, method: &[u8]) -> OwnRequest {
    let mut facts = dialog.facts();
    let (from, to) = match side {
        Side::Caller => (facts.to.clone(), facts.from.clone()),
        Side::Callee => (facts.from.clone(), facts.to.clone()),
    };
    let sender = match side {
        Side::Caller => &mut facts.callee,
        Side::Callee => &mut facts.caller,
    };
    // The next number of whoever seems to send it; who has sent nothing yet begins at 1.
    sender.cseq += 1;
    let cseq = sender.cseq;
    let leg = facts.leg_mut(side);
    let course = course(&leg.contact, &leg.routes);
    OwnRequest {
        method: Bytes::copy_from_slice(method),
        uri: course.uri,
        destination: course.next_hop,
        from,
        to,
        call_id: Some(dialog.call_id.clone()),
        cseq: Some(cseq),
        headers: course.routes,
        socket: leg.socket,
        ..OwnRequest::default()
    }
}

fn is_refresh(request: &Message) -> bool {
    matches!(request.method_text(), b"INVITE" | b"UPDATE" | b"SUBSCRIBE" | b"REFER" | b"NOTIFY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    const OK: &str = "200 OK";

    fn dialog() -> Arc<Dialog> {
        let text = INVITE.replacen("Max-Forwards", "Record-Route: <sip:near.a;lr>, <sip:far.a;lr>\r\nMax-Forwards", 1);
        let bench = Bench::new(&text);
        let dialog = Dialog::new((7, 9), &bench.context.message, SocketId(0));
        let reply = Bench::new(
            &text
                .replacen("INVITE sip:bob@example.com SIP/2.0", &format!("SIP/2.0 {OK}"), 1)
                .replacen("<sip:near.a;lr>", "<sip:far.b;lr>, <sip:near.b;lr>, <sip:us;lr>, <sip:near.a;lr>", 1)
                .replacen("To: Bob <sip:bob@example.com>", "To: Bob <sip:bob@example.com>;tag=b1", 1)
                .replacen("<sip:alice@198.51.100.7:5070>", "<sip:bob@phone>", 1),
        );
        dialog.facts().note_callee(&reply.context.message, |route| route == b"<sip:us;lr>");
        Arc::new(dialog)
    }

    fn check(side: Side, uri: &str, next_hop: &str, from: &str, cseq: u32, routes: &str) {
        let request = request_to(&dialog(), side, b"BYE");
        assert_eq!(request.uri, uri);
        assert_eq!(request.destination.as_deref(), Some(next_hop.as_bytes()));
        assert_eq!(request.from, from);
        assert_eq!(request.cseq, Some(cseq));
        assert_eq!(request.headers, routes);
    }

    // 12.2.1.1.
    #[test]
    fn a_bye_to_the_callee_goes_to_its_contact_through_the_hops_behind_us() {
        check(
            Side::Callee,
            "sip:bob@phone",
            "sip:near.b;lr",
            "\"Alice\" <sip:alice@example.com>;tag=9fxced76sl",
            2,
            "Route: <sip:near.b;lr>\r\nRoute: <sip:far.b;lr>\r\n",
        );
    }

    #[test]
    fn a_bye_to_the_caller_goes_back_through_the_hops_before_us() {
        check(
            Side::Caller,
            "sip:alice@198.51.100.7:5070",
            "sip:near.a;lr",
            "Bob <sip:bob@example.com>;tag=b1",
            1,
            "Route: <sip:near.a;lr>\r\nRoute: <sip:far.a;lr>\r\n",
        );
    }
}
