//! `ser` registering with others: a Kamailio that asks for a password.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(30);

/// A provider. The password is "secret".
const PEER: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
fork=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("registrar", "min_expires", 120)
request_route {
    if (!is_method("REGISTER")) { sl_send_reply("404", "Not Found"); exit; }
    if (!pv_www_authenticate("peer.example", "secret", "0")) { www_challenge("peer.example", "1"); exit; }
    consume_credentials();
    save("location");
    xlog("L_ERR", "SEEN $fu contact $ct expires $hdr(Expires) call $ci cseq $cs\n");
    exit;
}
"#;

const SCRIPT: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "uac.so"
modparam("uac", "reg_db_url", "DATABASE")
modparam("uac", "reg_contact_addr", "CONTACT")
modparam("uac", "reg_timer_interval", 90)
modparam("uac", "reg_retry_interval", 1)
request_route { sl_send_reply("200", "OK"); }
"#;

fn loopback() -> SocketAddr {
    let ip = IpAddr::from([127, 0, 0, 1]);
    SocketAddr::new(ip, free_port(ip))
}

fn serctl(scratch: &Scratch, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(program_file("serctl"));
    let output = command.arg("--data-dir").arg(scratch.path()).args(words).output().expect("serctl runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn sqlite(scratch: &Scratch, statement: &str) {
    let status = Command::new("sqlite3").arg(scratch.file("ser.db")).arg(statement).status();
    assert!(status.expect("`make test` installs sqlite3").success(), "{statement}");
}

#[test]
fn a_registration_with_a_peer_is_made_kept_and_taken_back() {
    let scratch = Scratch::new();
    let (peer_at, own) = (loopback(), loopback());
    let file = |name: &str, text: &str| {
        fs::write(scratch.file(name), text).expect("the directory is writable");
        scratch.file(name)
    };
    let mut kamailio = Command::new("/usr/sbin/kamailio");
    kamailio.arg("-f").arg(file("peer.cfg", PEER)).args(["-DD", "-E", "-l", &format!("udp:{peer_at}")]);
    kamailio.arg("-Y").arg(scratch.path()).arg("-P").arg(scratch.file("kamailio.pid"));
    let peer = Process::start("kamailio", &mut kamailio);
    let database = scratch.file("ser.db").to_string_lossy().into_owned();
    assert!(serctl(&scratch, &["--db", &database, "db", "create"]).0);
    let row = |uuid: &str, password: &str| {
        format!(
            "INSERT INTO uacreg (l_uuid, l_username, l_domain, r_username, r_domain, realm, auth_username, auth_password, \
             auth_proxy, expires) VALUES ('{uuid}', 'bob', 'here.example', '{uuid}', 'peer.example', 'peer.example', \
             '{uuid}', '{password}', 'sip:{peer_at}', 60)"
        )
    };
    sqlite(&scratch, &row("good", "secret"));
    sqlite(&scratch, &row("wrong", "guess"));
    let script = SCRIPT.replace("DATABASE", &format!("sqlite://{database}")).replace("CONTACT", &own.to_string());
    let mut command = Command::new(program_file("ser"));
    command.arg("-f").arg(file("uac.cfg", &script)).arg("-E").arg("--data-dir").arg(scratch.path());
    command.args(["-l", &format!("udp:{own}")]);
    let ser = Process::start("ser", &mut command);
    let info = |uuid: &str| serctl(&scratch, &["--json", "uac.reg_info", "l_uuid", uuid]).1;
    let logs = || format!("{}\n{}", ser.log(), peer.log());
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        assert!(ser.wait_until(PATIENCE, is_so), "{what}: {} {}\n{}", info("good"), info("wrong"), logs());
    };

    // The peer may come up later: what is refused is tried again. 60 seconds are too few for it (RFC 3261 10.3).
    wait("registered", &|| info("good").contains("\"flags\": 4"));
    let seen = |start: &str| peer.log().lines().filter(|line| line.contains(start)).count();
    assert!(seen(&format!("SEEN sip:good@peer.example contact <sip:good@{own}>")) > 0, "{}", logs());
    wait("refused", &|| info("wrong").contains("\"last_code\": 401"));
    assert!(!info("wrong").contains("\"flags\": 4"));

    // A password that is corrected counts with a reload, and a registration that is gone is taken back.
    sqlite(&scratch, "UPDATE uacreg SET auth_password = 'secret' WHERE l_uuid = 'wrong'");
    assert!(serctl(&scratch, &["uac.reg_reload"]).0);
    wait("corrected", &|| info("wrong").contains("\"flags\": 4"));
    assert!(serctl(&scratch, &["uac.reg_disable", "l_uuid", "good"]).0);
    wait("taken back", &|| peer.log().contains("expires 0"));
    wait("disabled", &|| info("good").contains("\"flags\": 1"));
    assert!(serctl(&scratch, &["uac.reg_enable", "l_uuid", "good"]).0);
    wait("enabled", &|| info("good").contains("\"flags\": 4"));
    let (is_good, said) = serctl(&scratch, &["uac.reg_info", "l_uuid", "nobody"]);
    assert!(!is_good && said.contains("no such registration"), "{said}");
}
