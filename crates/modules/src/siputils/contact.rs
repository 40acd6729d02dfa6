//! Contacts that lead through this server without state.

use module_api::{Function, Param, ParamKind, Routes};

use super::options::Settings;
use crate::contact_code;

pub(super) const ENCODE: Function = Function {
    name: "encode_contact",
    params: &[Param::required("prefix", ParamKind::Format), Param::required("host", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Writes user, host and port of each Contact, and where the message came from, into its user part, with a host of \
          this server behind it.",
    example: "encode_contact(\"enc\", \"192.0.2.1\");",
    run: |call| contact_code::encode(call, call.state::<Settings>().separator, true),
};

pub(super) const DECODE: Function = Function {
    name: "decode_contact",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Makes the Request-URI what it was before encode_contact(), and the next hop where that message came from. False \
          when it was not encoded.",
    example: "decode_contact();",
    run: |call| contact_code::decode(call, call.state::<Settings>().separator),
};

pub(super) const DECODE_HEADER: Function = Function {
    name: "decode_contact_header",
    params: &[],
    routes: Routes::ANY,
    doc: "Makes each Contact what it was before encode_contact(). False when none was encoded.",
    example: "decode_contact_header();",
    run: |call| contact_code::decode_header(call, call.state::<Settings>().separator),
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::{Bench, INVITE, started};

    // The forms are those of Kamailio 5.6.3.
    #[test]
    fn a_contact_is_encoded_with_its_source_and_decoded() {
        let mut bench = Bench::with_state(INVITE, started(&MODULE, &[]));
        assert_eq!(bench.run(&MODULE, "encode_contact", &["enc", "1.1.1.1"]), 1);
        let expected = "Contact: <sip:enc*alice**198.51.100.7*5070**198.51.100.7*5070*@1.1.1.1>\r\n";
        assert!(bench.written().contains(expected), "{}", bench.written());
        bench.context.set_uri("sip:enc*alice**10.0.0.1*5060**198.51.100.7*5070*@1.1.1.1".into());
        assert_eq!(bench.run(&MODULE, "decode_contact", &[]), 1);
        assert_eq!(bench.uri(), "sip:alice@10.0.0.1:5060");
        assert_eq!(bench.context.target.destination.as_deref(), Some(&b"sip:198.51.100.7:5070"[..]));
    }
}
