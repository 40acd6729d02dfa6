//! RADIUS with FreeRADIUS: passwords, groups, attributes, accounting; over UDP and TLS, and what happens without it.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Callee, Caller, Endpoint, Process, RadiusServer, Scratch, Script, Wire, free_port, program_file, repository_file,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Whom FreeRADIUS knows.
const USERS: &str = r#"
alice@example.com Cleartext-Password := "secret"
 SIP-AVP = "plan:gold",
 SIP-AVP += "credit#15"
bob@example.com Service-Type == Group-Check, Sip-Group == "int", Auth-Type := Accept
bob@example.com Service-Type == SIP-Caller-AVPs, Auth-Type := Accept
 SIP-AVP = "limit#2"
bob@example.com Service-Type == Call-Check, Auth-Type := Accept
"#;

/// A registrar whose users RADIUS verifies; what the server has told of the user is in the reason.
const REGISTRAR: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "auth_radius.so"
SETTINGS
request_route {
    if (!radius_www_authorize("example.com")) {
        www_challenge("example.com", "1");
        exit;
    }
    xlog("L_WARN", "plan=$avp(plan) credit=$avp(credit) user=$au\n");
    save("location");
}
"#;

/// `ser` with a script, in a directory that outlives it.
struct Server {
    scratch: Scratch,
    options: Vec<String>,
    address: SocketAddr,
    process: Option<Process>,
}

impl Server {
    fn new(script: &str) -> Server {
        Server::with_options(script, Vec::new())
    }

    fn with_options(script: &str, options: Vec<String>) -> Server {
        let scratch = Scratch::new();
        fs::write(scratch.file("ser.cfg"), script).expect("the directory is writable");
        let ip = IpAddr::from([127, 0, 0, 1]);
        let mut server = Server { scratch, options, address: SocketAddr::new(ip, free_port(ip)), process: None };
        server.start();
        server
    }

    fn start(&mut self) {
        let mut command = Command::new(program_file("ser"));
        command.arg("-f").arg(self.scratch.file("ser.cfg")).arg("-E").arg("--data-dir").arg(self.scratch.path());
        command.args(["-l", &format!("udp:{}", self.address)]).args(&self.options);
        let process = Process::start("ser", &mut command);
        let is_up = process.wait_until(PATIENCE, || answers(self.address));
        assert!(is_up, "ser does not come up\n{}", process.log());
        self.process = Some(process);
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    fn shall_say(&self, text: &str) {
        self.process.as_ref().expect("it runs").shall_say(text, PATIENCE);
    }

    /// Runs a scenario as alice.
    fn run(&self, scenario: &str, user: &str, password: &str) {
        let script = Script::new(scenario, user).at("example.com").credentials("alice", password);
        Caller::run(&script.key("contact", "sip:alice@127.0.0.1:9"), Wire::Udp4, self.address);
    }

    fn register(&self, scenario: &str, password: &str) {
        self.run(scenario, "alice", password);
    }
}

/// Whether anybody answers there. A request that breaks the rules reaches no script.
fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free UDP port");
    socket.connect(address).expect("loopback can be reached");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    let local = socket.local_addr().expect("it is bound");
    let text = format!(
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKup;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x>\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut room = [0; 2000];
    socket.send(text.as_bytes()).is_ok() && socket.recv(&mut room).is_ok()
}

fn registrar(settings: &str) -> Server {
    Server::new(&REGISTRAR.replace("SETTINGS", settings))
}

#[test]
fn freeradius_verifies_passwords_and_tells_what_it_knows_of_the_user() {
    let radius = RadiusServer::start(USERS);
    let server = registrar(&format!("modparam(\"auth_radius\", \"radius_config\", \"{}\")", radius.client_files()));
    server.register("register_with_digest.xml", "secret");
    server.shall_say("plan=gold credit=15 user=alice");
    server.register("register_refused.xml", "guess");
    radius.shall_say("Access-Reject");
}

// RFC 6614.
#[test]
fn freeradius_verifies_passwords_over_tls() {
    let radius = RadiusServer::start(USERS);
    let server = registrar(&format!("modparam(\"auth_radius\", \"server\", \"{}\")", radius.tls_setting()));
    server.register("register_with_digest.xml", "secret");
    server.register("register_refused.xml", "guess");
}

#[test]
fn without_radius_servers_a_registration_gets_503_and_later_its_200() {
    let mut radius = RadiusServer::start(USERS);
    let server = registrar(&format!(
        "modparam(\"auth_radius\", \"server\", \"{}\")\nmodparam(\"auth_radius\", \"timeout\", 500)\n\
         modparam(\"auth_radius\", \"dead_time\", 0)",
        radius.setting()
    ));
    // It hangs: no answer to either try.
    radius.hang();
    server.register("register_while_away.xml", "secret");
    radius.go_on();
    server.register("register_with_digest.xml", "secret");
    // It is gone: nobody listens.
    radius.kill();
    server.register("register_while_away.xml", "secret");
    radius.start_again();
    server.register("register_with_digest.xml", "secret");
}

#[test]
fn a_second_server_takes_over_from_one_that_is_dead() {
    let (mut first, second) = (RadiusServer::start(USERS), RadiusServer::start(USERS));
    let server = registrar(&format!(
        "modparam(\"auth_radius\", \"server\", \"{}\")\nmodparam(\"auth_radius\", \"server\", \"{}\")",
        first.setting(),
        second.setting()
    ));
    server.register("register_with_digest.xml", "secret");
    first.kill();
    server.register("register_with_digest.xml", "secret");
    second.shall_say("Access-Accept");
    server.shall_say("it is left alone for 10 s");
}

#[test]
fn groups_attributes_and_users_are_those_of_freeradius() {
    let radius = RadiusServer::start(USERS);
    let script = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "misc_radius.so"
modparam("misc_radius", "server", "SERVER")
request_route {
    $var(exists) = 0; $var(int) = 0; $var(ld) = 0; $var(loaded) = 0;
    if (radius_does_uri_exist("sip:$rU@example.com")) { $var(exists) = 1; }
    if (radius_is_user_in("sip:$rU@example.com", "int")) { $var(int) = 1; }
    if (radius_is_user_in("sip:$rU@example.com", "ld")) { $var(ld) = 1; }
    if (radius_load_caller_avps("$rU@example.com")) { $var(loaded) = 1; }
    send_reply("200", "exists=$var(exists) int=$var(int) ld=$var(ld) loaded=$var(loaded) limit=$avp(limit)");
}
"#;
    let server = Server::new(&script.replace("SERVER", &radius.setting()));
    for (user, expected) in [
        ("bob", "SIP/2.0 200 exists=1 int=1 ld=0 loaded=1 limit=2\r\n"),
        ("eve", "SIP/2.0 200 exists=0 int=0 ld=0 loaded=0 limit="),
    ] {
        let phone = Endpoint::new(server.address);
        phone.request(&format!("OPTIONS sip:{user}@{}", server.address), user, "1", "", "");
        let reply = phone.receive().unwrap_or_default();
        assert!(reply.starts_with(expected), "{reply}\n{}", radius.log());
    }
}

const ACCOUNTING: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "acc_radius.so"
modparam("acc_radius", "server", "SERVER")
modparam("acc_radius", "radius_flag", 1)
modparam("acc_radius", "timeout", 300)
modparam("acc_radius", "dead_time", 1)
request_route {
    setflag(1);
    t_newtran();
    t_reply("200", "OK");
}
"#;

/// Sends calls, a BYE each, and returns those that were answered.
fn send(address: SocketAddr, calls: std::ops::Range<u32>) -> HashSet<String> {
    let mut answered = HashSet::new();
    for n in calls {
        let phone = Endpoint::new(address);
        phone.set_patience(Duration::from_secs(1));
        phone.request(&format!("BYE sip:bob@{address}"), &format!("call-{n}"), "2", ";tag=b", "");
        if phone.receive().is_some_and(|reply| reply.starts_with("SIP/2.0 200 ")) {
            answered.insert(format!("call-{n}"));
        }
    }
    answered
}

/// What makes a record the one that it is, whenever it is told.
fn identity(record: &str) -> Vec<&str> {
    let lines = record.lines().map(str::trim);
    lines
        .filter(|line| {
            ["Acct-Session-Id ", "Acct-Status-Type ", "Event-Timestamp "].iter().any(|name| line.starts_with(name))
        })
        .collect()
}

#[test]
fn each_answered_call_is_in_freeradius_however_often_both_are_killed() {
    let mut radius = RadiusServer::start(USERS);
    let mut server = Server::new(&ACCOUNTING.replace("SERVER", &radius.setting()));
    let mut answered = send(server.address, 0..20);
    // Killed wherever it is just then; and calls go on while RADIUS is away, over a restart.
    server.kill();
    radius.kill();
    server.start();
    answered.extend(send(server.address, 20..40));
    server.kill();
    server.start();
    answered.extend(send(server.address, 40..60));
    assert_eq!(answered.len(), 60, "calls go on without RADIUS");
    radius.start_again();
    let process = server.process.as_ref().expect("it runs");
    let has_all = || {
        let records = radius.records().concat();
        answered.iter().all(|call| records.contains(&format!("Acct-Session-Id = \"{call}\"")))
    };
    assert!(process.wait_until(PATIENCE, has_all), "{:?}\n{}", radius.records(), process.log());
    let records = radius.records();
    // What came twice, cut off from its acknowledgement, is known by what it says.
    let distinct: HashSet<_> = records.iter().map(|record| identity(record)).collect();
    assert_eq!(distinct.len(), answered.len());
    assert!(records.iter().all(|record| record.contains("Acct-Status-Type = Stop")), "{}", records[0]);
    assert!(records.iter().any(|record| record.contains("Acct-Delay-Time")), "{}", records[0]);
}

#[test]
fn the_example_of_a_provider_registers_calls_and_accounts() {
    let radius = RadiusServer::start(USERS);
    let script = fs::read_to_string(repository_file("examples/radius/provider.cfg")).expect("it is there");
    let define = format!("RADIUS=\"{}\"", radius.setting());
    let server = Server::with_options(&script, vec!["-A".into(), define]);
    let callee = Callee::start("answer.xml", "alice", Wire::Udp4);
    let register = Script::new("register_with_digest.xml", "alice").at("example.com").credentials("alice", "secret");
    Caller::run(&register.key("contact", callee.contact()), Wire::Udp4, server.address);
    // Alice calls her other phone.
    server.run("call_with_digest.xml", "alice", "secret");
    callee.succeeds();
    let process = server.process.as_ref().expect("it runs");
    let statuses = || -> Vec<String> {
        let text = radius.records().concat();
        text.lines().filter_map(|line| line.trim().strip_prefix("Acct-Status-Type = ")).map(str::to_owned).collect()
    };
    assert!(process.wait_until(PATIENCE, || statuses().len() >= 2), "{:?}\n{}", radius.records(), process.log());
    let mut told = statuses();
    told.sort();
    assert_eq!(told, ["Start", "Stop"]);
    assert!(radius.records()[0].contains("User-Name = \"alice@example.com\""), "{}", radius.records()[0]);
    let phone = Endpoint::new(server.address);
    phone.request("OPTIONS sip:0044123@example.com", "abroad", "1", "", "");
    phone.expect("SIP/2.0 407 ");
}
