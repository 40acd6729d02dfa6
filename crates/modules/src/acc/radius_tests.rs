//! Records to a RADIUS server of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use module_api::{Call, Happening, Replied, State, Value};
use radius::attribute::{ACCT_DELAY_TIME, ACCT_SESSION_ID, ACCT_STATUS_TYPE, EVENT_TIMESTAMP, USER_NAME};
use radius::{AttributeId, Code, Packet};

use super::RADIUS;
use crate::radius_testing::{World, server_setting};
use crate::testing::{Bench, INVITE, Tables, text};

fn start(tables: &Tables, world: &World, more: &[(&str, Value)]) -> Arc<dyn State> {
    let mut settings = vec![("server", text(&server_setting(world.port))), ("radius_flag", Value::Int(1))];
    settings.extend(more.iter().cloned());
    tables.make_with(&RADIUS, &settings).expect("it starts")
}

fn happens(bench: &mut Bench, happening: &Happening<'_>) {
    let (state, dialect) = (Arc::clone(&bench.state), bench.dialect);
    let observe = RADIUS.observe.expect("it watches");
    observe(&mut Call::new(&mut bench.context, &mut bench.host, &[], &state, dialect), happening);
}

fn replied(state: &Arc<dyn State>, request: &str, code: u16) {
    let mut bench = Bench::with_state(request, Arc::clone(state));
    bench.context.set_flag(1, true);
    let to_tag = Bytes::from_static(b"callee");
    happens(&mut bench, &Happening::Replied(Replied { code, reason: b"whatever", to_tag: &to_tag, reply: None }));
}

/// What the server was told, once it has been told so much.
fn told(tables: &Tables, world: &World, count: usize) -> Vec<Packet> {
    // The spool is drained on this runtime, which runs while somebody waits on it.
    tables.runtime.block_on(async {
        while world.asked().len() < count {
            tokio::task::yield_now().await;
        }
    });
    world.asked()
}

fn int(packet: &Packet, id: AttributeId) -> u32 {
    let octets = packet.attributes.first(id).and_then(|octets| octets.try_into().ok());
    u32::from_be_bytes(octets.expect("it is there"))
}

fn accept(_: &Packet) -> crate::radius_testing::Answer {
    Some((Code::AccountingResponse, vec![]))
}

// RFC 2866 section 5.1.
#[test]
fn a_call_starts_goes_on_and_stops() {
    let (tables, world) = (Tables::new(), World::new(accept));
    let state = start(&tables, &world, &[("failed_transactions", Value::Int(1))]);
    let in_dialog = INVITE.replacen("To: Bob <sip:bob@example.com>", "To: Bob <sip:bob@example.com>;tag=callee", 1);
    assert_ne!(in_dialog, INVITE);
    for (request, code, status, method) in [
        (INVITE.to_owned(), 200, 1, 1),
        (in_dialog.clone(), 200, 3, 1),
        (in_dialog.replace("INVITE", "BYE"), 200, 2, 8),
        (INVITE.to_owned(), 486, 15, 1),
    ] {
        let before = world.asked().len();
        replied(&state, &request, code);
        let packet = told(&tables, &world, before + 1).pop().expect("it was told");
        assert_eq!(
            (packet.code, int(&packet, ACCT_STATUS_TYPE)),
            (Code::AccountingRequest, status),
            "{request} {code}"
        );
        assert_eq!(int(&packet, AttributeId::standard(101)), method);
        assert_eq!(int(&packet, AttributeId::standard(102)), u32::from(code));
        assert_eq!(int(&packet, EVENT_TIMESTAMP), 1_700_000_000);
        assert_eq!(packet.attributes.first(ACCT_SESSION_ID), Some(&b"3848276298220188511@198.51.100.7"[..]));
        assert_eq!(packet.attributes.first(USER_NAME), Some(&b"alice@example.com"[..]));
    }
}

#[test]
fn what_the_script_says_of_an_attribute_replaces_what_is_said_without_it() {
    let (tables, world) = (Tables::new(), World::new(accept));
    let extra = text("User-Name=$tU;Sip-Src-IP=$si;Acct-Session-Time=$avp(none)");
    let state = start(&tables, &world, &[("radius_extra", extra)]);
    replied(&state, INVITE, 200);
    let packet = told(&tables, &world, 1).pop().expect("it was told");
    assert_eq!(packet.attributes.all(USER_NAME).collect::<Vec<_>>(), [b"bob"]);
    assert!(packet.attributes.first(AttributeId::standard(108)).is_some());
    assert_eq!(packet.attributes.first(AttributeId::standard(46)), None);
}

#[test]
fn a_record_that_is_told_again_is_the_same_but_for_the_delay() {
    let (tables, tries) = (Tables::new(), AtomicU32::new(0));
    // Three times nobody answers: what the client gives up is asked again out of the spool.
    let world =
        World::new(move |_| (tries.fetch_add(1, Ordering::Relaxed) > 2).then_some((Code::AccountingResponse, vec![])));
    let short = [("timeout", Value::Int(20)), ("tries", Value::Int(1)), ("dead_time", Value::Int(0))];
    let state = start(&tables, &world, &short);
    replied(&state, INVITE, 200);
    let packets = told(&tables, &world, 4);
    let known = |packet: &Packet| -> Vec<_> {
        packet.attributes.iter().filter(|one| one.id.number != 80 && one.id != ACCT_DELAY_TIME).cloned().collect()
    };
    assert!(packets.windows(2).all(|two| known(&two[0]) == known(&two[1])));
    // A new identifier or authenticator for each, since the delay may be another (RFC 2866 section 4.1).
    assert!(packets.windows(2).all(|two| two[0].identifier != two[1].identifier));
}

#[test]
fn calls_that_reach_nobody_and_requests_that_the_script_names_are_told() {
    let (tables, world) = (Tables::new(), World::new(accept));
    let state = start(&tables, &world, &[("radius_missed_flag", Value::Int(2))]);
    let mut bench = Bench::with_state(INVITE, state);
    bench.context.set_flag(2, true);
    for _ in 0..2 {
        happens(&mut bench, &Happening::Failed { code: 408, reply: None });
    }
    assert_eq!(bench.run(&RADIUS, "acc_rad_request", &["404 Not found"]), 1);
    let mut codes: Vec<_> = told(&tables, &world, 2).iter().map(|one| int(one, AttributeId::standard(102))).collect();
    codes.sort_unstable();
    assert_eq!(codes, [404, 408], "a call is missed once");
}
