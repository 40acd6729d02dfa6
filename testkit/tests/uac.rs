//! What the server does in the name of its users: names, credentials, requests, redirections.
#![allow(missing_docs)]

use testkit::{Network, answer, line, request, with_line};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

fn network(routes: &str) -> Network {
    Network::new(&format!(
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\n\
         loadmodule \"textops.so\"\nloadmodule \"xlog.so\"\nloadmodule \"uac.so\"\nloadmodule \"uac_redirect.so\"\n\
         modparam(\"uac\", \"credential\", \"bob:biloxi.com:zanzibar\")\n{routes}\n"
    ))
}

const RENAME: &str = "request_route {\n\
      if (loose_route()) { t_relay(); exit; }\n\
      record_route(); uac_replace_from(\"Hidden\", \"sip:anonymous@example.org\"); t_relay();\n\
    }";

// The caller must see its own From in the reply, or it would not know it (RFC 3261 section 8.2.6.2).
#[test]
fn the_callee_sees_the_new_from_and_the_caller_its_own() {
    let mut network = network(RENAME);
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    assert_eq!(line(&invite, "From:"), Some("From: \"Hidden\" <sip:anonymous@example.org>;tag=a1"));
    network.send(CALLEE, &answer(&invite, "200 OK"));
    network.settle();
    let reply = network.received_one(CALLER);
    assert_eq!(line(&reply, "From:"), Some("From: <sip:alice@example.com>;tag=a1"));

    // Requests of the caller get the new name, those of the callee the old one.
    let record_route = line(&invite, "Record-Route:").expect("it was record-routed").replace("Record-Route:", "Route:");
    network.send(CALLER, &with_line(&request("BYE", "z9hG4bK2", ";tag=b1"), &record_route));
    network.settle();
    let bye = network.received_one(CALLEE);
    assert_eq!(line(&bye, "From:"), Some("From: <sip:anonymous@example.org>;tag=a1"));
    network.send(CALLEE, &answer(&bye, "200 OK"));
    network.settle();
    assert_eq!(line(&network.received_one(CALLER), "From:"), Some("From: <sip:alice@example.com>;tag=a1"));

    let back = with_line(&request("BYE", "z9hG4bK3", ""), &record_route)
        .replace("sip:bob@203.0.113.1:5080 SIP", "sip:alice@198.51.100.1:5070 SIP")
        .replace("Via: SIP/2.0/UDP 198.51.100.1:5070", "Via: SIP/2.0/UDP 203.0.113.1:5080")
        .replace("From: <sip:alice@example.com>;tag=a1", "From: <sip:bob@example.com>;tag=b1")
        .replace("To: <sip:bob@example.com>", "To: <sip:anonymous@example.org>;tag=a1");
    network.send(CALLEE, &back);
    network.settle();
    let bye = network.received_one(CALLER);
    assert_eq!(line(&bye, "To:"), Some("To: <sip:alice@example.com>;tag=a1"));
    network.send(CALLER, &answer(&bye, "200 OK"));
    network.settle();
    assert_eq!(line(&network.received_one(CALLEE), "To:"), Some("To: <sip:anonymous@example.org>;tag=a1"));
}

// RFC 3261 section 22.3.
#[test]
fn a_peer_that_asks_for_credentials_gets_them_once() {
    let mut network = network(
        "request_route { t_on_failure(\"AUTH\"); t_relay(); }\n\
         failure_route[AUTH] { if (t_check_status(\"401|407\") && uac_auth()) { t_on_failure(\"AUTH\"); t_relay(); } }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let challenge = "Proxy-Authenticate: Digest realm=\"biloxi.com\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";
    for n in 0..2 {
        let received = network.received(CALLEE);
        let invite = received.iter().find(|message| message.text().starts_with("INVITE")).expect("an INVITE").text();
        assert_eq!(
            invite.contains("\r\nProxy-Authorization: Digest username=\"bob\", realm=\"biloxi.com\""),
            n == 1,
            "{invite}"
        );
        let refusal = with_line(&answer(&invite, "407 Proxy Authentication Required"), challenge);
        network.send(CALLEE, &refusal);
        network.settle();
    }
    // The credentials were wrong: nothing is tried again, and the caller is told.
    assert_eq!(network.start_lines(CALLEE), ["ACK sip:bob@203.0.113.1:5080 SIP/2.0"]);
    assert_eq!(network.start_lines(CALLER), ["SIP/2.0 407 Proxy Authentication Required"]);
}

#[test]
fn a_script_sends_a_request_with_credentials_and_hears_of_the_reply() {
    let mut network = network(
        "request_route {\n\
           $uac_req(method) = \"OPTIONS\"; $uac_req(ruri) = \"sip:gw@203.0.113.1:5080\"; $uac_req(furi) = \"sip:me@example.com\";\n\
           $uac_req(hdrs) = \"X-One: 1\\r\\n\"; $uac_req(auser) = \"bob\"; $uac_req(apasswd) = \"zanzibar\"; $uac_req(evroute) = 1;\n\
           uac_req_send(); sl_send_reply(\"200\", \"OK\");\n\
         }\n\
         event_route[uac:reply] { xlog(\"L_NOTICE\", \"$uac_req(evcode) from $uac_req(ruri)\\n\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let first = network.received_one(CALLEE);
    assert!(first.contains("\r\nX-One: 1\r\n"), "{first}");
    let refusal =
        with_line(&answer(&first, "401 Unauthorized"), "WWW-Authenticate: Digest realm=\"biloxi.com\", nonce=\"n1\"");
    network.send(CALLEE, &refusal);
    network.settle();
    let second = network.received_one(CALLEE);
    assert_eq!(line(&second, "Call-ID:"), line(&first, "Call-ID:"));
    assert_eq!(line(&second, "CSeq:"), Some("CSeq: 11 OPTIONS"));
    assert!(second.contains("\r\nAuthorization: Digest username=\"bob\""), "{second}");
    network.send(CALLEE, &answer(&second, "200 OK"));
    network.settle();
    assert_eq!(network.logged(), ["200 from sip:gw@203.0.113.1:5080"]);
}

#[test]
fn redirections_are_followed_and_never_round_in_circles() {
    let mut network = network(
        "request_route { t_on_failure(\"MOVED\"); t_relay(); }\n\
         failure_route[MOVED] { set_deny_filter(\"@192\\.0\\.2\\.66\", \"\"); if (t_check_status(\"3..\") && get_redirects(\"4\")) { t_on_failure(\"MOVED\"); t_relay(); } }",
    );
    network.send(CALLER, &request("INVITE", "z9hG4bK1", ""));
    network.settle();
    network.received(CALLER);
    let invite = network.received_one(CALLEE);
    let moved = answer(&invite, "302 Moved").replace(
        "Contact: <sip:bob@203.0.113.1:5080>",
        "Contact: <sip:bob@203.0.113.3:5080>, <sip:evil@192.0.2.66>, <sip:bob@203.0.113.1:5080>",
    );
    network.send(CALLEE, &moved);
    network.settle();
    let invite = network.received_one("203.0.113.3:5080");
    // Back to where it came from: nobody is tried again.
    network.send("203.0.113.3:5080", &answer(&invite, "302 Moved"));
    network.settle();
    assert_eq!(network.start_lines(CALLEE), ["ACK sip:bob@203.0.113.1:5080 SIP/2.0"]);
    assert!(network.received("192.0.2.66:5060").is_empty());
    assert_eq!(network.start_lines(CALLER).last().map(String::as_str), Some("SIP/2.0 302 Moved"));
}
