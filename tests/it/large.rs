//! Requests that are too large for UDP (RFC 3261 section 18.1.1).

use std::io::Read;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Subject, Wire};

const PATIENCE: Duration = Duration::from_secs(10);
const RESIDENTIAL: &str = "examples/residential/kamailio.cfg";

/// Sends bob a request of more than 1300 bytes.
fn send_large_message(alice: &Endpoint) {
    let subject = format!("Subject: {}\r\n", "long ".repeat(300));
    alice.request(&format!("MESSAGE sip:bob@{}", alice.server()), "large", "1", "", &subject);
}

#[test]
fn a_request_that_is_too_large_for_udp_leaves_over_tcp() {
    let server = Subject::start_ser(&Plan::script(RESIDENTIAL).on(Wire::Tcp4));
    let address = server.address(Wire::Udp4);
    let (alice, bob) = (Endpoint::new(address), Endpoint::new(address));
    let listener = TcpListener::bind(bob.own()).expect("the port is free for TCP");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a listener accepts");
        let mut start = [0; 8];
        stream.read_exact(&mut start).expect("the request is longer");
        // Whoever waits has given up only after the test has failed.
        let _ = tell.send(start);
    });
    bob.register_bob();
    send_large_message(&alice);
    assert_eq!(&told.recv_timeout(PATIENCE).expect("nothing came over TCP"), b"MESSAGE ");
}

#[test]
fn a_large_request_goes_over_udp_where_nobody_listens_on_tcp() {
    let server = Subject::start_ser(&Plan::script(RESIDENTIAL).on(Wire::Tcp4));
    let address = server.address(Wire::Udp4);
    let (alice, bob) = (Endpoint::new(address), Endpoint::new(address));
    bob.register_bob();
    send_large_message(&alice);
    bob.expect("MESSAGE ");
}
