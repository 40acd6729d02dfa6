//! Any order of events leaves the transaction machines and the response context in a defined state.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip_proto::response_context::{Decision, Preference, ResponseContext};
use sip_proto::transaction::{
    ClientTimer, ClientVerdict, InviteClient, InviteServer, NonInviteClient, NonInviteServer, ServerTimer, Timers,
};

fuzz_target!(|data: &[u8]| {
    let Some((head, events)) = data.split_first() else { return };
    let is_reliable = head & 1 != 0;
    // The clock is read once; all else is arithmetic on it.
    let mut now = Instant::now();
    let timers = Timers::default();
    let mut invite_server = InviteServer::new(is_reliable, &timers, now);
    let mut server = NonInviteServer::new(is_reliable, &timers, now);
    let mut invite_client = InviteClient::new(is_reliable, &timers, now);
    let mut client = NonInviteClient::new(is_reliable, &timers, now);
    let mut context = ResponseContext::new(head & 2 != 0);
    for event in events.chunks_exact(2) {
        let argument = u32::from(event[1]);
        // Every status, with the edges of each class.
        let status = 100 + (argument * 600 / 256) as u16;
        match event[0] % 9 {
            0 => now += Duration::from_millis(u64::from(argument) * 40),
            1 => on_timers(now, &mut invite_server, &mut server, &mut invite_client, &mut client),
            2 => {
                let _ = (invite_server.on_request(), server.on_request());
            }
            3 => {
                let was_final = invite_server.state() != sip_proto::transaction::InviteServerState::Proceeding;
                let went = invite_server.on_response_sent(status, Bytes::from_static(b"r"), now);
                assert!(!was_final || !went || (200..300).contains(&status));
                let went = server.on_response_sent(status, Bytes::from_static(b"r"), now);
                assert!(!went || (status != 408 && !(101..200).contains(&status)));
            }
            4 => {
                let _ = invite_server.on_ack(now);
            }
            5 => {
                let verdict = invite_client.on_response(status, now);
                assert!(status >= 300 || !matches!(verdict, ClientVerdict::AckAndPass | ClientVerdict::AckAgain));
                let _ = client.on_response(status, now);
            }
            6 if argument & 1 != 0 => {
                let _ = (invite_client.on_transport_error(), client.on_transport_error());
            }
            6 => server.on_transport_error(),
            7 => {
                let _ = context.add_branch();
            }
            _ => on_branch(&mut context, u16::from(event[0] / 9 % 4), status),
        }
        assert!(!invite_server.is_terminated() || invite_server.deadline().is_none());
        assert!(!server.is_terminated() || server.deadline().is_none());
        assert!(!invite_client.is_terminated() || invite_client.deadline().is_none());
        assert!(!client.is_terminated() || client.deadline().is_none());
    }
});

/// Whoever runs what is due until nothing is comes to an end, and then nothing is overdue.
fn on_timers(
    now: Instant,
    invite_server: &mut InviteServer,
    server: &mut NonInviteServer,
    invite_client: &mut InviteClient,
    client: &mut NonInviteClient,
) {
    settle(|| invite_server.on_timer(now) == ServerTimer::None);
    settle(|| server.on_timer(now) == ServerTimer::None);
    settle(|| invite_client.on_timer(now) == ClientTimer::None);
    settle(|| client.on_timer(now) == ClientTimer::None);
    for deadline in [invite_server.deadline(), server.deadline(), invite_client.deadline(), client.deadline()] {
        assert!(deadline.is_none_or(|at| at > now));
    }
}

fn settle(mut is_quiet: impl FnMut() -> bool) {
    assert!((0..8).any(|_| is_quiet()), "a timer that never comes to rest");
}

fn on_branch(context: &mut ResponseContext, branch: u16, status: u16) {
    let was_answered = context.is_answered();
    let decision = context.on_response(branch, status);
    if was_answered {
        assert!(matches!(decision, Decision::Absorb | Decision::Forward { cancel_others: false }));
    }
    if decision == Decision::Complete {
        assert!(context.all_final() && context.pending().next().is_none());
        let best = context.best(Preference::Rfc).expect("a complete context has a best response");
        assert!(best.status >= 200);
        assert!(context.challenges_besides(best).all(|other| other != best.branch));
    }
}
