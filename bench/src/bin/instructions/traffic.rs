//! Messages to a server in the simulated network.

use engine::Settings;
use testkit::{Network, StaticNames, Weather};

pub(crate) const BENCH: &str = include_str!("../../../scripts/bench.cfg");
pub(crate) const ROUTE: &str = include_str!("../../../scripts/route.cfg");
const USERS: usize = 100;

/// Does `work` `count` times at a server that runs `script` and knows its users.
pub(crate) fn run(script: &str, count: usize, work: fn(&mut Network, usize)) {
    repeat(Network::new(script), count, work);
}

/// As [`run`], at a server that keeps the messages seen last: so few that what is measured pushes others out.
pub(crate) fn run_kept(script: &str, count: usize, work: fn(&mut Network, usize)) {
    let settings = Settings { capture_bytes: 256 * 1024, ..Settings::default() };
    repeat(Network::with(script, settings, StaticNames::default(), Weather::default()), count, work);
}

fn repeat(mut network: Network, count: usize, work: fn(&mut Network, usize)) {
    for user in 0..USERS {
        register(&mut network, user);
    }
    for number in USERS..USERS + count {
        work(&mut network, number);
    }
}

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";
const SERVER: &str = "192.0.2.1";

/// A phone registers again.
pub(crate) fn register(network: &mut Network, number: usize) {
    ask(network, "REGISTER", number);
}

/// A request that the server answers itself.
pub(crate) fn ask(network: &mut Network, method: &str, number: usize) {
    let user = number % USERS;
    let uri = if method == "REGISTER" { format!("sip:{SERVER}") } else { format!("sip:u{user}@{SERVER}") };
    network.send(
        CALLEE,
        &format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CALLEE};branch=z9hG4bKr{number:x};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{user}@{SERVER}>;tag={number:x}\r\nTo: <sip:u{user}@{SERVER}>\r\n\
             Call-ID: {user:x}-register@bench\r\nCSeq: {number} {method}\r\nContact: <sip:u{user}@{CALLEE}>\r\n\
             Expires: 3600\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    network.settle();
    assert!(network.received_one(CALLEE).starts_with("SIP/2.0 200"));
}

/// A call from its INVITE to the 200 of its BYE.
pub(crate) fn call(network: &mut Network, number: usize) {
    let user = number % USERS;
    let request = |method: &str, uri: &str, branch: &str, to_tag: &str, rest: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{branch}{number:x};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@{SERVER}>;tag={number:x}\r\nTo: <sip:u{user}@{SERVER}>{to_tag}\r\n\
             Call-ID: {number:x}-call@bench\r\nCSeq: {cseq} {method}\r\n{rest}",
            cseq = if method == "BYE" { 2 } else { 1 },
        )
    };
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
               m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    let contact = format!("Contact: <sip:caller@{CALLER}>\r\n");
    let body = format!("{contact}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    network.send(CALLER, &request("INVITE", &format!("sip:u{user}@{SERVER}"), "i", "", &body));
    network.settle();
    let invite = network.received_one(CALLEE);
    let routes: String = header_lines(&invite, "Record-Route");
    network.send(CALLEE, &answer(&invite, "180 Ringing", ""));
    network.send(CALLEE, &answer(&invite, "200 OK", &format!("Contact: <sip:u{user}@{CALLEE}>\r\n")));
    network.settle();
    assert_eq!(network.received(CALLER).len(), 3, "100, 180 and 200");
    let remote = format!("sip:u{user}@{CALLEE}");
    let route = format!("{}Content-Length: 0\r\n\r\n", routes.replace("Record-Route", "Route"));
    network.send(CALLER, &request("ACK", &remote, "a", ";tag=callee", &route));
    network.settle();
    assert!(network.received_one(CALLEE).starts_with("ACK "));
    network.send(CALLER, &request("BYE", &remote, "b", ";tag=callee", &route));
    network.settle();
    let bye = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&bye, "200 OK", ""));
    network.settle();
    assert!(network.received_one(CALLER).starts_with("SIP/2.0 200"));
    // The next call begins when nobody repeats this one any more.
    network.advance(std::time::Duration::from_millis(100));
}

fn answer(request: &str, status: &str, more: &str) -> String {
    let copied: String =
        ["Via", "Record-Route", "From", "Call-ID", "CSeq"].map(|name| header_lines(request, name)).concat();
    let to = header_lines(request, "To");
    let to = if to.contains(";tag=") { to } else { to.replace("\r\n", ";tag=callee\r\n") };
    format!("SIP/2.0 {status}\r\n{copied}{to}{more}Content-Length: 0\r\n\r\n")
}

fn header_lines(message: &str, name: &str) -> String {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
    lines.map(|line| format!("{line}\r\n")).collect()
}
