//! `fix_nated_register()`: where the phone was when it registered.

use bytes::Bytes;
use module_api::{Function, Outcome, Routes, Value};

use super::Nat;
use super::address::Place;

pub(super) const FIX: Function = Function {
    name: "fix_nated_register",
    params: &[],
    routes: Routes::REQUEST,
    doc: "Leaves the source address as a URI in the attribute received_avp, for save(): requests for the phone then go \
          there, and its Contact stays as it is. -1 when received_avp is not set.",
    example: "if (nat_uac_test(\"19\")) fix_nated_register();",
    run: |call| {
        let Some(name) = call.state::<Nat>().received.clone() else {
            return Outcome::fail("fix_nated_register: received_avp is not set");
        };
        let arrival = &call.context.arrival;
        let place = Place { address: arrival.source, transport: arrival.transport };
        call.context.avps.replace(name, Value::Str(Bytes::from(place.to_uri())));
        Outcome::TRUE
    },
};

#[cfg(test)]
mod tests {
    use super::super::{MODULE, tests::bench};
    use crate::testing::{INVITE, text};
    use sip_message::Transport;

    fn check(source: &str, transport: Transport, uri: &str) {
        let mut bench = bench(INVITE, source, transport, &[("received_avp", "$avp(s:received)")]);
        assert_eq!(bench.run(&MODULE, "fix_nated_register", &[]), 1);
        assert_eq!(bench.context.avps.first(b"received"), Some(&text(uri)));
        assert!(bench.context.edits.is_empty());
    }

    #[test]
    fn the_source_becomes_the_received_address() {
        check("203.0.113.5:41234", Transport::Udp, "sip:203.0.113.5:41234");
        check("203.0.113.5:41234", Transport::Wss, "sip:203.0.113.5:41234;transport=wss");
        check("[2001:db8::9]:5061", Transport::Tls, "sip:[2001:db8::9]:5061;transport=tls");
    }

    #[test]
    fn without_an_attribute_it_fails() {
        let mut bench = bench(INVITE, "203.0.113.5:41234", Transport::Udp, &[]);
        assert_eq!(bench.run(&MODULE, "fix_nated_register", &[]), -1);
    }
}
