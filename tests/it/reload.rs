//! Reloading under load: no call is lost, nothing is kept that is not needed, and who began on a program ends on it.
//!
//! A thousand reloads by default; `SER_RELOADS=10000 cargo test -p tests reloads` is the long run.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Endpoint, Plan, Scratch, Subject, Wire};

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a transaction stays.
const LINGER: Duration = Duration::from_secs(60);
const RELOADED: &str = "script and certificates are reloaded";

/// A relay whose failure route says which edition of the script it belongs to.
fn script(edition: usize) -> String {
    format!(
        "#!KAMAILIO\nloadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"usrloc.so\"\n\
         loadmodule \"registrar.so\"\nloadmodule \"textops.so\"\nloadmodule \"siputils.so\"\n\
         # Something to compile: expressions, texts, and routes that are long enough to be missed when they leak.\n\
         {}\
         request_route {{\n\
             if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"Edition {edition}\"); exit; }}\n\
             if (is_method(\"REGISTER\")) {{ save(\"location\"); exit; }}\n\
             if (has_totag() || is_method(\"ACK|CANCEL\")) {{ t_relay(); exit; }}\n\
             if (!lookup(\"location\")) {{ sl_send_reply(\"404\", \"Not Found\"); exit; }}\n\
             {}\
             t_on_failure(\"LATER\");\n\
             t_relay();\n\
         }}\n\
         failure_route[LATER] {{ t_reply(\"603\", \"Edition {edition}\"); }}\n",
        (0..40).map(filler).collect::<String>(),
        (0..40).map(|number| format!("route(FILLER{number});\n")).collect::<String>()
    )
}

fn filler(number: usize) -> String {
    format!(
        "route[FILLER{number}] {{ if ($ua =~ \"^(scanner|sip[a-z]+){number}$\" && $rU != \"x{number}\") {{ \
         sl_send_reply(\"40{}\", \"Go away, $rU\"); }} }}\n",
        number % 10
    )
}

fn reloads() -> usize {
    std::env::var("SER_RELOADS").ok().and_then(|number| number.parse().ok()).unwrap_or(1000)
}

/// Has the server load its script anew, `count` times in all so far.
fn reload(server: &Subject, count: usize) {
    server.process().signal("HUP");
    if !server.process().wait_until(PATIENCE, || server.process().count_lines(RELOADED) >= count) {
        server.process().fail(&format!("did not reload {count} times"));
    }
}

#[test]
fn a_request_in_flight_ends_on_the_program_that_it_began_with() {
    let scratch = Scratch::new();
    let file = scratch.file("edition.cfg");
    fs::write(&file, script(1)).expect("the directory is writable");
    let server = Subject::start_ser(&Plan::script(&file.to_string_lossy()));
    let address = server.address(Wire::Udp4);
    let (alice, bob) = (Endpoint::new(address), Endpoint::new(address));
    bob.register_bob();
    let fields = format!("Contact: <sip:alice@{}>\r\n", alice.own());
    alice.request(&format!("INVITE sip:bob@{address}"), "before", "1", "", &fields);
    alice.expect("SIP/2.0 100 ");
    let before = bob.expect("INVITE ");

    fs::write(&file, script(2)).expect("the directory is writable");
    reload(&server, 1);
    let carol = Endpoint::new(address);
    carol.request(&format!("INVITE sip:bob@{address}"), "after", "1", "", &fields);
    carol.expect("SIP/2.0 100 ");
    let after = bob.expect("INVITE ");
    bob.answer(&before, "486 Busy Here");
    bob.expect("ACK ");
    alice.expect("SIP/2.0 603 Edition 1\r\n");
    bob.answer(&after, "486 Busy Here");
    bob.expect("ACK ");
    carol.expect("SIP/2.0 603 Edition 2\r\n");
}

#[test]
fn a_thousand_reloads_under_load_lose_no_call_and_leak_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file("edition.cfg");
    fs::write(&file, script(0)).expect("the directory is writable");
    let server = Subject::start_ser(&Plan::script(&file.to_string_lossy()));
    let (is_over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (grown, took) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| call_until(&server, &is_over, &calls));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reload_often(&server, &file, &is_over)));
        is_over.store(true, Ordering::Relaxed);
        caller.join().expect("every call came through");
        result.expect("every reload was done")
    });
    let calls = calls.load(Ordering::Relaxed);
    println!("{} reloads in {took:?}, {calls} calls meanwhile, {grown} kB more resident", reloads());
    assert!(calls > reloads() / 20, "only {calls} calls: that is no load");
    // A program of this script is half a megabyte: a leak of them would be hundreds.
    assert!(grown < 32_768, "{grown} kB more resident after {} reloads", reloads());
}

/// How much the process has grown since a tenth of the reloads was done, and how long all took.
///
/// A transaction keeps its program for the 32 seconds that RFC 6026 keeps the transaction, so what counts is what is
/// left when they are gone.
fn reload_often(server: &Subject, file: &Path, is_over: &AtomicBool) -> (i64, Duration) {
    let start = Instant::now();
    let warm = reloads() / 10;
    let mut before = 0;
    for count in 1..=reloads() {
        fs::write(file, script(count)).expect("the directory is writable");
        reload(server, count);
        if count == warm {
            before = server.process().resident_kilobytes();
        }
    }
    let took = start.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let grown = || server.process().resident_kilobytes() - before;
    // Allocations let the allocator give back what has become free: some reloads more, without load.
    let mut count = reloads();
    server.process().wait_until(LINGER, || {
        count += 1;
        reload(server, count);
        grown() < 8192
    });
    (grown(), took)
}

/// Calls bob, is answered and hangs up, again and again.
fn call_until(server: &Subject, is_over: &AtomicBool, calls: &AtomicUsize) {
    let address = server.address(Wire::Udp4);
    let (alice, bob) = (Endpoint::new(address), Endpoint::new(address));
    bob.register_bob();
    let fields = format!("Contact: <sip:alice@{}>\r\n", alice.own());
    while !is_over.load(Ordering::Relaxed) {
        let call = format!("call-{}", calls.load(Ordering::Relaxed));
        alice.request(&format!("INVITE sip:bob@{address}"), &call, "1", "", &fields);
        alice.expect("SIP/2.0 100 ");
        let invite = bob.expect("INVITE ");
        bob.answer(&invite, "180 Ringing");
        alice.expect("SIP/2.0 180 ");
        bob.answer(&invite, "200 OK");
        alice.expect("SIP/2.0 200 ");
        let within = format!("sip:bob@{}", bob.own());
        alice.request(&format!("ACK {within}"), &call, "1", ";tag=b", "");
        bob.expect("ACK ");
        alice.request(&format!("BYE {within}"), &call, "2", ";tag=b", "");
        let bye = bob.expect("BYE ");
        bob.answer(&bye, "200 OK");
        alice.expect("SIP/2.0 200 ");
        calls.fetch_add(1, Ordering::Relaxed);
    }
}
