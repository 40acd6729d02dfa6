//! Sending any request from outside: `tm.t_uac_start`, `tm.t_uac_wait` and SER's `t_uac_dlg`; `tm.stats`.

use bytes::Bytes;
use module_api::{
    Answer, ArgumentKind, Command, CommandCall, CommandError, CommandParam, Data, Job, OwnAnswer, OwnRequest, SocketId,
    bracketed,
};
use sip_message::{HeaderName, Uri};
use tokio::sync::oneshot;

const METHOD: CommandParam = CommandParam::required("method", ArgumentKind::Str, "The method.");
const URI: CommandParam = CommandParam::required("uri", ArgumentKind::Str, "The Request-URI.");
const NEXT_HOP: CommandParam = CommandParam::required(
    "next_hop",
    ArgumentKind::Str,
    "Where to send it, as a URI; `.` sends it to the Request-URI.",
);
const SOCKET: CommandParam =
    CommandParam::required("socket", ArgumentKind::Str, "The socket to send from, as udp:ADDRESS:PORT; `.` for any.");
const HEADERS: CommandParam = CommandParam::required(
    "headers",
    ArgumentKind::Str,
    "Header lines. From is needed; To is the Request-URI unless given; Via, Max-Forwards and Content-Length are added.",
);
const BODY: CommandParam = CommandParam::optional("body", ArgumentKind::Str, "The body; Content-Type tells its kind.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "tm.t_uac_start",
        params: &[METHOD, URI, NEXT_HOP, SOCKET, HEADERS, BODY],
        doc: "Sends a request and does not wait for its answer.",
        result: "nothing.",
        example: "tm.t_uac_start OPTIONS sip:alice@192.0.2.7 . . 'From: <sip:me@example.com>'",
        run: |call| match request(call, Some(3), 4) {
            Ok(request) => match send(call, request) {
                Ok(_) => Data::Null.into(),
                Err(error) => Answer::Now(Err(error)),
            },
            Err(error) => Answer::Now(Err(error)),
        },
        ..Command::EMPTY
    },
    Command {
        name: "tm.t_uac_wait",
        aliases: &["tm.t_uac_wait_block"],
        params: &[METHOD, URI, NEXT_HOP, SOCKET, HEADERS, BODY],
        doc: "Sends a request and waits for its final answer.",
        result: "`code` and `reason` of the answer, its header lines and its body.",
        example: "tm.t_uac_wait OPTIONS sip:alice@192.0.2.7 . . 'From: <sip:me@example.com>'",
        run: |call| wait(call, request(call, Some(3), 4), |answer| Ok(shown(&answer))),
    },
    Command {
        name: "t_uac_dlg",
        params: &[METHOD, URI, NEXT_HOP, HEADERS, BODY],
        doc: "Sends a request and waits for its final answer, as SER does.",
        result: "the answer when it is a 2xx; any other is an error with its code and reason.",
        example: "t_uac_dlg MESSAGE sip:alice@192.0.2.7 . 'From: <sip:me@example.com>' hello",
        run: |call| {
            wait(call, request(call, None, 3), |answer| match answer.status {
                200..300 => Ok(shown(&answer)),
                status => Err(CommandError::of_peer(status, reason(&answer))),
            })
        },
        ..Command::EMPTY
    },
];

/// What [`request`] could not make of the arguments, or what it made.
type Made = Result<OwnRequest, CommandError>;

fn request(call: &CommandCall<'_>, socket: Option<usize>, headers: usize) -> Made {
    let refuse = |what: String| CommandError::new(400, what);
    let text = |n: usize| call.text(n).unwrap_or_default();
    let uri = |n: usize, name: &str| {
        let is_uri = Uri::parse(text(n).as_bytes()).is_ok_and(|uri| uri.is_sip());
        is_uri
            .then(|| Bytes::copy_from_slice(text(n).as_bytes()))
            .ok_or_else(|| refuse(format!("argument `{name}` must be a SIP URI, such as sip:alice@192.0.2.7")))
    };
    if text(0).is_empty() || !text(0).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
    {
        return Err(refuse("argument `method` must be one word".into()));
    }
    let destination = if is_absent(text(2)) { None } else { Some(uri(2, "next_hop")?) };
    let socket = match socket.map(text).filter(|text| !is_absent(text)) {
        Some(name) => Some(find_socket(call, name)?),
        None => None,
    };
    let mut request = OwnRequest {
        method: Bytes::copy_from_slice(text(0).as_bytes()),
        uri: uri(1, "uri")?,
        destination,
        socket,
        ..OwnRequest::default()
    };
    request.to = bracketed(&request.uri);
    let kind = take_headers(&mut request, text(headers))?;
    let body = text(headers + 1);
    if !body.is_empty() {
        request.body = Some((kind, Bytes::copy_from_slice(body.as_bytes())));
    }
    Ok(request)
}

/// Arguments in order cannot be left out; SER's scripts write a dot in their place, others nothing.
fn is_absent(text: &str) -> bool {
    matches!(text, "" | "." | "0")
}

fn find_socket(call: &CommandCall<'_>, name: &str) -> Result<SocketId, CommandError> {
    let names: Vec<String> = call.sockets.iter().map(ToString::to_string).collect();
    match names.iter().position(|own| own == name) {
        Some(at) => Ok(SocketId(at as u16)),
        None => Err(CommandError::new(400, format!("no socket is called `{name}`; there are: {}", names.join(", ")))),
    }
}

/// Puts header lines in their places; returns the kind of the body.
fn take_headers(request: &mut OwnRequest, lines: &str) -> Result<Bytes, CommandError> {
    let refuse = |what: String| CommandError::new(400, what);
    let mut kind = Bytes::from_static(b"text/plain");
    let mut others = Vec::new();
    for line in lines.split(['\r', '\n']).filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| refuse(format!("`{line}` is no header line")))?;
        let value = Bytes::copy_from_slice(value.trim().as_bytes());
        match HeaderName::from_token(name.trim().as_bytes()) {
            HeaderName::From => request.from = value,
            HeaderName::To => request.to = value,
            HeaderName::CallId => request.call_id = Some(value),
            HeaderName::ContentType => kind = value,
            HeaderName::CSeq => {
                let number = String::from_utf8_lossy(&value);
                let number = number.split_whitespace().next().and_then(|number| number.parse().ok());
                request.cseq = Some(number.ok_or_else(|| refuse("CSeq holds no number".into()))?);
            }
            // These are made here, whatever the caller has in mind.
            HeaderName::Via | HeaderName::MaxForwards | HeaderName::ContentLength => {}
            _ => others.extend_from_slice(format!("{}\r\n", line.trim()).as_bytes()),
        }
    }
    if request.from.is_empty() {
        return Err(refuse("the headers must have a line `From: <sip:...>`".into()));
    }
    request.headers = others.into();
    Ok(kind)
}

fn send(call: &CommandCall<'_>, request: OwnRequest) -> Result<oneshot::Receiver<OwnAnswer>, CommandError> {
    let (answer, answered) = oneshot::channel();
    let owner = request.call_id.clone().unwrap_or_else(|| request.uri.clone());
    let job: Job = Box::new(move |host| {
        // Whoever asked may have gone without waiting.
        host.request(request, Box::new(move |_, own| drop(answer.send(own))));
    });
    let posted = call.server.post(&owner, job);
    posted.map(|()| answered).map_err(|_| CommandError::new(503, "the server has too much to do; try again"))
}

fn wait(
    call: &CommandCall<'_>,
    request: Made,
    show: impl FnOnce(OwnAnswer) -> Result<Data, CommandError> + Send + 'static,
) -> Answer {
    match request.and_then(|request| send(call, request)) {
        Ok(answered) => {
            Answer::later(async move { show(answered.await.map_err(|_| CommandError::new(503, "the server ends"))?) })
        }
        Err(error) => Answer::Now(Err(error)),
    }
}

fn reason(answer: &OwnAnswer) -> String {
    let of_reply = answer.reply.as_ref().map(|reply| String::from_utf8_lossy(reply.reason()).into_owned());
    of_reply.unwrap_or_else(|| match answer.status {
        408 => "Request Timeout: nothing came back".to_owned(),
        status => format!("it could not be sent ({status})"),
    })
}

fn shown(answer: &OwnAnswer) -> Data {
    let (mut headers, mut body) = (Vec::new(), Data::from(""));
    if let Some(reply) = &answer.reply {
        let text = String::from_utf8_lossy(reply.bytes()).into_owned();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        headers = head.lines().skip(1).map(Data::from).collect();
        body = rest.into();
    }
    Data::of([
        ("code", u32::from(answer.status).into()),
        ("reason", reason(answer).into()),
        ("headers", Data::List(headers)),
        ("body", body),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CommandBench;

    fn check(line: &[&str], expected: &str) {
        let command = COMMANDS.iter().find(|command| command.is_called(line[0])).expect("a command of the table");
        let bench = CommandBench::new(std::sync::Arc::new(()));
        let args = line[1..].iter().map(|word| Data::from(*word)).collect();
        let error = bench.call(command, args).expect_err("there are no workers here").to_string();
        assert_eq!(error, expected, "{line:?}");
    }

    #[test]
    fn a_request_that_cannot_be_one_is_refused_before_it_leaves() {
        let from = "From: <sip:me@example.com>";
        check(&["t_uac_dlg", "ME SSAGE", "sip:a@h", ".", from], "400 argument `method` must be one word");
        let uri = "must be a SIP URI, such as sip:alice@192.0.2.7";
        check(&["t_uac_dlg", "MESSAGE", "alice", ".", from], &format!("400 argument `uri` {uri}"));
        check(&["t_uac_dlg", "MESSAGE", "sip:a@h", "proxy", from], &format!("400 argument `next_hop` {uri}"));
        check(&["t_uac_dlg", "MESSAGE", "sip:a@h", ".", "hello"], "400 `hello` is no header line");
        check(&["t_uac_dlg", "MESSAGE", "sip:a@h", ".", "X: y"], "400 the headers must have a line `From: <sip:...>`");
        check(
            &["tm.t_uac_start", "OPTIONS", "sip:a@h", ".", "udp:192.0.2.9:5060", from],
            "400 no socket is called `udp:192.0.2.9:5060`; there are: udp:192.0.2.1:5060, tcp:192.0.2.1:5060, tls:192.0.2.1:5061",
        );
        check(&["t_uac_dlg", "MESSAGE", "sip:a@h", ".", from], "503 the server has too much to do; try again");
    }

    #[test]
    fn header_lines_go_to_their_places() {
        let mut request = OwnRequest::default();
        let lines = "f: <sip:me@h>\r\nTo: <sip:you@h>;tag=1\nContent-Type: text/html\r\nX-A: 1\r\nVia: forged\r\nCSeq: 7 INFO\n";
        let kind = take_headers(&mut request, lines).expect("they can be read");
        assert_eq!(
            (&kind[..], &request.from[..], &request.to[..]),
            (&b"text/html"[..], &b"<sip:me@h>"[..], &b"<sip:you@h>;tag=1"[..])
        );
        assert_eq!((request.cseq, &request.headers[..]), (Some(7), &b"X-A: 1\r\n"[..]));
    }
}
