//! What scripts of both families do when they run.

mod world;

use module_api::{Outcome, RouteKind};
use script::{Progress, Stop};
use world::{World, told};

/// Runs statements in the main route of a Kamailio script.
#[track_caller]
fn kamailio(body: &str, expected: &[&str]) {
    let script = format!("#!KAMAILIO\nloadmodule \"probe.so\"\nrequest_route {{\n{body}\ntell(\"end\");\n}}\n{ROUTES}");
    assert_eq!(told(&script), expected, "{body}");
}

/// Runs statements in the main route of a SER script.
#[track_caller]
fn ser(body: &str, expected: &[&str]) {
    let script =
        format!("fifo=\"/tmp/f\"\nloadmodule \"probe.so\"\nroute {{\n{body}\ntell(\"end\");\n}}\n{SER_ROUTES}");
    assert_eq!(told(&script), expected, "{body}");
}

const ROUTES: &str = r#"
route[MINUS] { return -3; }
route[ZERO] { return 0; }
route[BARE] { return; }
route[BREAK] { break; }
route[LAST] { code(-2); }
route[EXIT] { exit; }
route[NESTED] { route(MINUS); return 5; }
"#;

const SER_ROUTES: &str = r#"
route[1] { break; }
route[2] { code(-2); }
route[3] { if (code(0)) { tell("never"); }; tell("nor this"); }
"#;

#[test]
fn codes_above_zero_are_true_and_below_are_false() {
    kamailio("if (code(1)) tell(\"yes\"); else tell(\"no\");", &["yes", "end"]);
    kamailio("if (code(-1)) tell(\"yes\"); else tell(\"no\");", &["no", "end"]);
    kamailio("if (!code(-7)) tell(\"yes\");", &["yes", "end"]);
    kamailio("code(-3); tell(\"$rc\");", &["-3", "end"]);
}

#[test]
fn a_code_of_zero_ends_a_kamailio_script_and_leaves_a_ser_route() {
    kamailio("if (code(0)) tell(\"yes\"); else tell(\"no\");", &[]);
    kamailio("if (1) { code(0); }", &[]);
    ser("if (code(0)) { tell(\"yes\"); };", &[]);
    ser("route(3);", &["end"]);
}

/// Runs the main route of a script that asks about itself.
#[track_caller]
fn own(top: &str, routes: &str, expected: &[&str]) {
    let script = format!("#!KAMAILIO\nloadmodule \"probe.so\"\nloadmodule \"own.so\"\n{top}\n{routes}\n");
    assert_eq!(told(&script), expected, "{script}");
}

#[test]
fn values_of_a_stack_are_counted() {
    let body = "$avp(x) = 1; $avp(x) = 2; tell(\"$cnt($avp(x)) $cnt($avp(y)) $cnt($ru) $cnt($null)\");";
    own("", &format!("request_route {{ {body} if ($cnt($avp(x)) == 2) tell(\"two\"); }}"), &["2 0 1 0", "two"]);
}

#[test]
fn a_script_knows_where_it_is() {
    let routes = "request_route {\n  route(ONE);\n  tell(\"$cfg(route)\");\n}\n\
                  route[ONE] {\n  tell(\"$cfg(file) $cfg(line) $cfg(route)\");\n}";
    own("", routes, &["test.cfg 10 ONE", "DEFAULT"]);
}

#[test]
fn settings_of_a_group_are_variables_too() {
    let routes = "request_route { tell(\"$ccp(gateway.name) $sel(cfg_get.gateway.name)\"); }";
    own("gateway.name = \"one\" desc \"x\"", routes, &["one one"]);
}

#[test]
fn routes_return_their_code() {
    kamailio("route(MINUS); tell(\"$rc\");", &["-3", "end"]);
    kamailio("route(LAST); tell(\"$rc\");", &["-2", "end"]);
    kamailio("route(BARE); tell(\"$rc\");", &["1", "end"]);
    kamailio("route(BREAK); tell(\"$rc\");", &["0", "end"]);
    kamailio("route(NESTED); tell(\"$rc\");", &["5", "end"]);
    kamailio("route(ZERO);", &[]);
    kamailio("route(EXIT);", &[]);
    kamailio("$var(r) = route(MINUS); tell(\"$var(r)\");", &["-3", "end"]);
    kamailio("$var(n) = \"NESTED\"; route($var(n)); tell(\"$rc\");", &["5", "end"]);
}

#[test]
fn a_ser_route_counts_as_true_unless_negative() {
    ser("if (route(1)) { tell(\"yes\"); };", &["yes", "end"]);
    ser("if (route(2)) { tell(\"yes\"); } else { tell(\"no\"); };", &["no", "end"]);
}

#[test]
fn break_ends_a_ser_route_and_a_kamailio_block() {
    ser("if (method==\"INVITE\") { break; };", &[]);
    ser("if (method==\"INVITE\") { drop; };", &[]);
    kamailio("while (1) { tell(\"in\"); break; }", &["in", "end"]);
    kamailio("{ break; tell(\"never\"); }", &["end"]);
}

#[test]
fn else_follows_with_and_without_a_semicolon() {
    ser("if (method==\"BYE\") tell(\"a\") else tell(\"b\");", &["b", "end"]);
    kamailio("if (method==\"BYE\") tell(\"a\"); else tell(\"b\");", &["b", "end"]);
}

#[test]
fn drop_says_so_and_exit_does_not() {
    let mut world = World::new("#!KAMAILIO\nrequest_route { drop; }");
    assert!(world.run().is_dropped);
    let mut world = World::new("#!KAMAILIO\nrequest_route { exit; }");
    assert!(!world.run().is_dropped);
}

#[test]
fn operands_compare_without_case_and_variables_with() {
    kamailio("if (method==\"invite\") tell(\"yes\");", &["yes", "end"]);
    kamailio("if (method==INVITE) tell(\"yes\");", &["yes", "end"]);
    kamailio("if ($rm==\"invite\") tell(\"yes\");", &["end"]);
    kamailio("if ($rm=~\"^inv\") tell(\"yes\");", &["yes", "end"]);
    kamailio("if (!method==\"ACK\") tell(\"yes\");", &["yes", "end"]);
    kamailio("if (uri=~\"^SIP:bob@\" && !(uri=~\"carol\")) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (proto==UDP) tell(\"yes\");", &["yes", "end"]);
}

#[test]
fn myself_is_asked_of_the_server() {
    kamailio("if (uri==myself) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (myself==uri) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (from_uri!=myself) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (!uri==myself) tell(\"yes\");", &["end"]);
    kamailio("$ru = \"sip:bob@example.com:5080\"; if (uri==myself) tell(\"yes\");", &["end"]);
}

#[test]
fn addresses_compare_with_networks() {
    kamailio("if (src_ip==198.51.100.7) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (src_ip==198.51.100.0/24) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (src_ip==198.51.0.0/255.255.0.0) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (src_ip!=[2001:db8::]/32) tell(\"yes\");", &["yes", "end"]);
    kamailio("if (src_ip==gw.example.com) tell(\"yes\");", &["end"]);
    kamailio("if (src_port > 5060 && msg:len < max_len) tell(\"yes\");", &["yes", "end"]);
}

#[test]
fn operators_bind_as_in_the_reference() {
    kamailio("$var(x) = 2 + 3 * 4; tell(\"$var(x)\");", &["14", "end"]);
    kamailio("$var(x) = 7 mod 4 << 1; tell(\"$var(x)\");", &["6", "end"]);
    kamailio("$var(x) = \"a\" + 1 + 2; tell(\"$var(x)\");", &["a12", "end"]);
    kamailio("$var(x) = 1 + (int)\"2\"; tell(\"$var(x)\");", &["3", "end"]);
    kamailio("if (1 == 1 || code(1) && 0) tell(\"yes\");", &["yes", "end"]);
    kamailio("$var(x) = 6 & 3 | 8; tell(\"$var(x)\");", &["10", "end"]);
    kamailio("$var(x) = strlen(\"abc\") + strempty(\"\"); tell(\"$var(x)\");", &["4", "end"]);
    kamailio("$var(x) = 1 / 0; if ($var(x) == $null) tell(\"undefined\");", &["undefined", "end"]);
    ser("if (method==\"BYE\" | method==\"INVITE\" & uri=~\"bob\") { tell(\"yes\"); };", &["yes", "end"]);
}

#[test]
fn conditions_are_numbers() {
    kamailio("$avp(x) = \"abc\"; if ($avp(x)) tell(\"yes\");", &["end"]);
    kamailio("$var(x) = -3; if ($var(x)) tell(\"a\"); if (!$var(x)) tell(\"b\");", &["end"]);
    kamailio("if ($avp(nope) == \"\" && $avp(nope) == 0 && $avp(nope) == $null) tell(\"yes\");", &["yes", "end"]);
    kamailio("if ($avp(nope) != $null) tell(\"yes\");", &["end"]);
    kamailio("if (not defined $avp(nope)) tell(\"yes\");", &["yes", "end"]);
}

#[test]
fn switch_falls_through_until_break() {
    let switch = "switch ($var(x)) { case 1: tell(\"one\"); case 2: tell(\"two\"); break; default: tell(\"other\"); }";
    kamailio(&format!("$var(x) = 1; {switch}"), &["one", "two", "end"]);
    kamailio(&format!("$var(x) = 2; {switch}"), &["two", "end"]);
    kamailio(&format!("$var(x) = 3; {switch}"), &["other", "end"]);
    kamailio("switch ($rm) { case \"BYE\": tell(\"a\"); break; case /\"^inv\": tell(\"b\"); }", &["b", "end"]);
    kamailio("route(MINUS); switch ($rc) { case -3: tell(\"a\"); break; case -1: tell(\"b\"); }", &["a", "end"]);
}

#[test]
fn a_loop_ends_after_the_bound_of_rounds() {
    let mut world = World::new(
        "#!KAMAILIO\nmax_while_loops=5\nloadmodule \"probe\"\nrequest_route { while (1) { tell(\"r\"); } tell(\"end\"); }",
    );
    world.run();
    assert_eq!(world.server.told, ["r", "r", "r", "r", "r", "end"]);
    assert_eq!(world.server.log, ["test.cfg:4: this loop was ended after 5 rounds (max_while_loops)"]);
    kamailio("$var(i) = 0; while ($var(i) < 3) { $var(i) = $var(i) + 1; } tell(\"$var(i)\");", &["3", "end"]);
}

#[test]
fn routes_without_end_are_stopped_and_the_server_hears_of_it() {
    let mut world = World::new("#!KAMAILIO\nrequest_route { route(A); }\nroute[A] { route(A); }");
    assert_eq!(world.run().stop, Some(Stop::Depth));
    let endless = "#!KAMAILIO\nmax_while_loops=100000000\nrequest_route { while (1) { $var(x) = 1; } }";
    let mut world = World::new(endless);
    assert_eq!(world.run().stop, Some(Stop::Steps));
    assert_eq!(world.server.log.len(), 1);
}

#[test]
fn variables_keys_indexes_and_transformations_are_read_anew() {
    kamailio(
        "tell(\"$ru|$(ru{uri.user})|$(hdr(Subject)[1]{s.len})|$hdr(None)|$$\");",
        &["sip:bob@example.com|bob|3|<null>|$", "end"],
    );
    kamailio("$var(n) = \"Subject\"; tell(\"$hdr($var(n))\");", &["one", "end"]);
    kamailio("$avp(a) = \"x\"; $avp(a) = \"y\"; tell(\"$avp(a) $(avp(a)[1])\");", &["y x", "end"]);
    kamailio("$var(k) = \"$ru\"; tell(\"$var(k)\");", &["$ru", "end"]);
    kamailio("$var(u) = \"sip:\" + $(ru{uri.user}) + \"@h\"; tell($var(u));", &["sip:bob@h", "end"]);
    kamailio("put(\"$var(o)\", \"t\"); put($avp(o), \"u\"); tell(\"$var(o)$avp(o)\");", &["tu", "end"]);
}

#[test]
fn ser_strings_stay_as_written_and_xlog_takes_percent_signs() {
    let script = "fifo=\"/tmp/f\"\nloadmodule \"xlog\"\nloadmodule \"sl\"\nroute {\n\
                  sl_send_reply(\"404\", \"no $ru %ci\");\nxlog(\"L_INFO\", \"%rm %ru 100%% %zz\");\n}";
    assert_eq!(told(script), ["reply 404 no $ru %ci", "INVITE sip:bob@example.com 100% %zz"]);
}

#[test]
fn a_fault_is_false_and_logged_with_its_place() {
    let mut world = World::new("#!KAMAILIO\nloadmodule \"probe\"\nrequest_route {\n\tif (!fail()) tell(\"false\");\n}");
    world.run();
    assert_eq!(world.server.told, ["false"]);
    assert_eq!(world.server.log, ["test.cfg:4: fail: the database is away"]);
}

#[test]
fn a_module_can_finish_the_script() {
    kamailio("finish();", &[]);
}

#[test]
fn a_wait_in_a_condition_goes_on_where_it_stood() {
    let body = "$var(x) = \"v\"; if (method==\"INVITE\" && wait(\"w $var(x)\")) { tell(\"after $rc\"); }";
    let script = format!(
        "#!KAMAILIO\nloadmodule \"probe\"\nrequest_route {{ route(A); tell(\"end\"); }}\nroute[A] {{ {body} }}"
    );
    let mut world = World::new(&script);
    let (mut run, progress) = world.start();
    let Progress::Wait(wait) = progress else { panic!("it should wait") };
    assert_eq!(world.server.told, [""; 0]);
    let resume = poll(wait);
    let Progress::Done(end) = run.resume(resume, &mut world.context, &mut world.server) else { panic!("done") };
    assert_eq!(world.server.told, ["w v 7", "after 7", "end"]);
    assert_eq!((end.code, end.stop), (1, None));
}

#[test]
fn a_wait_that_expires_is_a_failed_call() {
    let script =
        "#!KAMAILIO\nloadmodule \"probe\"\nrequest_route { if (wait(\"w\")) tell(\"yes\"); else tell(\"no $rc\"); }";
    let mut world = World::new(script);
    let (mut run, progress) = world.start();
    assert!(matches!(progress, Progress::Wait(_)));
    assert!(matches!(run.expire(&mut world.context, &mut world.server), Progress::Done(_)));
    assert_eq!(world.server.told, ["no -1"]);
}

#[test]
fn routes_of_every_kind_are_found() {
    let world = World::new(
        "#!KAMAILIO\nloadmodule \"tm\"\nrequest_route { t_on_failure(\"F\"); }\nfailure_route[F] { exit; }\n\
         onreply_route { exit; }\nonreply_route[1] { exit; }\nbranch_route[B] { drop; }\n\
         event_route[tm:local-request] { exit; }\nonsend_route { exit; }",
    );
    let program = &world.program;
    assert!(program.main().is_some() && program.reply().is_some() && program.send().is_some());
    assert!(program.event("tm:local-request").is_some());
    for (kind, name) in [(RouteKind::Failure, "F"), (RouteKind::TransactionReply, "1"), (RouteKind::Branch, "B")] {
        let route = program.route(kind, name).unwrap();
        assert_eq!((program.kind(route), program.name(route)), (Some(kind), name));
    }
}

#[test]
fn an_armed_route_can_be_taken_back() {
    let script = |argument: &str| {
        format!(
            "#!KAMAILIO\nloadmodule \"tm\"\nrequest_route {{ t_on_failure({argument}); }}\nfailure_route[1] {{ exit; }}"
        )
    };
    let mut world = World::new(&script("\"1\""));
    world.run();
    assert!(world.context.hooks.failure.is_some());
    let mut world = World::new(&script("\"0\""));
    world.run();
    assert!(world.context.hooks.failure.is_none());
}

/// The result of a wait that is ready at once.
fn poll(wait: module_api::Wait) -> module_api::Resume {
    let mut future = wait.0;
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut task) {
        std::task::Poll::Ready(resume) => resume,
        std::task::Poll::Pending => Box::new(|_| Outcome::FALSE),
    }
}
