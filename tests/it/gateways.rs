//! `ser` as the customer of a provider: a Kamailio that asks for a password, and that is away for a while.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Endpoint, Process, Scratch, free_port, program_file};

const PATIENCE: Duration = Duration::from_secs(30);

/// A provider. The password is "secret", and whoever knows it hears so.
const PEER: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
fork=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "auth.so"
loadmodule "xlog.so"
request_route {
    xlog("L_ERR", "SEEN $rm $ru from $fu cseq $cs\n");
    if (is_method("OPTIONS")) { sl_send_reply("200", "Alive"); exit; }
    if (is_method("ACK")) exit;
    if (!pv_proxy_authenticate("peer.example", "secret", "0")) { proxy_challenge("peer.example", "1"); exit; }
    sl_send_reply("480", "Known $au");
}
"#;

const CALLER: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "textops.so"
loadmodule "uac.so"
modparam("uac", "credential", "alice:peer.example:PASSWORD")
request_route {
    if (is_method("ACK")) { t_relay(); exit; }
    $du = "sip:PEER";
    t_on_failure("ASKED");
    if (!t_relay()) sl_reply_error();
}
failure_route[ASKED] {
    if (t_check_status("401|407") && uac_auth()) t_relay();
}
"#;

const PROBER: &str = r#"#!KAMAILIO
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "dispatcher.so"
modparam("dispatcher", "list_file", "LIST")
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
modparam("dispatcher", "ds_ping_fr_timeout", 500)
modparam("dispatcher", "ds_probing_threshold", 1)
modparam("dispatcher", "ds_inactive_threshold", 1)
request_route {
    if (ds_select_dst("1", "4")) sl_send_reply("200", "There");
    else sl_send_reply("503", "Away");
}
"#;

fn loopback() -> SocketAddr {
    let ip = IpAddr::from([127, 0, 0, 1]);
    SocketAddr::new(ip, free_port(ip))
}

fn file(scratch: &Scratch, name: &str, text: &str) -> std::path::PathBuf {
    fs::write(scratch.file(name), text).expect("the directory is writable");
    scratch.file(name)
}

fn peer(scratch: &Scratch, at: SocketAddr) -> Process {
    let mut kamailio = Command::new("/usr/sbin/kamailio");
    kamailio.arg("-f").arg(file(scratch, "peer.cfg", PEER)).args(["-DD", "-E", "-l", &format!("udp:{at}")]);
    kamailio.arg("-Y").arg(scratch.path()).arg("-P").arg(scratch.file("kamailio.pid"));
    Process::start("kamailio", &mut kamailio)
}

fn ser(scratch: &Scratch, script: &str, at: SocketAddr) -> Process {
    let mut command = Command::new(program_file("ser"));
    command.arg("-f").arg(file(scratch, "ser.cfg", script)).arg("-E").arg("--data-dir").arg(scratch.path());
    command.args(["-l", &format!("udp:{at}")]);
    Process::start("ser", &mut command)
}

/// Asks `request` under new Call-IDs until the final reply is the expected one.
fn wait_for_reply(server: &Process, caller: &Endpoint, expected: &str) {
    caller.set_patience(Duration::from_secs(1));
    let mut asked = 0;
    let mut last = String::new();
    let is_so = server.wait_until(PATIENCE, || {
        asked += 1;
        caller.request(&format!("OPTIONS sip:{}", caller.server()), &format!("ask-{expected}-{asked}"), "1", "", "");
        last = caller.receive().unwrap_or_default();
        last.starts_with(&format!("SIP/2.0 {expected} "))
    });
    assert!(is_so, "no {expected} but:\n{last}\n{}", server.log());
}

fn check_password(password: &str, expected: &str) {
    let scratch = Scratch::new();
    let (peer_at, own) = (loopback(), loopback());
    let peer = peer(&scratch, peer_at);
    let ready = Endpoint::new(peer_at);
    wait_for_reply(&peer, &ready, "200");
    let script = CALLER.replace("PEER", &peer_at.to_string()).replace("PASSWORD", password);
    let ser = ser(&scratch, &script, own);
    let caller = Endpoint::new(own);
    caller.set_patience(Duration::from_secs(1));
    let mut last = String::new();
    let mut calls = 0;
    // The server may not listen yet when the first call comes.
    let is_final = ser.wait_until(PATIENCE, || {
        calls += 1;
        caller.request(&format!("INVITE sip:bob@{own}"), &format!("call-{calls}"), "1", "", "");
        while let Some(reply) = caller.receive() {
            last = reply;
            if !last.starts_with("SIP/2.0 1") {
                return true;
            }
        }
        false
    });
    assert!(is_final && last.starts_with(expected), "instead of {expected}:\n{last}\n{}\n{}", ser.log(), peer.log());
    let to_tag = crate::harness::field(&last, "To").split_once(";tag=").map_or("", |(_, tag)| tag).to_owned();
    caller.request(&format!("ACK sip:bob@{own}"), &format!("call-{calls}"), "1", &format!(";tag={to_tag}"), "");
}

#[test]
fn a_challenge_of_kamailio_is_answered() {
    check_password("secret", "SIP/2.0 480 Known alice");
}

#[test]
fn a_password_that_kamailio_refuses_is_not_tried_for_ever() {
    check_password("guess", "SIP/2.0 407 ");
}

#[test]
fn a_kamailio_that_is_away_gets_no_calls_until_it_is_back() {
    let scratch = Scratch::new();
    let (peer_at, own) = (loopback(), loopback());
    let first = peer(&scratch, peer_at);
    wait_for_reply(&first, &Endpoint::new(peer_at), "200");
    let list = file(&scratch, "dispatcher.list", &format!("1 sip:{peer_at}\n"));
    let ser = ser(&scratch, &PROBER.replace("LIST", &list.to_string_lossy()), own);
    let caller = Endpoint::new(own);
    wait_for_reply(&ser, &caller, "200");
    let is_asked = ser.wait_until(PATIENCE, || first.log().contains(&format!("SEEN OPTIONS sip:{peer_at} from sip:")));
    assert!(is_asked, "{}\n{}", ser.log(), first.log());
    first.stop();
    wait_for_reply(&ser, &caller, "503");
    let second = peer(&scratch, peer_at);
    wait_for_reply(&ser, &caller, "200");
    drop(second);
}
