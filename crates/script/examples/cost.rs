//! What loading and running a residential script costs: `cargo run --release -p script --example cost`.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

#[path = "../tests/world/mod.rs"]
mod world;

use std::time::Instant;

use world::{World, load_text};

const SCRIPT: &str = r#"#!KAMAILIO
#!define FLT_ACC 1
debug=2
listen=udp:192.0.2.1:5060
alias="example.com"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "xlog.so"
loadmodule "probe.so"
modparam("tm", "fr_timer", 30000)
request_route {
    route(REQINIT);
    if (method == "CANCEL") { t_relay(); exit; }
    if (method == "ACK" || method == "BYE") { route(WITHINDLG); }
    if ($rm == "REGISTER") { sl_send_reply("200", "OK"); exit; }
    if (src_ip == 10.0.0.0/8) { setflag(FLT_ACC); }
    if (!uri == myself) { sl_send_reply("403", "Relaying forbidden"); exit; }
    if ($hdr(Subject) =~ "^spam") { sl_send_reply("403", "No"); exit; }
    $avp(callee) = $(ru{uri.user});
    $var(n) = $var(n) + 1;
    if ($avp(callee) == $null || strempty($avp(callee))) { sl_send_reply("484", "Incomplete"); exit; }
    if (method == "INVITE") { setflag(FLT_ACC); t_on_failure("MANAGE_FAILURE"); }
    route(RELAY);
}
route[REQINIT] {
    force_rport();
    if (msg:len > 4096) { sl_send_reply("513", "Message too big"); exit; }
    if ($hdr(User-Agent) =~ "friendly-scanner|sipcli") { exit; }
}
route[WITHINDLG] { t_relay(); exit; }
route[RELAY] { if (!t_relay()) { sl_send_reply("500", "Server error"); } exit; }
failure_route[MANAGE_FAILURE] { exit; }
"#;

fn main() {
    let (mut loads, start) = (0_u32, Instant::now());
    while start.elapsed().as_millis() < 500 {
        assert!(load_text(SCRIPT).configuration.is_some());
        loads += 1;
    }
    let per_load = start.elapsed() / loads;
    println!("load: {per_load:?} for {} lines", SCRIPT.lines().count());

    let mut world = World::new(SCRIPT);
    let (mut runs, start) = (0_u32, Instant::now());
    while start.elapsed().as_millis() < 1000 {
        for _ in 0..1000 {
            world.context.avps.remove(b"callee");
            world.server.told.clear();
            world.run();
        }
        runs += 1000;
    }
    let per_run = start.elapsed() / runs;
    // Statements that one INVITE reaches, conditions included.
    println!("run: {per_run:?} for 17 statements, {:?} each", per_run / 17);
}
