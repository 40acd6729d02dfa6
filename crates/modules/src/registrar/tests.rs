//! Tests of GRUUs, flows and what the script sets for one request.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Content, Flow, Record, RecordKind, State, Value};
use sip_message::Transport;

use super::MODULE;
use crate::testing::{Bench, INVITE, registrar_state, registrar_with, text};

const URN: &str = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF";

/// A REGISTER of Bob, by phone `phone`.
fn register(call_id: &str, cseq: u32, headers: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7:5070;branch=z9hG4bK{cseq}\r\n\
         From: <sip:bob@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
    )
}

fn contact(uri: &str, urn: &str, more: &str) -> String {
    format!("Contact: <{uri}>;+sip.instance=\"<{urn}>\"{more}\r\n")
}

/// Saves, and gives what was answered.
fn save(state: &Arc<dyn State>, message: &str) -> String {
    save_over(state, message, None)
}

fn save_over(state: &Arc<dyn State>, message: &str, connection: Option<u64>) -> String {
    let mut bench = Bench::with_state(message, Arc::clone(state));
    if connection.is_some() {
        bench.context.arrival.transport = Transport::Tcp;
        bench.context.arrival.connection = connection;
    }
    bench.run(&MODULE, "save", &["location"]);
    bench.host.done.join("")
}

/// The URIs that lookup() finds for a Request-URI, or its code.
fn found(state: &Arc<dyn State>, uri: &str) -> Result<Vec<String>, i64> {
    let mut bench =
        Bench::with_state(&INVITE.replace("sip:bob@example.com SIP", &format!("{uri} SIP")), Arc::clone(state));
    match bench.run(&MODULE, "lookup", &["location"]) {
        1 => {
            let context = &bench.context;
            let all = std::iter::once(&context.target).chain(&context.branches);
            Ok(all.map(|target| String::from_utf8_lossy(&target.uri).into_owned()).collect())
        }
        code => Err(code),
    }
}

fn quoted<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(";{name}=\"");
    answer.split(&begin[..]).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

// RFC 5627 section 5.2.
#[test]
fn a_phone_that_supports_gruu_is_given_a_public_and_a_temporary_one() {
    let state = registrar_state(&[]);
    let answer = save(&state, &register("c1", 1, &format!("Supported: gruu\r\n{}", contact("sip:b@one", URN, ""))));
    assert_eq!(quoted(&answer, "pub-gruu"), [format!("sip:bob@example.com;gr={URN}")]);
    let temporary = quoted(&answer, "temp-gruu");
    assert!(temporary[0].starts_with("sip:tgruu.") && temporary[0].ends_with("@example.com;gr"), "{answer}");
    // Each REGISTER gets another temporary one (section 5.2), and who does not support it gets none.
    let again = register("c1", 2, &format!("Supported: gruu\r\n{}", contact("sip:b@one", URN, "")));
    let mut bench = Bench::with_state(&again, Arc::clone(&state));
    bench.host.random = 77;
    bench.run(&MODULE, "save", &["location"]);
    assert_ne!(quoted(&bench.host.done[0], "temp-gruu"), temporary);
    let plain = save(&state, &register("c1", 3, &contact("sip:b@one", URN, "")));
    assert!(!plain.contains("gruu"), "{plain}");
    let off =
        save(&registrar_state(&[("gruu_enabled", 0)]), &register("c1", 1, "Supported: gruu\r\nContact: <sip:b@h>\r\n"));
    assert!(!off.contains("gruu"), "{off}");
}

// RFC 5627 section 6.1.
#[test]
fn a_gruu_leads_to_its_instance_and_only_there() {
    let state = registrar_state(&[]);
    let supported = "Supported: gruu\r\n";
    let one = save(&state, &register("c1", 1, &format!("{supported}{}", contact("sip:b@one", URN, ""))));
    let temporary = quoted(&one, "temp-gruu")[0].to_owned();
    save(&state, &register("c2", 1, &format!("{supported}{}", contact("sip:b@two", "urn:uuid:2", ";q=1"))));
    save(&state, &register("c3", 1, "Contact: <sip:b@three>\r\n"));
    assert_eq!(found(&state, "sip:bob@example.com").unwrap().len(), 3);
    assert_eq!(found(&state, &format!("sip:bob@example.com;gr={URN}")), Ok(vec!["sip:b@one".to_owned()]));
    assert_eq!(found(&state, &format!("sip:bob@example.com;gr={}", URN.to_lowercase())).unwrap(), ["sip:b@one"]);
    assert_eq!(found(&state, "sip:bob@example.com;gr=urn:uuid:2").unwrap(), ["sip:b@two"]);
    assert_eq!(found(&state, &temporary).unwrap(), ["sip:b@one"]);
    // Earlier temporary ones stay good while the Call-ID stays, and end with it (section 5.4).
    save(&state, &register("c1", 2, &format!("{supported}{}", contact("sip:b@one", URN, ""))));
    assert_eq!(found(&state, &temporary).unwrap(), ["sip:b@one"]);
    save(&state, &register("c9", 1, &format!("{supported}{}", contact("sip:b@one", URN, ""))));
    assert_eq!(found(&state, &temporary), Err(-1));
    assert_eq!(found(&state, "sip:tgruu.AAAA@example.com;gr"), Err(-1));
}

// RFC 5627 section 6.1: 480 for a device that is away, 404 for what was never given out.
#[test]
fn who_asks_for_a_device_that_is_away_is_told_so() {
    let state = registrar_state(&[]);
    save(&state, &register("c1", 1, &contact("sip:b@one", URN, "")));
    let reply = |uri: &str, method: &str| {
        let invite = INVITE.replace("INVITE", method).replace("sip:bob@example.com SIP", &format!("{uri} SIP"));
        let mut bench = Bench::with_state(&invite, Arc::clone(&state));
        let code = bench.run(&MODULE, "lookup", &["location"]);
        let sent = bench.run(&MODULE, "lookup_send_reply", &[]);
        (code, sent, bench.host.done.join(""))
    };
    let answer = |text: &str| (-1, 1, format!("stateless {text}"));
    assert_eq!(reply("sip:bob@example.com;gr=urn:uuid:2", "INVITE"), answer("480 Temporarily Unavailable"));
    assert_eq!(reply("sip:tgruu.AAAA@example.com;gr", "INVITE"), answer("404 Not Found"));
    assert_eq!(reply("sip:carol@example.com", "INVITE"), answer("404 Not Found"));
    assert_eq!(reply("sip:bob@example.com", "INVITE"), (1, -1, String::new()));
}

// RFC 5627 section 6.1: of contacts of one instance without flows the latest is meant.
#[test]
fn of_several_contacts_of_an_instance_the_latest_is_the_device() {
    let state = registrar_state(&[]);
    save(&state, &register("c1", 1, &contact("sip:b@old", URN, "")));
    let mut bench = Bench::with_state(&register("c2", 1, &contact("sip:b@new", URN, "")), Arc::clone(&state));
    bench.host.unix_time += std::time::Duration::from_secs(10);
    bench.run(&MODULE, "save", &["location"]);
    assert_eq!(found(&state, &format!("sip:bob@example.com;gr={URN}")).unwrap(), ["sip:b@new"]);
}

// RFC 5627 section 5.1.
#[test]
fn a_gruu_of_this_server_is_no_contact() {
    let state = registrar_state(&[]);
    let own = register("c1", 1, &contact("sip:bob@example.com;gr=urn:uuid:1", URN, ""));
    assert_eq!(save(&state, &own), "stateless 403 Contact Is A GRUU");
    let of_others = register("c1", 2, &contact("sip:bob@elsewhere.example;gr=urn:uuid:1", URN, ""));
    assert!(save(&state, &of_others).starts_with("stateless 200 OK"));
}

fn flow(uri: &str, id: u32) -> String {
    format!("Supported: path, outbound\r\n{}", contact(uri, URN, &format!(";reg-id={id}")))
}

// RFC 5626 sections 4.4 and 6.
#[test]
fn a_flow_is_confirmed_with_require_and_flow_timer() {
    let state = registrar_state(&[("outbound_mode", 1), ("flow_timer", 25)]);
    let answer = save(&state, &register("c1", 1, &flow("sip:b@one", 1)));
    assert!(answer.ends_with("|Require: outbound|Flow-Timer: 25|"), "{answer}");
    let plain = save(&state, &register("c2", 1, "Contact: <sip:b@two>\r\n"));
    assert!(!plain.contains("Require") && !plain.contains("Flow-Timer"), "{plain}");
}

#[test]
fn who_requires_what_is_off_and_who_lacks_what_is_demanded_is_told() {
    let off = registrar_state(&[]);
    let required = register("c1", 1, &format!("Require: outbound\r\n{}", contact("sip:b@one", URN, ";reg-id=1")));
    assert_eq!(save(&off, &required), "stateless 420 Bad Extension Unsupported: outbound|");
    let demanded = registrar_state(&[("outbound_mode", 2)]);
    let answer = save(&demanded, &register("c1", 1, "Contact: <sip:b@one>\r\n"));
    assert_eq!(answer, "stateless 421 Extension Required Require: outbound|");
}

// RFC 5626 sections 6 and 11.6.
#[test]
fn a_first_hop_that_lacks_outbound_is_refused_with_439() {
    let state = registrar_state(&[("outbound_mode", 1), ("use_path", 1)]);
    let via = |path: &str| {
        let direct = register("c1", 1, &format!("{path}{}", flow("sip:b@one", 1)));
        direct.replacen("Via:", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKedge\r\nVia:", 1)
    };
    assert_eq!(save(&state, &via("Path: <sip:192.0.2.9;lr>\r\n")), "stateless 439 First Hop Lacks Outbound Support");
    assert!(save(&state, &via("Path: <sip:t@192.0.2.9;lr;ob>\r\n")).contains("Require: outbound"));
}

// RFC 5626 section 7: one flow of an instance at a time, the others where it fails.
#[test]
fn of_several_flows_one_is_the_target_and_the_others_stand_behind_it() {
    let state = registrar_state(&[("outbound_mode", 1)]);
    save_over(&state, &register("c1", 1, &flow("sip:b@one", 1)), Some(11));
    let mut later = Bench::with_state(&register("c1", 2, &flow("sip:b@one", 2)), Arc::clone(&state));
    later.host.unix_time += std::time::Duration::from_secs(5);
    (later.context.arrival.transport, later.context.arrival.connection) = (Transport::Tcp, Some(12));
    later.run(&MODULE, "save", &["location"]);
    save(&state, &register("c2", 1, "Contact: <sip:b@desk>;q=0.5\r\n"));

    let mut bench = Bench::with_state(INVITE, state);
    assert_eq!(bench.run(&MODULE, "lookup", &["location"]), 1);
    let target = &bench.context.target;
    assert_eq!((target.connection, target.flow, target.is_bound()), (Some(12), Some(Flow::Registered), true));
    assert_eq!(target.destination.as_deref(), Some(&b"sip:198.51.100.7:5070;transport=tcp"[..]));
    assert_eq!(target.flows.iter().map(|flow| flow.connection).collect::<Vec<_>>(), [Some(11)]);
    assert_eq!(bench.context.branches.len(), 1);
    assert_eq!((&bench.context.branches[0].uri[..], bench.context.branches[0].flow), (&b"sip:b@desk"[..], None));
}

#[test]
fn a_flow_whose_connection_a_restart_has_ended_is_no_target() {
    let state = registrar_state(&[("outbound_mode", 1)]);
    let mut bench = Bench::with_state(&register("c1", 1, &flow("sip:b@one", 1)), Arc::clone(&state));
    // As after a restart: it came over TCP, and the connection is not known.
    bench.context.arrival.transport = Transport::Tcp;
    bench.run(&MODULE, "save", &["location"]);
    assert_eq!(found(&state, "sip:bob@example.com"), Err(-1));
    save_over(&state, &register("c1", 2, &flow("sip:b@one", 2)), Some(7));
    assert_eq!(found(&state, "sip:bob@example.com").unwrap(), ["sip:b@one"]);
}

// RFC 3608 section 6.2.
#[test]
fn a_200_says_the_service_route() {
    let route = "<sip:home.example.com;lr>, <sip:services.example.com;lr>";
    let state = registrar_with(&[("service_route", text(route))]).unwrap();
    let answer = save(&state, &register("c1", 1, "Contact: <sip:b@one>\r\n"));
    assert!(answer.ends_with(&format!("|Service-Route: {route}|")), "{answer}");
    for wrong in ["sip:home;lr", "<sip:home>", "<sip:home;lr>,", "<sip:a;lr>\r\nX: <sip:b;lr>"] {
        assert!(registrar_with(&[("service_route", text(wrong))]).is_err(), "{wrong}");
    }
}

fn set(bench: &mut Bench, name: &'static str, field: &'static str, value: Value) {
    let mut record = Record::empty(Bytes::from_static(name.as_bytes()));
    record.fields_mut().push(Bytes::from_static(field.as_bytes()), value);
    bench.context.records.push(RecordKind::Stacked, record);
}

#[test]
fn the_script_sets_limits_for_one_request() {
    let state = registrar_with(&[("xavp_cfg", text("reg")), ("retry_after", Value::Int(5))]).unwrap();
    let message = register("c1", 1, "Contact: <sip:b@one>, <sip:b@two>;q=0.1\r\n");
    let mut bench = Bench::with_state(&message, Arc::clone(&state));
    set(&mut bench, "reg", "max_contacts", Value::Int(1));
    assert_eq!(bench.run(&MODULE, "save", &["location"]), -2);
    let mut bench = Bench::with_state(&message, Arc::clone(&state));
    set(&mut bench, "reg", "q", Value::Int(700));
    set(&mut bench, "reg", "socket", text("tcp:192.0.2.1:5060"));
    assert_eq!(bench.run(&MODULE, "save", &["location"]), 1);
    assert_eq!(bench.host.done[0].matches(";q=0.7;").count(), 2, "{:?}", bench.host.done);
    let mut bench = Bench::with_state(INVITE, state);
    bench.run(&MODULE, "lookup", &["location"]);
    assert_eq!(bench.context.target.socket, Some(module_api::SocketId(1)));
}

#[test]
fn the_socket_may_be_named_by_a_header() {
    let settings = [("sock_flag", Value::Int(18)), ("sock_hdr_name", text("X-Socket"))];
    let state = registrar_with(&settings).unwrap();
    let message = register("c1", 1, "X-Socket: tls:192.0.2.1:5061\r\nContact: <sip:b@one>\r\n");
    let mut bench = Bench::with_state(&message, Arc::clone(&state));
    bench.context.set_flag(18, true);
    bench.run(&MODULE, "save", &["location"]);
    let mut bench = Bench::with_state(INVITE, state);
    bench.run(&MODULE, "lookup", &["location"]);
    assert_eq!(bench.context.target.socket, Some(module_api::SocketId(2)));
}

fn shown(bench: &Bench, name: &str) -> Vec<String> {
    let records = bench.context.records.all(RecordKind::Stacked, name.as_bytes());
    records
        .map(|record| {
            let Content::Fields(fields) = &record.content else { return String::new() };
            let names = fields.iter().filter(|(_, value)| !matches!(value, Value::Null));
            names.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(",")
        })
        .collect()
}

#[test]
fn contacts_are_shown_to_the_script() {
    let settings = [("xavp_rcd", text("rcd")), ("xavp_rcd_mask", Value::Int(4))];
    let state = registrar_with(&settings).unwrap();
    let mut bench = Bench::with_state(&register("c1", 1, "Contact: <sip:b@one>\r\n"), Arc::clone(&state));
    bench.run(&MODULE, "save", &["location"]);
    assert_eq!(shown(&bench, "rcd").len(), 1);
    for function in ["lookup", "registered"] {
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        assert_eq!(bench.run(&MODULE, function, &["location"]), 1);
        let first = shown(&bench, "rcd").remove(0);
        assert!(first.contains("contact") && first.contains("ruid") && !first.contains("expires"), "{first}");
    }
}

#[test]
fn registered_may_ask_for_one_contact() {
    let state = registrar_with(&[("xavp_cfg", text("reg"))]).unwrap();
    save(&state, &register("c1", 1, "Contact: <sip:b@one>\r\n"));
    let asked = |field: &'static str, value: &str, bit: i64| {
        let mut bench = Bench::with_state(INVITE, Arc::clone(&state));
        set(&mut bench, "reg", field, text(value));
        let args = [module_api::Arg::Value(text("location")), module_api::Arg::Value(text("sip:bob@example.com"))];
        let args: Vec<_> = args.into_iter().chain([module_api::Arg::Value(Value::Int(bit))]).collect();
        bench.run_args(&MODULE, "registered", &args)
    };
    assert_eq!(asked("match_callid", "c1", 1), 1);
    assert_eq!(asked("match_callid", "c2", 1), -1);
    assert_eq!(asked("match_contact", "sip:b@one", 4), 1);
    assert_eq!(asked("match_contact", "sip:b@two", 4), -1);
    assert_eq!(asked("match_callid", "c1", 2), -1);
}

#[test]
fn what_the_200_would_say_may_go_into_a_reply_of_the_script() {
    let mut bench = Bench::with_state(&register("c1", 1, "Contact: <sip:b@one>\r\n"), registrar_state(&[]));
    assert_eq!(bench.run(&MODULE, "save", &["location", "0x10"]), 1);
    assert!(bench.host.done.is_empty());
    assert_eq!(bench.context.reply_headers, b"Contact: <sip:b@one>;expires=3600\r\n");
}

#[test]
fn lifetimes_are_spread_unless_the_flag_says_otherwise() {
    let state = registrar_state(&[("expires_range", 100)]);
    let lifetime = |state: &Arc<dyn State>, cseq: u32, flags: &str| {
        let mut bench =
            Bench::with_state(&register("c1", cseq, "Contact: <sip:b@one>;expires=1000\r\n"), Arc::clone(state));
        bench.run(&MODULE, "save", &["location", flags]);
        bench.host.done[0].split("expires=").nth(1).unwrap().trim_end_matches('|').parse::<u32>().unwrap()
    };
    // The first random number of a test is 1: one percent.
    assert_eq!(lifetime(&state, 1, "0"), 990);
    assert_eq!(lifetime(&state, 2, "8"), 1000);
}

#[test]
fn a_phone_may_be_shown_where_it_was_seen_and_reached_by_the_received_of_a_path() {
    let settings = [("received_param", text("rcv")), ("path_use_received", Value::Int(1)), ("use_path", Value::Int(1))];
    let state = registrar_with(&settings).unwrap();
    let path = "Supported: path\r\nPath: <sip:192.0.2.9;lr;received=sip:203.0.113.5:1024%3Btransport%3Dtcp>\r\n";
    let answer = save(&state, &register("c1", 1, &format!("{path}Contact: <sip:b@one>\r\n")));
    assert!(answer.contains(";rcv=\"sip:203.0.113.5:1024;transport=tcp\""), "{answer}");
}

#[test]
fn a_path_that_names_this_server_is_skipped_where_servers_share_a_database() {
    let settings = [("path_check_local", 1), ("use_path", 1)];
    let state = registrar_state(&settings);
    let path = "Supported: path\r\nPath: <sip:192.0.2.1;lr>, <sip:edge;lr>\r\n";
    save(&state, &register("c1", 1, &format!("{path}Contact: <sip:b@one>\r\n")));
    let mut bench = Bench::with_state(INVITE, state);
    bench.run(&MODULE, "lookup", &["location"]);
    assert_eq!(bench.context.target.path.as_deref().map(<[u8]>::trim_ascii), Some(&b"<sip:edge;lr>"[..]));
}

#[test]
fn a_realm_prefix_does_not_count() {
    let state = registrar_with(&[("realm_prefix", text("sip."))]).unwrap();
    save(
        &state,
        &register("c1", 1, "Contact: <sip:b@one>\r\n")
            .replace("sip:bob@example.com>\r\n", "sip:bob@sip.example.com>\r\n"),
    );
    assert_eq!(found(&state, "sip:bob@example.com").unwrap(), ["sip:b@one"]);
}
