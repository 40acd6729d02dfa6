//! The messages that the generator makes, read back.

use super::*;

/// Sockets that keep what is sent.
struct Wire {
    names: Vec<String>,
    sent: Vec<(usize, String)>,
}

impl Out for Wire {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn push(&mut self, socket: usize, bytes: &[u8]) {
        self.sent.push((socket, String::from_utf8_lossy(bytes).into_owned()));
    }
}

impl Wire {
    fn new() -> Wire {
        Wire { names: (1..=4).map(|n| format!("192.0.2.{n}:5060")).collect(), sent: Vec::new() }
    }

    fn take_one(&mut self) -> String {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent.remove(0).1
    }
}

fn traffic(kind: Kind, password: Option<&str>) -> Traffic {
    let profile = Profile {
        kind,
        users: 10,
        prefix: "u".into(),
        domain: "example.com".into(),
        password: password.map(str::to_owned),
        run: 0,
    };
    let mut traffic = Traffic::new(profile);
    traffic.set_pace(&Pace { rate: 1.0, attempts: 1, threshold: at(2_000), hold: at(50) });
    traffic
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A reply to `request`, with further lines.
fn reply(request: &str, status: &str, lines: &str) -> String {
    let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let copied: String = request.split("\r\n").filter(|line| names.iter().any(|name| line.starts_with(name))).fold(
        String::new(),
        |text, line| {
            text + line + if line.starts_with("To:") && !line.contains("tag=") { ";tag=s\r\n" } else { "\r\n" }
        },
    );
    format!("SIP/2.0 {status}\r\n{copied}{lines}Content-Length: 0\r\n\r\n")
}

#[test]
fn times_count_from_when_an_attempt_was_to_begin() {
    let (mut traffic, mut wire) = (traffic(Kind::Options, None), Wire::new());
    // The generator was 30 ms late, and the server took 10 ms.
    traffic.begin(0, at(100), &mut wire);
    let ok = reply(&wire.take_one(), "200 OK", "");
    traffic.on_datagram(0, ok.as_bytes(), at(140), &mut wire);
    assert_eq!(traffic.latencies().longest(), at(40));
    assert_eq!((traffic.attempts(), traffic.succeeded(), traffic.is_idle()), (1, 1, true));
}

#[test]
fn what_is_not_answered_in_time_has_failed() {
    let (mut traffic, mut wire) = (traffic(Kind::Options, None), Wire::new());
    traffic.begin(0, at(100), &mut wire);
    let ok = reply(&wire.take_one(), "200 OK", "");
    traffic.poll(at(2_099), &mut wire);
    assert!(!traffic.is_idle());
    traffic.poll(at(2_100), &mut wire);
    traffic.on_datagram(0, ok.as_bytes(), at(2_101), &mut wire);
    assert_eq!((traffic.succeeded(), traffic.reasons().as_str()), (0, "1 not answered in time"));
}

#[test]
fn a_call_is_acknowledged_held_and_ended_along_its_route() {
    let (mut traffic, mut wire) = (traffic(Kind::Call, None), Wire::new());
    traffic.begin(7, at(0), &mut wire);
    let invite = wire.take_one();
    assert!(invite.starts_with("INVITE sip:u7@example.com SIP/2.0\r\n"), "{invite}");
    traffic.on_datagram(3, reply(&invite, "180 Ringing", "").as_bytes(), at(5), &mut wire);
    let lines = "Contact: <sip:callee@192.0.2.9>\r\nRecord-Route: <sip:b;lr>, <sip:a;lr>\r\n";
    let ok = reply(&invite, "200 OK", lines);
    traffic.on_datagram(3, ok.as_bytes(), at(9), &mut wire);
    let ack = wire.take_one();
    assert!(ack.starts_with("ACK sip:callee@192.0.2.9 SIP/2.0\r\n"), "{ack}");
    assert!(ack.contains("\r\nRoute: <sip:a;lr>\r\nRoute: <sip:b;lr>\r\n"), "{ack}");
    // A 200 that comes again is acknowledged again.
    traffic.on_datagram(3, ok.as_bytes(), at(10), &mut wire);
    assert_eq!(wire.take_one(), ack);
    traffic.poll(at(58), &mut wire);
    assert!(wire.sent.is_empty());
    traffic.poll(at(59), &mut wire);
    let bye = wire.take_one();
    assert!(bye.starts_with("BYE sip:callee@192.0.2.9 SIP/2.0\r\n") && bye.contains("CSeq: 2 BYE"), "{bye}");
    traffic.on_datagram(3, reply(&bye, "200 OK", "").as_bytes(), at(60), &mut wire);
    assert_eq!((traffic.succeeded(), traffic.is_idle(), traffic.latencies().longest()), (1, true, at(5)));
}

#[test]
fn a_call_that_is_refused_is_acknowledged_with_its_branch_and_has_failed() {
    let (mut traffic, mut wire) = (traffic(Kind::Call, None), Wire::new());
    traffic.begin(0, at(0), &mut wire);
    let invite = wire.take_one();
    traffic.on_datagram(0, reply(&invite, "503 Service Unavailable", "").as_bytes(), at(1), &mut wire);
    let ack = wire.take_one();
    let via = |text: &str| text.split("\r\n").find(|line| line.starts_with("Via:")).map(str::to_owned);
    assert_eq!(via(&ack), via(&invite));
    assert!(ack.contains("To: <sip:u0@example.com>;tag=s\r\n"), "{ack}");
    assert_eq!(traffic.reasons(), "1 503 Service Unavailable");
}

#[test]
fn a_challenge_is_answered_once() {
    let (mut traffic, mut wire) = (traffic(Kind::Register, Some("secret")), Wire::new());
    traffic.begin(13, at(0), &mut wire);
    let first = wire.take_one();
    assert!(first.contains("CSeq: 3 REGISTER"), "the second of this user: {first}");
    let challenge = "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"\r\n";
    traffic.on_datagram(3, reply(&first, "401 Unauthorized", challenge).as_bytes(), at(1), &mut wire);
    let second = wire.take_one();
    assert!(second.contains("\r\nAuthorization: Digest username=\"u3\", realm=\"example.com\""), "{second}");
    assert!(second.contains("CSeq: 4 REGISTER"), "{second}");
    traffic.on_datagram(3, reply(&second, "401 Unauthorized", challenge).as_bytes(), at(2), &mut wire);
    assert_eq!(traffic.reasons(), "1 401 Unauthorized");
    assert!(wire.sent.is_empty());
}

// RFC 3261 section 10.2.
#[test]
fn a_phone_does_not_register_again_before_its_answer() {
    let (mut traffic, mut wire) = (traffic(Kind::Register, None), Wire::new());
    let users = traffic.profile.users;
    traffic.begin(0, at(0), &mut wire);
    let first = wire.take_one();
    traffic.begin(users, at(10), &mut wire);
    assert!(wire.sent.is_empty(), "the second waits");
    traffic.on_datagram(0, reply(&first, "200 OK", "").as_bytes(), at(30), &mut wire);
    let second = wire.take_one();
    assert!(first.contains("CSeq: 1 REGISTER") && second.contains("CSeq: 3 REGISTER"), "{second}");
    traffic.on_datagram(0, reply(&second, "200 OK", "").as_bytes(), at(40), &mut wire);
    assert!(traffic.is_idle() && traffic.behind.is_empty() && traffic.succeeded() == 2);
}

#[test]
fn a_phone_registers_again_when_its_answer_has_not_come_in_time() {
    let (mut traffic, mut wire) = (traffic(Kind::Register, None), Wire::new());
    let users = traffic.profile.users;
    for (turn, time) in [(0, 0), (1, 10), (2, 400)] {
        traffic.begin(turn * users, at(time), &mut wire);
    }
    wire.take_one();
    // The first two are over, and the second has never been sent.
    traffic.poll(at(100_000), &mut wire);
    assert!(traffic.is_idle() && traffic.behind.is_empty());
    traffic.begin(3 * users, at(100_001), &mut wire);
    assert!(wire.sent.iter().any(|(_, text)| text.contains("CSeq: 7 REGISTER")));
}

#[test]
fn a_phone_answers_what_comes_to_it() {
    let (mut traffic, mut wire) = (traffic(Kind::Message, None), Wire::new());
    let invite = "INVITE sip:u1@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                  To: <sip:c@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nRecord-Route: <sip:p;lr>\r\nContent-Length: 0\r\n\r\n";
    traffic.on_datagram(1, invite.as_bytes(), at(0), &mut wire);
    let starts: Vec<_> = wire.sent.iter().map(|(socket, text)| (*socket, text.lines().next().unwrap())).collect();
    assert_eq!(starts, [(1, "SIP/2.0 180 Ringing"), (1, "SIP/2.0 200 OK")]);
    assert!(
        wire.sent[1].1.contains("Record-Route: <sip:p;lr>") && wire.sent[1].1.contains("<sip:callee@192.0.2.2:5060>")
    );
}
