//! Each message of RFC 4475 and RFC 5118, and the verdict that the RFC states.
//!
//! Where the RFC lets an element choose, the comment names the choice.

#![expect(clippy::disallowed_methods, reason = "the messages are files")]

use bytes::Bytes;
use sip_message::{Element, Limits, Message, Verdict, write};

/// Who is asked. None of them knows an extension.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Proxy,
    Server,
    Both,
}

/// What becomes of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Accept,
    Status(u16),
    Drop,
}

use Asked::{Both, Proxy, Server};
use Expected::{Accept, Drop, Status};

/// File, section of its RFC, who is asked, verdict.
const RFC_4475: &[(&str, &str, Asked, Expected)] = &[
    ("wsinv", "3.1.1.1", Both, Accept),
    ("intmeth", "3.1.1.2", Both, Accept),
    ("esc01", "3.1.1.3", Both, Accept),
    ("escnull", "3.1.1.4", Both, Accept),
    ("esc02", "3.1.1.5", Both, Accept),
    ("lwsdisp", "3.1.1.6", Both, Accept),
    ("longreq", "3.1.1.7", Both, Accept),
    ("dblreq", "3.1.1.8", Both, Accept),
    ("semiuri", "3.1.1.9", Both, Accept),
    ("transports", "3.1.1.10", Both, Accept),
    ("mpart01", "3.1.1.11", Both, Accept),
    ("unreason", "3.1.1.12", Both, Accept),
    ("noreason", "3.1.1.13", Both, Accept),
    ("badinv01", "3.1.2.1", Both, Status(400)),
    ("clerr", "3.1.2.2", Both, Status(400)),
    ("ncl", "3.1.2.3", Both, Status(400)),
    ("scalar02", "3.1.2.4", Both, Status(400)),
    ("scalarlg", "3.1.2.5", Both, Drop),
    ("quotbal", "3.1.2.6", Both, Status(400)),
    ("ltgtruri", "3.1.2.7", Both, Status(400)),
    ("lwsruri", "3.1.2.8", Both, Status(400)),
    ("lwsstart", "3.1.2.9", Both, Status(400)),
    ("trws", "3.1.2.10", Both, Status(400)),
    // The RFC also allows to ignore the headers in the Request-URI.
    ("escruri", "3.1.2.11", Both, Status(400)),
    // Only who needs the Date may refuse it; a proxy and a registrar here do not.
    ("baddate", "3.1.2.12", Both, Accept),
    // The RFC also allows to guess the brackets. A proxy does not read the Contact.
    ("regbadct", "3.1.2.13", Server, Status(400)),
    ("regbadct", "3.1.2.13", Proxy, Accept),
    ("badaspec", "3.1.2.14", Both, Status(400)),
    // The RFC also allows to guess the quotes.
    ("baddn", "3.1.2.15", Both, Status(400)),
    ("badvers", "3.1.2.16", Both, Status(505)),
    ("mismatch01", "3.1.2.17", Both, Status(400)),
    // 501 would do too for who does not know the method.
    ("mismatch02", "3.1.2.18", Both, Status(400)),
    ("bigcode", "3.1.2.19", Both, Drop),
    ("badbranch", "3.2.1", Both, Accept),
    ("insuf", "3.3.1", Both, Status(400)),
    ("unkscm", "3.3.2", Both, Status(416)),
    ("novelsc", "3.3.3", Both, Status(416)),
    ("unksm2", "3.3.4", Proxy, Accept),
    ("unksm2", "3.3.4", Server, Status(400)),
    ("bext01", "3.3.5", Both, Status(420)),
    // 415 and 401 are the application's, who alone knows which bodies and schemes it takes.
    ("invut", "3.3.6", Both, Accept),
    ("regaut01", "3.3.7", Both, Accept),
    ("multi01", "3.3.8", Both, Status(400)),
    ("mcl01", "3.3.9", Both, Status(400)),
    ("bcast", "3.3.10", Both, Drop),
    // 483 comes when a proxy would forward it; a server answers it.
    ("zeromf", "3.3.11", Both, Accept),
    ("cparam01", "3.3.12", Both, Accept),
    ("cparam02", "3.3.13", Both, Accept),
    ("regescrt", "3.3.14", Both, Accept),
    // 406 is the application's.
    ("sdp01", "3.3.15", Both, Accept),
    ("inv2543", "3.4.1", Both, Accept),
];

const RFC_5118: &[(&str, &str, Asked, Expected)] = &[
    ("ipv6-good", "4.1", Both, Accept),
    ("ipv6-bad", "4.2", Both, Status(400)),
    ("port-ambiguous", "4.3", Both, Accept),
    ("port-unambiguous", "4.4", Both, Accept),
    ("via-received-param-with-delim", "4.5", Both, Accept),
    ("via-received-param-no-delim", "4.5", Both, Accept),
    ("ipv6-in-sdp", "4.6", Both, Accept),
    ("mult-ip-in-header", "4.7", Both, Accept),
    ("mult-ip-in-sdp", "4.8", Both, Accept),
    ("ipv4-mapped-ipv6", "4.9", Both, Accept),
    ("ipv6-bug-abnf-3-colons", "4.10", Both, Accept),
    ("ipv6-correct-abnf-2-colons", "4.10", Both, Accept),
];

fn read(name: &str) -> Bytes {
    let path = format!("{}/tests/torture/{name}.sip", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn message(name: &str) -> Message {
    Message::parse(read(name), &Limits::default()).unwrap_or_else(|reject| panic!("{name}: {reject}"))
}

fn verdict(bytes: Bytes, element: Element<'_>) -> Expected {
    match Message::parse(bytes, &Limits::default()).map(|message| message.verdict_at(element)) {
        Ok(Verdict::Accept) => Accept,
        Ok(Verdict::Answer(reject)) => reject.status().map_or(Drop, Status),
        Ok(Verdict::Drop(_)) => Drop,
        Err(reject) => reject.status().map_or(Drop, Status),
    }
}

fn check(table: &[(&str, &str, Asked, Expected)]) {
    for &(name, section, asked, expected) in table {
        let elements: &[Element<'_>] = match asked {
            Proxy => &[Element::Proxy(&[])],
            Server => &[Element::Server(&[])],
            Both => &[Element::Proxy(&[]), Element::Server(&[])],
        };
        for &element in elements {
            assert_eq!(verdict(read(name), element), expected, "{name} ({section}) at {element:?}");
        }
    }
}

#[test]
fn each_message_of_rfc_4475_gets_its_verdict() {
    check(RFC_4475);
}

#[test]
fn each_message_of_rfc_5118_gets_its_verdict() {
    check(RFC_5118);
}

#[test]
fn each_file_is_listed() {
    let folder = format!("{}/tests/torture", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of messages") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        let Some(name) = name.strip_suffix(".sip") else { continue };
        files += 1;
        assert!(RFC_4475.iter().chain(RFC_5118).any(|(listed, ..)| *listed == name), "{name} is not listed");
    }
    assert_eq!(files, 61); // 49 of RFC 4475, 12 of RFC 5118.
}

#[test]
fn each_message_is_written_as_it_came() {
    for (name, ..) in RFC_4475.iter().chain(RFC_5118) {
        let Ok(message) = Message::parse(read(name), &Limits::default()) else { continue };
        let mut out = Vec::new();
        write(&message, &[], &mut out);
        assert_eq!(out, message.bytes(), "{name}");
        assert!(read(name).starts_with(&out), "{name}");
    }
}

#[test]
fn the_tortuous_invite_reads_as_the_rfc_says() {
    let message = message("wsinv");
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.cseq().map(|cseq| cseq.number), Ok(9));
    assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(&*message.from().expect("a From").display_text(), br#"J Rosenberg \""#);
    let branches: Vec<_> = message.vias().map(|via| via.expect("a Via").branch().expect("a branch").to_vec()).collect();
    assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
    let contact = message.contacts().next().expect("a Contact").expect("well formed").address().expect("an address");
    assert_eq!(contact.q(), 330);
    assert_eq!(message.body().len(), 150);
    let unknown = message.headers_with_name(b"newfangledheader").next().expect("the unknown header");
    assert_eq!(&*unknown.unfolded(), b"newfangled value continued newfangled value");
}

#[test]
fn an_escaped_method_is_another_method() {
    let message = message("esc02");
    assert_eq!(message.method_text(), b"RE%47IST%45R");
    // `C%6Fntact` is no Contact either.
    assert_eq!(message.contacts().count(), 2);
}

#[test]
fn what_follows_a_datagram_is_cut() {
    let message = message("dblreq");
    assert_eq!(message.method_text(), b"REGISTER");
    assert!(message.bytes().ends_with(b"Content-Length: 0\r\n\r\n"));
}

#[test]
fn a_420_names_each_extension_that_is_unknown() {
    let message = message("bext01");
    let unknown = |name| message.unknown_extensions(name, &[]).map(|tag| tag.text.to_vec()).collect::<Vec<_>>();
    let proxy = unknown(sip_message::HeaderName::ProxyRequire);
    assert_eq!(proxy, [&b"noProxiesSupportThis"[..], b"norDoAnyProxiesSupportThis"]);
    let server = unknown(sip_message::HeaderName::Require);
    assert_eq!(server, [&b"nothingSupportsThis"[..], b"nothingSupportsThisEither"]);
}

#[test]
fn a_port_outside_the_brackets_is_a_port() {
    let inside = message("port-ambiguous");
    assert_eq!(inside.parsed_request_uri().expect("a URI").port, None);
    let outside = message("port-unambiguous");
    assert_eq!(outside.parsed_request_uri().expect("a URI").port, Some(5070));
}
