//! Aliases: the address that the network shows, carried by the Contact and back by the Request-URI.

use std::net::SocketAddr;

use bytes::Bytes;
use module_api::{Arrival, Call, Function, Outcome, Param, ParamKind, RouteKind, Routes};
use sip_message::{Transport, Uri};

use super::address::{Place, read_address};
use super::{Nat, contact};
use crate::rewrite;

pub(super) const ADD: Function = Function {
    name: "add_contact_alias",
    params: &[],
    routes: contact::WHERE,
    doc: "Adds to the Contact where the message came from, as ;alias=IP~PORT~TRANSPORT. Later requests of the dialog \
          carry it in their Request-URI, for handle_ruri_alias(). 1 when added, 2 when the Contact leads there by itself, \
          -1 without a Contact. save() keeps the Contact as it came.",
    example: "if (nat_uac_test(\"64\")) add_contact_alias();",
    run: |call| {
        let place = source(&call.context.arrival);
        add(call, place, &Manner::default())
    },
};

pub(super) const ADD_GIVEN: Function = Function {
    name: "add_contact_alias",
    params: &[
        Param::required("address", ParamKind::Format),
        Param::required("port", ParamKind::Int),
        Param::required("transport", ParamKind::Format),
    ],
    routes: contact::WHERE,
    doc: "As add_contact_alias() with an address of the script's choice. -1 when the arguments name no place.",
    example: "add_contact_alias(\"$si\", \"$sp\", \"tcp\");",
    run: |call| match given(call) {
        Some(place) => add(call, place, &Manner::default()),
        None => Outcome::fail("add_contact_alias: not an address, a port and a transport"),
    },
};

pub(super) const SET: Function = Function {
    name: "set_contact_alias",
    params: &[Param::optional("trim", ParamKind::Int)],
    routes: contact::WHERE,
    doc: "As add_contact_alias(), and save() keeps the Contact with the alias. With 1 the Contact's URI loses its other \
          parameters.",
    example: "if (nat_uac_test(\"64\")) set_contact_alias();",
    run: |call| {
        let place = source(&call.context.arrival);
        let manner = Manner { is_saved: true, is_trimmed: call.int(0).unwrap_or(0) != 0 };
        add(call, place, &manner)
    },
};

pub(super) const HANDLE: Function = Function {
    name: "handle_ruri_alias",
    params: &[Param::optional("mode", ParamKind::Int)],
    routes: Routes::REQUEST.or(Routes::FAILURE).or(Routes::of(RouteKind::Branch)),
    doc: "Takes the alias out of the Request-URI and makes it the next hop. Of several the first counts, with mode 1 the \
          last. 1 when done, 2 when there is none (which is true as well), -1 when it cannot be read. A next hop set \
          before is overwritten, so call it only where loose_route() has set none.",
    example: "if ($du == $null) handle_ruri_alias();",
    run: handle,
};

#[derive(Default)]
struct Manner {
    is_saved: bool,
    is_trimmed: bool,
}

fn source(arrival: &Arrival) -> Place {
    Place { address: arrival.source, transport: arrival.transport }
}

fn given(call: &Call<'_>) -> Option<Place> {
    let ip = read_address(&call.text(0))?;
    let port = u16::try_from(call.int(1)?).ok().filter(|port| *port != 0)?;
    let transport = Transport::from_token(&call.text(2))?;
    Some(Place { address: SocketAddr::new(ip, port), transport })
}

fn add(call: &mut Call<'_>, place: Place, manner: &Manner) -> Outcome {
    let Some((uri, _)) = contact::first(call.context) else { return Outcome::FALSE };
    let Ok(parsed) = Uri::parse(&uri) else { return Outcome::FALSE };
    if !parsed.is_sip() {
        return Outcome::FALSE;
    }
    if place.is_named_by(&parsed) {
        return Outcome::Value(2);
    }
    let param = format!("{}={}", call.state::<Nat>().alias_name, place.to_alias());
    // Added last: where several proxies do so, the one that the phone talks to comes first.
    let aliased = |uri: &Bytes| match manner.is_trimmed {
        true => rewrite::with_param(&without_params(uri)?, param.as_bytes()),
        false => rewrite::with_param(uri, param.as_bytes()),
    };
    contact::change(call, manner.is_saved, aliased).into()
}

fn without_params(uri: &[u8]) -> Option<Bytes> {
    let params = Uri::parse(uri).ok()?.params.span();
    Some([&uri[..params.start as usize], &uri[params.end as usize..]].concat().into())
}

fn handle(call: &mut Call<'_>) -> Outcome {
    let uri = call.context.target.uri.clone();
    let Ok(parsed) = Uri::parse(&uri) else {
        return Outcome::fail("handle_ruri_alias: the Request-URI cannot be read");
    };
    let name = call.state::<Nat>().alias_name.as_bytes();
    let mut aliases = parsed.params.iter_spans().filter(|param| param.name.eq_ignore_ascii_case(name));
    let found = if call.int(0) == Some(1) { aliases.last() } else { aliases.next() };
    let Some(alias) = found else { return Outcome::Value(2) };
    let Some(place) = alias.value.and_then(Place::parse) else {
        return Outcome::fail("handle_ruri_alias: the alias cannot be read");
    };
    let stripped = [&uri[..alias.span.start as usize], &uri[alias.span.end as usize..]].concat();
    call.context.set_uri(stripped.into());
    // Over a stream transport this address leads to the connection that is open to it.
    call.context.set_destination(Some(place.to_uri().into()));
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::{MODULE, NewContact, tests::BROWSER, tests::bench};
    use crate::testing::{Bench, INVITE};
    use module_api::RouteKind;
    use sip_message::Transport;

    fn from_browser(message: &str) -> Bench {
        bench(message, "203.0.113.5:41234", Transport::Ws, &[])
    }

    fn contact(bench: &Bench) -> String {
        let written = bench.written();
        written.lines().find_map(|line| line.strip_prefix("Contact: ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_browser_gets_an_alias_on_request_and_reply() {
        let aliased = "<sip:alice@df7jal23ls0d.invalid;transport=ws;ob;alias=203.0.113.5~41234~5>";
        let (_, headers) = BROWSER.split_once("\r\n").unwrap();
        for message in [BROWSER.to_owned(), format!("SIP/2.0 200 OK\r\n{headers}")] {
            for function in ["add_contact_alias", "set_contact_alias"] {
                let mut bench = from_browser(&message);
                bench.context.kind = RouteKind::TransactionReply;
                assert_eq!(bench.run(&MODULE, function, &[]), 1);
                assert_eq!(contact(&bench), aliased);
            }
        }
    }

    #[test]
    fn the_alias_leads_back_to_the_browser() {
        let uri = "sip:alice@df7jal23ls0d.invalid;transport=ws;ob;alias=203.0.113.5~41234~5";
        let bye = INVITE.replace("INVITE", "BYE").replacen("sip:bob@example.com", uri, 1);
        let mut bench = from_browser(&bye);
        assert_eq!(bench.run(&MODULE, "handle_ruri_alias", &[]), 1);
        assert_eq!(bench.uri(), "sip:alice@df7jal23ls0d.invalid;transport=ws;ob");
        let hop = bench.context.target.destination.as_deref();
        assert_eq!(hop, Some(&b"sip:203.0.113.5:41234;transport=ws"[..]));
        assert_eq!(bench.run(&MODULE, "handle_ruri_alias", &[]), 2);
    }

    #[test]
    fn only_set_changes_what_is_saved() {
        let mut bench = from_browser(BROWSER);
        bench.run(&MODULE, "add_contact_alias", &[]);
        assert!(NewContact::message_to_save(&bench.context).is_none());
        let mut bench = from_browser(BROWSER);
        bench.run(&MODULE, "set_contact_alias", &["1"]);
        let saved = NewContact::message_to_save(&bench.context).unwrap();
        let uri = saved.contacts().next().unwrap().unwrap().address().unwrap().uri;
        assert_eq!(uri, b"sip:alice@df7jal23ls0d.invalid;alias=203.0.113.5~41234~5");
    }

    #[test]
    fn a_contact_that_is_true_stays() {
        let mut bench = bench(INVITE, "198.51.100.7:5070", Transport::Udp, &[]);
        assert_eq!(bench.run(&MODULE, "add_contact_alias", &[]), 2);
        assert!(bench.context.edits.is_empty());
        bench.context.arrival.transport = Transport::Tcp;
        assert_eq!(bench.run(&MODULE, "add_contact_alias", &[]), 1);
        assert_eq!(contact(&bench), "<sip:alice@198.51.100.7:5070;alias=198.51.100.7~5070~2>");
    }

    #[test]
    fn the_script_may_name_the_place_and_the_parameter() {
        let mut bench = bench(INVITE, "198.51.100.7:5070", Transport::Udp, &[("alias_name", "via")]);
        assert_eq!(bench.run(&MODULE, "add_contact_alias", &["2001:db8::9", "443", "WSS"]), 1);
        assert_eq!(contact(&bench), "<sip:alice@198.51.100.7:5070;via=[2001:db8::9]~443~6>");
        assert_eq!(bench.run(&MODULE, "add_contact_alias", &["example.com", "443", "tls"]), -1);
        assert_eq!(bench.run(&MODULE, "add_contact_alias", &["192.0.2.9", "0", "tls"]), -1);
    }

    #[test]
    fn of_several_aliases_the_mode_chooses() {
        let uri = "sip:a@h;alias=192.0.2.1~5060~1;x=1;ALIAS=192.0.2.2~5062~3";
        let invite = INVITE.replacen("sip:bob@example.com", uri, 1);
        for (args, left, hop) in [
            (&[][..], "sip:a@h;x=1;ALIAS=192.0.2.2~5062~3", "sip:192.0.2.1:5060"),
            (&["1"][..], "sip:a@h;alias=192.0.2.1~5060~1;x=1", "sip:192.0.2.2:5062;transport=tls"),
        ] {
            let mut bench = from_browser(&invite);
            assert_eq!(bench.run(&MODULE, "handle_ruri_alias", args), 1);
            assert_eq!(bench.uri(), left);
            assert_eq!(bench.context.target.destination.as_deref(), Some(hop.as_bytes()));
        }
    }

    #[test]
    fn an_alias_that_cannot_be_read_changes_nothing() {
        for alias in ["alias", "alias=", "alias=h~5060~1", "alias=192.0.2.1~99999~1"] {
            let invite = INVITE.replacen("sip:bob@example.com", &format!("sip:a@h;{alias}"), 1);
            let mut bench = from_browser(&invite);
            assert_eq!(bench.run(&MODULE, "handle_ruri_alias", &[]), -1, "{alias}");
            assert_eq!(bench.context.target.destination, None);
        }
    }
}
