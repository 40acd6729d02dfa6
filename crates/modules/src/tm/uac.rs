//! Requests of our own from a script.

use bytes::Bytes;
use module_api::{Function, Outcome, OwnRequest, Param, ParamKind, Routes, bracketed};

pub(super) const UAC_SEND: Function = Function {
    name: "t_uac_send",
    params: &[
        Param::required("method", ParamKind::Format),
        Param::required("uri", ParamKind::Format),
        Param::required("next hop", ParamKind::Format),
        Param::required("socket", ParamKind::Format),
        Param::required("headers", ParamKind::Format),
        Param::required("body", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Sends a request of the server's own, outside of any dialog. Empty arguments mean none; the headers may hold \
          From, To and Content-Type. What comes back is of no consequence.",
    example: "t_uac_send(\"OPTIONS\", \"sip:gw@192.0.2.7\", \"\", \"\", \"\", \"\");",
    run: |call| {
        let filled = |n: usize| Some(call.text(n)).filter(|text| !text.is_empty());
        let (Some(method), Some(uri)) = (filled(0), filled(1)) else {
            return Outcome::fail("t_uac_send needs a method and a URI");
        };
        let socket = match filled(3) {
            Some(text) => match crate::core::socket_named(call, &text) {
                Some(socket) => Some(socket),
                None => return Outcome::fail("t_uac_send: there is no such socket"),
            },
            None => None,
        };
        let mut request = OwnRequest::new(method, uri.clone(), &uri);
        request.to = bracketed(&uri);
        request.destination = filled(2);
        request.socket = socket;
        let mut content_type = Bytes::from_static(b"text/plain");
        let mut others = Vec::new();
        for (name, value) in header_lines(&call.text(4)) {
            match name.to_ascii_lowercase().as_slice() {
                b"from" => request.from = value,
                b"to" => request.to = value,
                b"content-type" => content_type = value,
                _ => others.extend_from_slice(&[&name[..], b": ", &value, b"\r\n"].concat()),
            }
        }
        request.headers = others.into();
        request.body = filled(5).map(|body| (content_type, body));
        call.host.request(request, Box::new(|_, _| ()));
        Outcome::TRUE
    },
};

/// Names and values of header lines, which may end in a bare LF or not at all.
pub(crate) fn header_lines(text: &Bytes) -> Vec<(Bytes, Bytes)> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let halves = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((text.slice_ref(line[..colon].trim_ascii()), text.slice_ref(line[colon + 1..].trim_ascii())))
    });
    halves.collect()
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn a_request_of_our_own_goes_out() {
        let mut bench = Bench::invite();
        let args = ["MESSAGE", "sip:bob@example.com", "sip:192.0.2.9", "", "From: <sip:a@b>\r\nX: 1", "hello"];
        assert_eq!(bench.run(&MODULE, "t_uac_send", &args), 1);
        assert_eq!(bench.host.done, ["request MESSAGE sip:bob@example.com via sip:192.0.2.9"]);
        assert_eq!(bench.run(&MODULE, "t_uac_send", &["", "", "", "", "", ""]), -1);
        assert_eq!(bench.run(&MODULE, "t_uac_send", &["OPTIONS", "sip:a@b", "", "udp:203.0.113.77:1", "", ""]), -1);
    }
}
