//! Tests of the registrar, by step of RFC 3261 section 10.3.

use sip_message::Limits;

use super::*;

const NOW: Duration = Duration::from_secs(1_000_000);

fn register(cseq: u32, headers: &str) -> Message {
    let text = format!("REGISTER sip:example.com SIP/2.0\r\nCall-ID: c\r\nCSeq: {cseq} REGISTER\r\n{headers}\r\n");
    Message::parse(Bytes::from(text), &Limits::default()).unwrap()
}

/// What a REGISTER comes to: the changes, and the live bindings afterwards, best first.
#[derive(Debug, PartialEq, Eq)]
struct Update {
    changes: Vec<Change>,
    bindings: Vec<Binding>,
}

fn update(cseq: u32, headers: &str, existing: &[Binding]) -> Result<Update, Refusal> {
    update_by(&register(cseq, headers), existing, &Policy::default(), NOW)
}

fn update_by(register: &Message, existing: &[Binding], policy: &Policy, now: Duration) -> Result<Update, Refusal> {
    let changes = apply(register, existing, policy, now)?;
    let mut after: Vec<Option<Binding>> = existing.iter().cloned().map(Some).collect();
    for change in &changes {
        match change {
            Change::Add(binding) => after.push(Some(binding.clone())),
            Change::Replace(number, binding) => after[*number] = Some(binding.clone()),
            Change::Remove(number) => after[*number] = None,
        }
    }
    let mut bindings: Vec<Binding> =
        after.into_iter().flatten().filter(|binding| binding.expires > now.as_secs()).collect();
    bindings.sort_by_key(|binding| std::cmp::Reverse(binding.q.unwrap_or(1000)));
    Ok(Update { changes, bindings })
}

/// Bindings as the 200 lists them.
fn listed(cseq: u32, headers: &str, existing: &[Binding]) -> String {
    let update = update(cseq, headers, existing).unwrap();
    let line = contact_header(&update.bindings, NOW, |_, _| {});
    String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned()
}

fn bound(headers: &str) -> Vec<Binding> {
    update(1, headers, &[]).unwrap().bindings
}

fn check_refused(cseq: u32, headers: &str, existing: &[Binding], expected: Refusal) {
    assert_eq!(update(cseq, headers, existing), Err(expected), "{headers}");
}

// Step 6.
#[test]
fn a_register_without_contact_is_a_query() {
    let existing = bound("Contact: <sip:a@192.0.2.1>\r\n");
    let update = update(1, "", &existing).unwrap();
    assert_eq!(update.changes, []);
    assert_eq!(update.bindings, existing);
    assert_eq!(listed(1, "", &[]), "");
}

#[test]
fn a_star_with_expires_zero_removes_all() {
    let existing = bound("Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.2>\r\n");
    let update = update(2, "Contact: *\r\nExpires: 0\r\n", &existing).unwrap();
    assert_eq!(update.changes, [Change::Remove(0), Change::Remove(1)]);
    assert_eq!(update.bindings, []);
}

#[test]
fn a_star_otherwise_is_refused() {
    check_refused(1, "Contact: *\r\n", &[], Refusal::BadContact);
    check_refused(1, "Contact: *\r\nExpires: 5\r\n", &[], Refusal::BadContact);
    check_refused(1, "Contact: *, <sip:a@192.0.2.1>\r\nExpires: 0\r\n", &[], Refusal::BadContact);
}

#[test]
fn a_star_out_of_order_removes_nothing() {
    let existing = bound("Contact: <sip:a@192.0.2.1>\r\n");
    check_refused(1, "Contact: *\r\nExpires: 0\r\n", &existing, Refusal::OutOfOrder);
}

// Step 7.
#[test]
fn a_contact_lives_as_long_as_it_asks() {
    assert_eq!(listed(1, "Contact: <sip:a@h>;expires=100\r\nExpires: 200\r\n", &[]), "Contact: <sip:a@h>;expires=100");
    assert_eq!(listed(1, "Contact: <sip:a@h>\r\nExpires: 200\r\n", &[]), "Contact: <sip:a@h>;expires=200");
    assert_eq!(listed(1, "Contact: <sip:a@h>\r\n", &[]), "Contact: <sip:a@h>;expires=3600");
    assert_eq!(listed(1, "Contact: <sip:a@h>;expires=9999999\r\n", &[]), "Contact: <sip:a@h>;expires=86400");
    assert_eq!(listed(1, "Contact: <sip:a@h>;expires=x\r\n", &[]), "Contact: <sip:a@h>;expires=3600");
}

#[test]
fn too_short_a_life_is_refused_and_nothing_done() {
    let existing = bound("Contact: <sip:a@192.0.2.1>\r\n");
    let headers = "Contact: <sip:a@192.0.2.1>;expires=0, <sip:b@h>;expires=59\r\n";
    check_refused(2, headers, &existing, Refusal::TooBrief { min_expires: 60 });
    let policy = Policy { raises_short_expires: true, ..Policy::default() };
    let update = update_by(&register(2, "Contact: <sip:b@h>;expires=59\r\n"), &[], &policy, NOW).unwrap();
    assert_eq!(update.bindings[0].expires, 1_000_060);
}

#[test]
fn a_contact_with_expires_zero_goes() {
    let existing = bound("Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.2>\r\n");
    assert_eq!(
        listed(2, "Contact: <sip:a@192.0.2.1>;expires=0\r\n", &existing),
        "Contact: <sip:a@192.0.2.2>;expires=3600"
    );
}

#[test]
fn removing_an_unknown_contact_is_no_error() {
    assert_eq!(update(1, "Contact: <sip:a@h>;expires=0\r\n", &[]).unwrap().changes, []);
}

// 10.2.4 and 19.1.4.
#[test]
fn an_equal_uri_replaces_the_binding() {
    let existing = bound("Contact: <sip:a@Host.example.com;transport=tcp>\r\n");
    let update = update(2, "Contact: <sip:a@host.example.com;Transport=TCP>;q=0.5\r\n", &existing).unwrap();
    assert!(matches!(update.changes[..], [Change::Replace(0, _)]));
    assert_eq!(update.bindings.len(), 1);
    assert_eq!(update.bindings[0].q, Some(500));
}

#[test]
fn another_user_or_port_is_another_binding() {
    let existing = bound("Contact: <sip:a@h>\r\n");
    assert_eq!(update(2, "Contact: <sip:a@h:5060>, <sip:A@h>\r\n", &existing).unwrap().bindings.len(), 3);
}

#[test]
fn a_cseq_that_does_not_grow_is_out_of_order() {
    let existing = update(5, "Contact: <sip:a@h>\r\n", &[]).unwrap().bindings;
    check_refused(5, "Contact: <sip:a@h>\r\n", &existing, Refusal::OutOfOrder);
    check_refused(4, "Contact: <sip:a@h>;expires=0\r\n", &existing, Refusal::OutOfOrder);
    assert!(update(6, "Contact: <sip:a@h>\r\n", &existing).is_ok());
}

#[test]
fn another_call_id_may_begin_again() {
    let mut existing = update(5, "Contact: <sip:a@h>\r\n", &[]).unwrap().bindings;
    existing[0].call_id = Bytes::from_static(b"earlier");
    assert!(update(1, "Contact: <sip:a@h>\r\n", &existing).is_ok());
}

#[test]
fn one_contact_out_of_order_fails_the_whole_register() {
    let existing = update(5, "Contact: <sip:a@h>\r\n", &[]).unwrap().bindings;
    check_refused(4, "Contact: <sip:b@h>, <sip:a@h>\r\n", &existing, Refusal::OutOfOrder);
}

#[test]
fn a_contact_that_cannot_be_read_fails_the_whole_register() {
    check_refused(1, "Contact: <sip:a@h>, <sip:@>\r\n", &[], Refusal::BadContact);
    check_refused(1, "Contact: <sip:a@h\r\n", &[], Refusal::BadContact);
}

#[test]
fn the_later_of_two_equal_contacts_counts() {
    assert_eq!(
        listed(1, "Contact: <sip:a@h>;expires=100, <sip:a@H>;expires=200\r\n", &[]),
        "Contact: <sip:a@H>;expires=200"
    );
    assert_eq!(listed(1, "Contact: <sip:a@h>;expires=100, <sip:a@h>;expires=0\r\n", &[]), "");
}

#[test]
fn a_binding_that_ran_out_is_not_listed_and_orders_nothing() {
    let mut existing = update(5, "Contact: <sip:a@h>\r\n", &[]).unwrap().bindings;
    existing[0].expires = NOW.as_secs();
    assert_eq!(listed(1, "", &existing), "");
    assert!(update(1, "Contact: <sip:a@h>\r\n", &existing).is_ok());
}

#[test]
fn the_number_of_contacts_has_a_bound() {
    let contacts = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("<sip:{n}@h>")).collect();
        format!("Contact: {}\r\n", all.join(", "))
    };
    let existing = bound(&contacts(10));
    assert_eq!(existing.len(), 10);
    check_refused(1, &contacts(11), &[], Refusal::TooManyContacts);
    check_refused(1, &contacts(200), &[], Refusal::TooManyContacts);
    check_refused(2, "Contact: <sip:new@h>\r\n", &existing, Refusal::TooManyContacts);
    assert!(update(2, "Contact: <sip:new@h>, <sip:0@h>;expires=0\r\n", &existing).is_ok());
    assert!(update(2, "Contact: <sip:0@h>\r\n", &existing).is_ok());
}

// Step 8.
#[test]
fn contacts_are_listed_best_first_with_their_parameters() {
    let headers = "Contact: <sip:a@h>;q=0.25;+x=\"y\", <sip:b@h>, <sip:c@h>;q=0\r\n";
    assert_eq!(
        listed(1, headers, &[]),
        "Contact: <sip:b@h>;expires=3600, <sip:a@h>;q=0.25;expires=3600;+x=\"y\", <sip:c@h>;q=0;expires=3600"
    );
}

// RFC 3327.
#[test]
fn path_is_kept_in_order() {
    let headers = "Path: <sip:p1;lr>,<sip:p2;lr>\r\nPath: <sip:p3;lr>\r\nSupported: path\r\nContact: <sip:a@h>\r\n";
    assert_eq!(bound(headers)[0].path, "<sip:p1;lr>, <sip:p2;lr>, <sip:p3;lr>");
}

#[test]
fn path_that_the_phone_does_not_know_of_is_refused() {
    check_refused(1, "Path: <sip:p1;lr>\r\nContact: <sip:a@h>\r\n", &[], Refusal::PathUnsupported);
}

// RFC 5626 section 6.
#[test]
fn the_same_flow_replaces_its_binding_whatever_the_uri() {
    let flow = |uri: &str, id: u32| format!("Contact: <{uri}>;reg-id={id};+sip.instance=\"<urn:uuid:1>\"\r\n");
    let existing = bound(&flow("sip:a@192.0.2.1:1", 1));
    assert_eq!((existing[0].reg_id, &existing[0].instance[..]), (1, &b"\"<urn:uuid:1>\""[..]));
    assert_eq!(update(2, &flow("sip:a@192.0.2.1:2", 1), &existing).unwrap().bindings.len(), 1);
    assert_eq!(update(2, &flow("sip:a@192.0.2.1:1", 2), &existing).unwrap().bindings.len(), 2);
}

fn outbound(mode: Outbound, headers: &str) -> Result<bool, Refusal> {
    let policy = Policy { outbound: mode, ..Policy::default() };
    let register = register(1, headers);
    let applied = apply(&register, &[] as &[Binding], &policy, NOW).map(|_| ());
    let outcome = uses_outbound(&register, &policy);
    assert_eq!(applied.err(), outcome.err(), "{headers}");
    outcome
}

const FLOW: &str = "Contact: <sip:a@h>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n";

// RFC 5626 section 6: the 200 requires outbound when the user agent supports it and asks for a flow.
#[test]
fn a_flow_needs_support_instance_and_reg_id() {
    let supported = |contact: &str| outbound(Outbound::Offered, &format!("Supported: path, outbound\r\n{contact}"));
    assert_eq!(supported(FLOW), Ok(true));
    assert_eq!(supported("Contact: <sip:a@h>;reg-id=1\r\n"), Ok(false));
    assert_eq!(supported("Contact: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\"\r\n"), Ok(false));
    for id in ["0", "2147483648", "-1", "x"] {
        let contact = format!("Contact: <sip:a@h>;reg-id={id};+sip.instance=\"<urn:uuid:1>\"\r\n");
        assert_eq!(supported(&contact), Ok(false), "{id}");
    }
    assert_eq!(outbound(Outbound::Offered, FLOW), Ok(false));
    assert_eq!(supported("Contact: *\r\nExpires: 0\r\n"), Ok(false));
}

#[test]
fn a_registrar_without_outbound_refuses_who_requires_it() {
    assert_eq!(outbound(Outbound::Off, &format!("Require: outbound\r\n{FLOW}")), Err(Refusal::OutboundOff));
    assert_eq!(outbound(Outbound::Off, &format!("Supported: outbound\r\n{FLOW}")), Ok(false));
    assert_eq!(outbound(Outbound::Demanded, FLOW), Err(Refusal::OutboundUnsupported));
    assert_eq!(outbound(Outbound::Demanded, &format!("Require: outbound\r\n{FLOW}")), Ok(true));
}

// RFC 5626 section 6: 439.
#[test]
fn a_first_hop_without_outbound_is_told_of() {
    let through = |path: &str| {
        let vias = "Via: SIP/2.0/UDP edge;branch=z9hG4bK2\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n";
        outbound(Outbound::Offered, &format!("{vias}{path}Supported: path, outbound\r\n{FLOW}"))
    };
    assert_eq!(through("Path: <sip:token@edge;lr;ob>\r\n"), Ok(true));
    assert_eq!(through("Path: <sip:inner;lr>, <sip:token@edge;lr;ob>\r\n"), Ok(true));
    assert_eq!(through("Path: <sip:token@edge;lr;ob>, <sip:first;lr>\r\n"), Err(Refusal::FirstHop));
    assert_eq!(through(""), Err(Refusal::FirstHop));
}

// RFC 5626 section 6: "more than one contact with a reg-id" is 400.
#[test]
fn one_register_sets_up_one_flow() {
    let second = FLOW.replace("reg-id=1", "reg-id=2");
    let both = format!("Supported: outbound\r\n{FLOW}{second}");
    assert_eq!(outbound(Outbound::Offered, &both), Err(Refusal::SeveralFlows));
    let one_goes = both.replace("reg-id=2", "reg-id=2;expires=0");
    assert_eq!(outbound(Outbound::Offered, &one_goes), Ok(true));
}

#[test]
fn without_outbound_reg_id_counts_where_the_policy_says_so() {
    let binding = |trusts_reg_id| {
        let policy = Policy { trusts_reg_id, ..Policy::default() };
        update_by(&register(1, FLOW), &[], &policy, NOW).unwrap().bindings.remove(0)
    };
    assert_eq!((binding(true).reg_id, binding(false).reg_id), (1, 0));
    assert_eq!(bound("Contact: <sip:a@h>;reg-id=1\r\n")[0].reg_id, 0);
}

// RFC 5627 section 5.1.
#[test]
fn gruus_that_a_phone_claims_are_not_taken() {
    let headers = "Contact: <sip:a@h>;pub-gruu=\"sip:x@y;gr=1\";temp-gruu=\"sip:x@y;gr\";+x\r\n";
    assert_eq!(bound(headers)[0].params, ";+x");
}

#[test]
fn lifetimes_are_spread_and_preferences_set_by_the_policy() {
    let by =
        |headers: &str, policy: Policy| update_by(&register(1, headers), &[], &policy, NOW).unwrap().bindings.remove(0);
    let spread = Policy { shortens: 50, shortens_default: 10, ..Policy::default() };
    assert_eq!(by("Contact: <sip:a@h>;expires=1000\r\n", spread.clone()).expires, 1_000_500);
    assert_eq!(by("Contact: <sip:a@h>;expires=60\r\n", spread.clone()).expires, 1_000_060);
    assert_eq!(by("Contact: <sip:a@h>\r\n", spread).expires, 1_003_240);
    let preferred = Policy { default_q: Some(380), ..Policy::default() };
    assert_eq!(by("Contact: <sip:a@h>\r\n", preferred.clone()).q, Some(380));
    assert_eq!(by("Contact: <sip:a@h>;q=1\r\n", preferred.clone()).q, Some(1000));
    assert_eq!(by("Contact: <sip:a@h>;q=1\r\n", Policy { forced_q: Some(5), ..preferred }).q, Some(5));
}

#[test]
fn a_contact_longer_than_is_taken_is_refused() {
    let policy = Policy { max_contact_length: 10, ..Policy::default() };
    let outcome = |uri: &str| update_by(&register(1, &format!("Contact: <{uri}>\r\n")), &[], &policy, NOW).err();
    assert_eq!(outcome("sip:abc@de"), None);
    assert_eq!(outcome("sip:abc@def"), Some(Refusal::LongContact));
}
