//! `ser` as the edge proxy of a Kamailio registrar (RFC 5626): a phone keeps a TCP connection, and is called by it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, lines, program_file};

const PATIENCE: Duration = Duration::from_secs(20);

const REGISTRAR: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
fork=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
modparam("registrar", "use_path", 1)
modparam("registrar", "outbound_mode", 1)
request_route {
    if (is_method("REGISTER")) { save("location"); exit; }
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    t_relay();
}
"#;

const EDGE: &str = r#"#!KAMAILIO
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "outbound.so"
loadmodule "rr.so"
loadmodule "path.so"
loadmodule "textops.so"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("REGISTER")) {
        add_path();
        $du = "sip:REGISTRAR";
        t_relay();
        exit;
    }
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    if (loose_route()) { t_relay(); exit; }
    if ($rc == -2) { sl_send_reply("403", "Forbidden"); exit; }
    sl_send_reply("404", "Not Found");
}
"#;

fn loopback() -> SocketAddr {
    let ip = IpAddr::from([127, 0, 0, 1]);
    SocketAddr::new(ip, free_port(ip))
}

/// Both servers, once they answer.
struct Servers {
    registrar_at: SocketAddr,
    edge_at: SocketAddr,
    registrar: Process,
    edge: Process,
    _scratch: Scratch,
}

impl Servers {
    fn start() -> Servers {
        let scratch = Scratch::new();
        let (registrar_at, edge_at) = (loopback(), loopback());
        let file = |name: &str, text: &str| {
            fs::write(scratch.file(name), text).expect("the directory is writable");
            scratch.file(name)
        };
        let mut kamailio = Command::new("/usr/sbin/kamailio");
        kamailio.arg("-f").arg(file("registrar.cfg", REGISTRAR)).args([
            "-DD",
            "-E",
            "-l",
            &format!("udp:{registrar_at}"),
        ]);
        // The Path leads back by the transport at which the phone is known.
        kamailio.args(["-l", &format!("tcp:{registrar_at}")]);
        kamailio.arg("-Y").arg(scratch.path()).arg("-P").arg(scratch.file("kamailio.pid"));
        let registrar = Process::start("kamailio", &mut kamailio);
        let mut ser = Command::new(program_file("ser"));
        ser.arg("-f").arg(file("edge.cfg", &EDGE.replace("REGISTRAR", &registrar_at.to_string()))).arg("-E");
        ser.arg("--data-dir").arg(scratch.path());
        ser.args(["-l", &format!("udp:{edge_at}"), "-l", &format!("tcp:{edge_at}")]);
        let edge = Process::start("ser", &mut ser);
        let servers = Servers { registrar_at, edge_at, registrar, edge, _scratch: scratch };
        for (address, process) in [(registrar_at, &servers.registrar), (edge_at, &servers.edge)] {
            let asker = Endpoint::new(address);
            asker.set_patience(Duration::from_millis(200));
            let mut asked = 0;
            let is_up = process.wait_until(PATIENCE, || {
                asked += 1;
                asker.request(&format!("OPTIONS sip:{address}"), &format!("up{asked}"), "1", "", "");
                asker.receive().is_some()
            });
            assert!(is_up, "{}", servers.logs());
        }
        servers
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.edge.log(), self.registrar.log())
    }

    fn caller(&self) -> Endpoint {
        let caller = Endpoint::new(self.registrar_at);
        caller.set_patience(PATIENCE);
        caller
    }
}

/// A phone of the test's own: one TCP connection to the edge proxy.
struct Phone {
    stream: TcpStream,
    own: SocketAddr,
    unread: String,
}

impl Phone {
    fn connect(edge: SocketAddr) -> Phone {
        let stream = TcpStream::connect(edge).expect("the edge proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let own = stream.local_addr().expect("a connected socket has an address");
        Phone { stream, own, unread: String::new() }
    }

    fn register(&mut self, servers: &Servers, reg_id: u32) -> String {
        let (own, domain) = (self.own, servers.registrar_at);
        self.write(&format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bKreg{reg_id}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@{domain}>;tag=r\r\nTo: <sip:bob@{domain}>\r\nCall-ID: reg{reg_id}@{own}\r\nCSeq: 1 REGISTER\r\n\
             Supported: path, outbound, gruu\r\n\
             Contact: <sip:bob@10.1.1.1:5060;transport=tcp>;reg-id={reg_id};+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"\r\n\
             Expires: 600\r\nContent-Length: 0\r\n\r\n"
        ));
        self.read()
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("the edge proxy reads");
    }

    /// The next message without a body.
    fn read(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.find("\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                return std::mem::replace(&mut self.unread, rest);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the edge proxy has closed the connection"),
                Ok(length) => self.unread.push_str(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing comes by the flow: {error}"),
            }
        }
    }

    fn answer(&mut self, request: &str, status: &str) {
        let mut reply = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            reply.push_str(&lines(request, name));
        }
        reply.push_str(&lines(request, "To").replace("\r\n", ";tag=b\r\n"));
        reply.push_str("Contact: <sip:bob@10.1.1.1:5060;transport=tcp;ob>\r\nContent-Length: 0\r\n\r\n");
        self.write(&reply);
    }
}

/// The final answer to an INVITE.
fn final_answer(caller: &Endpoint) -> String {
    loop {
        let message = caller.receive().expect("an INVITE is answered");
        if !message.starts_with("SIP/2.0 1") {
            return message;
        }
    }
}

fn call(servers: &Servers, caller: &Endpoint, id: &str) {
    let contact = format!("Contact: <sip:caller@{}>\r\n", caller.own());
    caller.request(&format!("INVITE sip:bob@{}", servers.registrar_at), id, "1", "", &contact);
}

// RFC 5626 sections 5.1, 5.3 and 6.
#[test]
fn a_phone_behind_our_edge_is_called_through_kamailio_by_its_own_connection() {
    let servers = Servers::start();
    let mut phone = Phone::connect(servers.edge_at);
    let registered = phone.register(&servers, 1);
    assert!(registered.starts_with("SIP/2.0 200"), "{registered}\n{}", servers.logs());
    // Kamailio has found `ob` in the Path of the first hop, else it would say 439.
    assert!(lines(&registered, "Require").contains("outbound"), "{registered}");
    let path = lines(&registered, "Path");
    assert!(path.contains(";ob"), "{registered}");

    let caller = servers.caller();
    call(&servers, &caller, "by-flow");
    let invite = phone.read();
    assert!(invite.starts_with("INVITE sip:bob@10.1.1.1:5060;transport=tcp SIP/2.0"), "{invite}\n{}", servers.logs());
    // The dialog comes back by the same flow: the token of the Path stands in the Record-Route.
    let token = path.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).expect("the Path has a user part");
    assert!(lines(&invite, "Record-Route").contains(token), "{invite}");
    phone.answer(&invite, "200 OK");
    let answered = final_answer(&caller);
    assert!(answered.starts_with("SIP/2.0 200"), "{answered}");

    // A request within the dialog, along the recorded route, straight to the edge.
    let route = lines(&answered, "Record-Route").replace("Record-Route:", "Route:");
    let inside = Endpoint::new(servers.edge_at);
    inside.set_patience(PATIENCE);
    inside.request("BYE sip:bob@10.1.1.1:5060;transport=tcp", "by-flow", "2", ";tag=b", &route);
    let bye = phone.read();
    assert!(bye.starts_with("ACK ") || bye.starts_with("BYE sip:bob@10.1.1.1"), "{bye}");
    phone.answer(&bye, "200 OK");
    assert!(final_answer(&inside).starts_with("SIP/2.0 200"));
}

// RFC 5626 section 5.3: 430 where the connection is gone, 403 where the token is forged.
#[test]
fn a_flow_that_is_gone_is_430_and_a_forged_one_403() {
    let servers = Servers::start();
    let mut phone = Phone::connect(servers.edge_at);
    let registered = phone.register(&servers, 1);
    assert!(registered.starts_with("SIP/2.0 200"), "{registered}\n{}", servers.logs());
    let route = lines(&registered, "Path").replace("Path:", "Route:");
    let edge_port = phone.own;
    drop(phone);

    let caller = servers.caller();
    call(&servers, &caller, "gone");
    let refused = final_answer(&caller);
    assert!(refused.starts_with("SIP/2.0 430 Flow Failed"), "{refused}\n{}", servers.logs());

    // Nobody but the phone may open it again, were it at the very address.
    let another = UdpSocket::bind(edge_port).expect("the port is free for UDP");
    let asker = Endpoint::new(servers.edge_at);
    asker.set_patience(PATIENCE);
    let (head, tail) = route.split_at(route.find('@').expect("the Path has a user part") - 1);
    let forged = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    asker.request("MESSAGE sip:bob@10.1.1.1", "forged", "1", "", &forged);
    let answer = final_answer(&asker);
    assert!(answer.starts_with("SIP/2.0 403"), "{answer}");
    drop(another);
}

// RFC 5626 sections 4.4.2 and 8; the bytes are those of RFC 5389.
#[test]
fn a_phone_learns_by_stun_where_it_is_seen() {
    let servers = Servers::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"abcdefghijkl"].concat();
    socket.send_to(&request, servers.edge_at).expect("loopback carries it");
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).expect("a Binding request is answered");
    assert_eq!((length, from), (32, servers.edge_at));
    let port = u16::from_be_bytes([buffer[26], buffer[27]]) ^ 0x2112;
    assert_eq!((buffer[0], buffer[1], port), (1, 1, socket.local_addr().expect("it is bound").port()));
}
