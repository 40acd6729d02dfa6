//! What a script has applied to a message is what leaves, and what it reads from then on.
#![allow(missing_docs)]

use testkit::{Network, answer, request};

const CALLER: &str = "198.51.100.1:5070";
const CALLEE: &str = "203.0.113.1:5080";

fn network(routes: &str) -> Network {
    let modules = ["tm", "sl", "pv", "xlog", "textops", "textopsx", "htable", "cfgutils"];
    let modules: String = modules.iter().map(|name| format!("loadmodule \"{name}.so\"\n")).collect();
    let table = "modparam(\"htable\", \"htable\", \"calls=>size=4;initval=0\")\n";
    Network::new(&format!("#!KAMAILIO\n{modules}{table}{routes}\n"))
}

#[test]
fn applied_changes_leave_once_though_the_transaction_was_there_before() {
    let mut network = network(
        "request_route { t_newtran(); append_hf(\"X-Own: 1\\r\\n\"); $ru = \"sip:carol@203.0.113.1:5080\";\n\
         msg_apply_changes(); if ($hdr(X-Own) == \"1\") append_hf(\"X-Seen: $ou\\r\\n\"); t_relay(); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let sent = network.received_one(CALLEE);
    assert_eq!(sent.matches("X-Own: 1\r\n").count(), 1, "{sent}");
    assert!(sent.starts_with("MESSAGE sip:carol@203.0.113.1:5080 SIP/2.0\r\n"), "{sent}");
    assert!(sent.contains("X-Seen: sip:carol@203.0.113.1:5080\r\n"), "{sent}");
}

#[test]
fn changes_applied_to_a_failure_leave_with_it() {
    let mut network = network(
        "request_route { t_on_reply(\"R\"); t_relay(); }\n\
         onreply_route[R] { append_hf(\"X-Own: 1\\r\\n\"); msg_apply_changes(); append_hf(\"X-More: $hdr(X-Own)\\r\\n\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    let sent = network.received_one(CALLEE);
    network.send(CALLEE, &answer(&sent, "404 Not Found"));
    network.settle();
    let reply = network.received_one(CALLER);
    assert!(reply.contains("X-Own: 1\r\n") && reply.contains("X-More: 1\r\n"), "{reply}");
}

#[test]
fn tables_and_routes_are_reached_from_a_script() {
    let mut network = network(
        "request_route { $var(n) = $shtinc(calls=>$si); if ($var(n) > 1) { sl_send_reply(\"403\", \"Twice\"); exit; }\n\
         sht_lock(\"calls=>$si\"); sht_unlock(\"calls=>$si\");\n\
         if (check_route_exists(\"$rm\") && !check_route_exists(\"NONE\")) route_if_exists(\"$rm\"); }\n\
         route[MESSAGE] { sl_send_reply(\"202\", \"Accepted\"); }",
    );
    for (branch, status) in [("z9hG4bK1", "202 Accepted"), ("z9hG4bK2", "403 Twice")] {
        network.send(CALLER, &request("MESSAGE", branch, ""));
        network.settle();
        let reply = network.received_one(CALLER);
        assert!(reply.starts_with(&format!("SIP/2.0 {status}\r\n")), "{reply}");
    }
}

#[test]
fn a_table_tells_when_it_is_there_and_when_an_entry_runs_out() {
    let mut network = network(
        "event_route[htable:mod-init] { sht_setxi(\"calls\", \"x\", 7, 60); }\n\
         event_route[htable:expired:calls] { xlog(\"L_NOTICE\", \"$shtrecord(key) had $shtrecord(value)\\n\"); }\n\
         request_route { sl_send_reply(\"200\", \"$sht(calls=>x)\"); }",
    );
    network.send(CALLER, &request("MESSAGE", "z9hG4bK1", ""));
    network.settle();
    assert!(network.received_one(CALLER).starts_with("SIP/2.0 200 7\r\n"));
    network.advance(std::time::Duration::from_secs(50));
    assert!(network.logged().is_empty());
    network.advance(std::time::Duration::from_secs(40));
    assert_eq!(network.logged(), ["x had 7"]);
}
