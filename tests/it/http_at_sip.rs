//! HTTP on the listeners for SIP, with clients that other people wrote: `curl` and Python's standard library.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Plan, Subject, Wire, repository_file};

const PATIENCE: Duration = Duration::from_secs(20);
const UPTIME: &str = r#"{"jsonrpc": "2.0", "method": "core.uptime", "id": 7}"#;

fn server() -> Subject {
    Subject::start_ser(&Plan::script("tests/it/control/http_at_sip.cfg").on(Wire::Tcp4).on(Wire::Tls4))
}

/// What `curl` prints: headers and body.
fn curl(url: &str, options: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(options)
        .arg(url)
        .output()
        .expect("curl is there");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn debians_kamailio_cfg_answers_json_rpc_over_http() {
    let plan = Plan::script("/etc/kamailio/kamailio.cfg").on(Wire::Tcp4).define("WITH_JSONRPC");
    let server = Subject::start_ser(&plan);
    let url = format!("http://{}", server.address(Wire::Tcp4));
    let said = curl(&format!("{url}/RPC"), &["--data", UPTIME]);
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.contains("Content-Type: application/json\r\n") && said.contains("Connection: close\r\n"), "{said}");
    assert!(said.contains("\"result\"") && said.contains("\"id\": 7"), "{said}");
    let said = curl(&format!("{url}/elsewhere"), &[]);
    assert!(said.ends_with("\r\n\r\n<html><body>Wrong URL /elsewhere</body></html>"), "{said}");
}

#[test]
fn curl_is_answered_by_the_script_over_tcp_and_tls() {
    let server = server();
    let tcp = format!("http://{}", server.address(Wire::Tcp4));
    let said = curl(&format!("{tcp}/echo"), &["--data", "words", "-H", "X-Word: one", "-A", "me"]);
    assert!(said.starts_with("HTTP/1.1 201 Fine\r\n") && said.contains("\r\nX-Agent: me\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\nPOST one words"), "{said}");

    let tls = format!("https://{}/other?x=1", server.address(Wire::Tls4));
    let certificate = server.certificate().to_string_lossy().into_owned();
    let said = curl(&tls, &["--cacert", &certificate]);
    // What the script puts into the reason stays within its line.
    assert!(said.starts_with("HTTP/1.1 404 Not FoundX-Bad: 1\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\n/other?x=1 from 127.0.0.1 over tls"), "{said}");
}

#[test]
fn a_script_calls_commands_for_itself() {
    let server = server();
    let said = curl(&format!("http://{}/self", server.address(Wire::Tcp4)), &[]);
    assert!(said.contains(r#"{"jsonrpc":"2.0","result":{"#) && said.contains("\"uptime\""), "{said}");
}

#[test]
fn each_request_has_one_answer_and_the_connection_stays() {
    let server = server();
    let client = Command::new("python3")
        .arg(repository_file("tests/peers/http_at_sip.py"))
        .arg(server.address(Wire::Tcp4).to_string())
        .output()
        .expect("python3 is there");
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    assert!(client.status.success(), "{said}{}", String::from_utf8_lossy(&client.stderr));
    let expected = "404 method not found: -32601\n400 no document\n204 notification\n200 batch: 2\n\
                    500 silence\n404 hidden\n200 HEAD: 0\n1 connection\n";
    assert_eq!(said, expected);
}

/// Sends what is no proper request, and reads until the server closes.
fn raw(server: &Subject, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address(Wire::Tcp4)).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    stream.write_all(request).expect("the server takes it");
    let mut answer = Vec::new();
    // A server that refuses early may reset what was still on its way.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_no_proper_http_is_refused_and_cut_off_and_sip_goes_on() {
    let server = server();
    for (request, answer) in [
        ("POST /RPC HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 Length Required\r\n"),
        ("POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: 4294967295\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n"),
        ("GET /echo HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("GET /echo HTTP/1.0\r\n\r\n", "HTTP/1.1 201 Fine\r\n"),
        ("GET /sip/x HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found"),
    ] {
        let said = raw(&server, request.as_bytes());
        assert!(said.starts_with(answer), "{request:?}: {said}");
    }
    for request in ["GET / HTTP/2.0\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n", "\x16\x03\x01"] {
        assert_eq!(raw(&server, request.as_bytes()), "", "{request:?}");
    }
    let phone = Endpoint::new(server.address(Wire::Udp4));
    phone.request(&format!("OPTIONS sip:{}", phone.server()), "still-there", "1", "", "");
    phone.expect("SIP/2.0 200 ");
}

// RFC 9112 section 11.2: what one reader takes for a body must not be another one's request.
#[test]
fn a_request_hidden_in_a_body_is_never_answered() {
    let server = server();
    let hidden = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    for header in ["Content-Length : 40", "X: y\n\nTransfer-Encoding: chunked", "X: y\r\n Content-Length: 40"] {
        let said = raw(&server, format!("POST /other HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n{hidden}").as_bytes());
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{header:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{header:?}: {said}");
    }
}

// RFC 9112 section 9.3.2, where the first waits in the script and the second does not.
#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = server();
    let requests = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let said = raw(&server, requests.as_bytes());
    let (waited, echoed) = (said.find("HTTP/1.1 202 Waited"), said.find("HTTP/1.1 201 Fine"));
    assert!(waited.is_some() && echoed > waited, "{said}");
}

// RFC 9110 section 10.1.1: `curl` sends the body at once when it is told to go on, else after thirty seconds, later than its own end.
#[test]
fn a_client_that_asks_before_it_sends_a_body_is_told_to_go_on() {
    let server = server();
    let url = format!("http://{}/echo", server.address(Wire::Tcp4));
    let options = ["--data", "words", "-H", "Expect: 100-continue", "--expect100-timeout", "30"];
    let said = curl(&url, &options);
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Fine\r\n"), "{said}");
    assert!(said.ends_with("words"), "{said}");
}

#[test]
fn a_script_without_the_route_takes_no_http() {
    let server = Subject::start_ser(&Plan::script("tests/it/control/operated.cfg").on(Wire::Tcp4));
    assert_eq!(raw(&server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
}
