//! What strangers try on the built-in set-up: to pass for its users, and to reach third parties through it.
//!
//! Always `ser`, whose embedded set-up this is.

use std::time::Duration;

use crate::harness::{Endpoint, Plan, Subject, Wire};

/// Nothing has come through in this time: the server has answered a later request meanwhile.
const QUIET: Duration = Duration::from_millis(200);

struct Scene {
    stranger: Endpoint,
    victim: Endpoint,
    _server: Subject,
}

fn scene() -> Scene {
    let server = Subject::start_ser(&Plan::built_in(&[("alice", "secret-a"), ("bob", "secret-b")]));
    let address = server.address(Wire::Udp4);
    let victim = Endpoint::new(address);
    victim.set_patience(QUIET);
    Scene { stranger: Endpoint::new(address), victim, _server: server }
}

impl Scene {
    /// Sends a request to the victim whose To has this tag, with our Route.
    fn send(&self, method: &str, to_tag: &str) {
        let route = format!("Route: <sip:{};lr>\r\n", self.stranger.server());
        self.stranger.request(&format!("{method} sip:x@{}", self.victim.own()), method, "1", to_tag, &route);
    }

    /// Sends a request without Route that says it is from `user`, or from the server itself.
    fn send_as(&self, user: &str, line: &str, to_tag: &str) {
        let (own, server) = (self.stranger.own(), self.stranger.server());
        let method = line.split(' ').next().unwrap_or_default();
        self.stranger.send(&format!(
            "{line} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK-as-{method}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}{server}>;tag=c\r\n\
             To: <sip:bob@{server}>{to_tag}\r\n\
             Call-ID: as\r\n\
             CSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        ));
    }
}

#[test]
fn a_made_up_tag_takes_no_message_to_third_parties() {
    let scene = scene();
    scene.send("MESSAGE", ";tag=made-up");
    scene.stranger.expect("SIP/2.0 403 ");
    assert_eq!(scene.victim.receive(), None);
}

#[test]
fn a_made_up_tag_makes_nobody_one_of_the_users() {
    let scene = scene();
    for method in ["MESSAGE", "INFO"] {
        let line = format!("{method} sip:bob@{}", scene.stranger.server());
        scene.send_as("alice@", &line, ";tag=made-up");
        scene.stranger.expect("SIP/2.0 407 ");
    }
}

#[test]
fn an_ack_goes_nowhere_on_its_own() {
    let scene = scene();
    scene.send_as("", &format!("ACK sip:x@{}", scene.victim.own()), "");
    scene.stranger.request(&format!("OPTIONS sip:{}", scene.stranger.server()), "after", "1", "", "");
    scene.stranger.expect("SIP/2.0 200 ");
    assert_eq!(scene.victim.receive(), None);
}
