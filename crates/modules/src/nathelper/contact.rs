//! Changing the Contact of a message, and what `save()` then sees.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Context, Function, RouteKind, Routes};
use sip_message::{Edits, Limits, Message, Span};

use crate::rewrite;

/// Where a message with a Contact is at hand and will be sent on.
pub(super) const WHERE: Routes =
    Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Branch)).or(Routes::REPLIES);

pub(super) const FIX: Function = Function {
    name: "fix_nated_contact",
    params: &[],
    routes: WHERE,
    doc: "Writes the source address and port over host and port of the Contact, also in what save() keeps. The phone \
          will not recognize this Contact as its own: set_contact_alias() has no such drawback. False without a Contact.",
    example: "if (nat_uac_test(\"19\")) fix_nated_contact();",
    run: |call| {
        let source = call.context.arrival.source.to_string();
        let fixed = |uri: &Bytes| rewrite::with_host_port(uri, source.as_bytes());
        change(call, true, fixed).into()
    },
};

/// The URI that the first Contact of a message has got.
///
/// Left as a note on the request. Variables still read what was received, but `save()` keeps the
/// new Contact: see [`NewContact::message_to_save`].
pub struct NewContact {
    /// Which message it was; a note may outlive it.
    message: Arc<Message>,
    span: Span,
    /// As the message leaves.
    written: Bytes,
    /// As `save()` keeps it; none when it was changed on its way out only.
    saved: Option<Bytes>,
}

impl NewContact {
    /// The message as it would have come with the new Contact; none when `save()` shall keep the old.
    pub fn message_to_save(context: &Context) -> Option<Arc<Message>> {
        let note = NewContact::of(context)?;
        let mut edits = Edits::new();
        edits.replace(note.span, in_brackets(&note.message, note.span, note.saved.as_ref()?));
        let mut bytes = Vec::new();
        sip_message::write(&note.message, &[&edits], &mut bytes);
        Message::parse(bytes.into(), &Limits::default()).ok().map(Arc::new)
    }

    fn of(context: &Context) -> Option<&NewContact> {
        context.note::<NewContact>().filter(|note| Arc::ptr_eq(&note.message, &context.message))
    }
}

/// The URI of the first Contact with all changes so far, and its place; none for `*`, or without one.
pub(super) fn first(context: &Context) -> Option<(Bytes, Span)> {
    if let Some(note) = NewContact::of(context) {
        return Some((note.written.clone(), note.span));
    }
    let span = context.message.contacts().next()?.ok()?.address()?.uri_span;
    Some((context.message.slice(span), span))
}

/// Changes the URI of the first Contact; false when there is none that can be changed.
///
/// Of several Contacts the first is the one that a dialog is made with (RFC 3261 section 12.1.1 has
/// but one); others lead elsewhere, and the source address says nothing about them.
pub(super) fn change(call: &mut Call<'_>, is_saved: bool, new: impl Fn(&Bytes) -> Option<Bytes>) -> bool {
    let context = &mut *call.context;
    let Some((uri, span)) = first(context) else { return false };
    let Some(written) = new(&uri) else { return false };
    let before = NewContact::of(context).and_then(|note| note.saved.clone());
    let saved = if is_saved { Some(written.clone()) } else { before };
    context.edits.replace(span, in_brackets(&context.message, span, &written));
    let message = Arc::clone(&context.message);
    context.set_note(NewContact { message, span, written, saved });
    true
}

/// Without brackets a parameter would belong to the header and not to the URI (RFC 3261 section 20.10).
fn in_brackets(message: &Message, span: Span, uri: &Bytes) -> Bytes {
    let before = (span.start as usize).checked_sub(1).and_then(|at| message.bytes().get(at));
    if before == Some(&b'<') { uri.clone() } else { [b"<", &uri[..], b">"].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use super::*;
    use crate::testing::INVITE;
    use sip_message::Transport;

    fn check(contact: &str, expected: &str) {
        let text = INVITE.replace("<sip:alice@198.51.100.7:5070>", contact);
        let mut bench = bench(&text, "203.0.113.5:41234", Transport::Udp, &[]);
        assert_eq!(bench.run(&MODULE, "fix_nated_contact", &[]), 1, "{contact}");
        assert!(bench.written().contains(&format!("\r\nContact: {expected}\r\n")), "{}", bench.written());
    }

    #[test]
    fn host_and_port_become_the_source() {
        check("<sip:alice@10.0.0.1:5060;ob>;expires=60", "<sip:alice@203.0.113.5:41234;ob>;expires=60");
        check("<sip:10.0.0.1>", "<sip:203.0.113.5:41234>");
        check("sip:alice@10.0.0.1;q=0.5", "<sip:alice@203.0.113.5:41234>;q=0.5");
        check("\"A\" <sip:a@10.0.0.1>, <sip:a@10.0.0.2>", "\"A\" <sip:a@203.0.113.5:41234>, <sip:a@10.0.0.2>");
    }

    #[test]
    fn nothing_is_done_without_an_address() {
        for contact in ["Contact: *\r\n", "", "Contact: <tel:+1>\r\n", "Contact: <sip:\r\n"] {
            let text = INVITE.replace("Contact: <sip:alice@198.51.100.7:5070>\r\n", contact);
            let mut bench = bench(&text, "203.0.113.5:41234", Transport::Udp, &[]);
            assert_eq!(bench.run(&MODULE, "fix_nated_contact", &[]), -1, "{contact}");
            assert!(bench.context.edits.is_empty());
        }
    }

    #[test]
    fn saving_sees_the_new_contact_and_reading_the_old() {
        let mut bench = bench(INVITE, "203.0.113.5:41234", Transport::Udp, &[]);
        assert!(NewContact::message_to_save(&bench.context).is_none());
        bench.run(&MODULE, "fix_nated_contact", &[]);
        let saved = NewContact::message_to_save(&bench.context).unwrap();
        let uri = |message: &Message| message.contacts().next().unwrap().unwrap().address().unwrap().uri.to_vec();
        assert_eq!(uri(&saved), b"sip:alice@203.0.113.5:41234");
        assert_eq!(uri(&bench.context.message), b"sip:alice@198.51.100.7:5070");
    }

    #[test]
    fn a_second_change_builds_on_the_first() {
        let mut bench = bench(INVITE, "203.0.113.5:41234", Transport::Tcp, &[]);
        bench.run(&MODULE, "fix_nated_contact", &[]);
        bench.run(&MODULE, "set_contact_alias", &[]);
        let expected = "\r\nContact: <sip:alice@203.0.113.5:41234;alias=203.0.113.5~41234~2>\r\n";
        assert!(bench.written().contains(expected), "{}", bench.written());
    }
}
