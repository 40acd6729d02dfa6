//! Any bytes as a URI, an address, a Via, parameters: nothing panics, and a URI that is read
//! writes itself again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::{AuthParams, NameAddr, Params, Uri, Via, unescape, unfold, unquote};

fuzz_target!(|data: &[u8]| {
    if let Ok(uri) = Uri::parse(data) {
        let mut out = Vec::new();
        uri.write_to(&mut out);
        let again = Uri::parse(&out).expect("a written URI is a URI");
        assert_eq!((again.user, again.host, again.port), (uri.user, uri.host, uri.port));
        assert!(uri.equivalent(&uri), "each URI is equivalent to itself");
        assert!(uri.equivalent(&again) && again.equivalent(&uri));
        let _ = (uri.transport(), uri.maddr(), uri.is_loose_router(), uri.header_fields().count());
    }
    if let Ok(address) = NameAddr::parse(data) {
        assert_eq!(address.uri_span.of(data), address.uri);
        let _ = (address.display_text(), address.tag(), address.q(), address.expires());
    }
    if let Ok(via) = Via::parse(data) {
        assert!(via.sent_by.of(data).starts_with(via.host));
    }
    for param in Params::parse(data).iter_spans() {
        assert_eq!(param.value_span.of(data), param.value.unwrap_or_default());
    }
    if let Some(credentials) = AuthParams::parse(data) {
        let _ = credentials.iter().count();
    }
    let _ = (unescape(data), unfold(data), unquote(data));
});
