//! Module http_async_client: the script ends, and goes on at a route when the answer is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, Fault, Function, KeyRule, Module, Outcome, Param, ParamKind, Parameter, RouteKind, Routes, Selector, Server,
    Setup, SetupError, State, Value, Variable, WebAnswer, WebRequest,
};

use super::background::{self, Work};
use crate::setting::{ignored, number};
use crate::tm::suspend::continue_later;

/// Asks web servers and goes on at a route with the answer.
pub static MODULE: Module = Module {
    name: "http_async_client",
    doc: "Asks web servers, and goes on with the request at a route when the answer is there. Certificates are checked as the \
          command line says.",
    parameters: PARAMETERS,
    functions: &[QUERY],
    variables: &VARIABLES,
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    number("connection_timeout", "500", "How long a request may take where it says nothing itself, in milliseconds."),
    ignored("workers", "Has no effect: a request that waits costs no worker."),
    ignored("hash_size", "Has no effect."),
    ignored("tls_version", "Has no effect: TLS 1.2 and 1.3 are spoken."),
    ignored("tls_verify_host", "Has no effect: certificates are checked as the command line says."),
    ignored("tls_verify_peer", "Has no effect: certificates are checked as the command line says."),
    ignored("tls_ca_path", "Has no effect: certificates are checked as the command line says."),
    ignored("tls_client_cert", "Has no effect: no certificate is shown."),
    ignored("tls_client_key", "Has no effect: no certificate is shown."),
    ignored("curl_memory_manager", "Has no effect: concerns a library that is not used here."),
    ignored("curl_follow_redirect", "Has no effect: redirections are answers as others, and not followed."),
    ignored("authmethod", "Has no effect."),
    ignored("tcp_keepalive", "Has no effect: each request has a connection of its own."),
    ignored("tcp_ka_idle", "Has no effect: each request has a connection of its own."),
    ignored("tcp_ka_interval", "Has no effect: each request has a connection of its own."),
];

const QUERY: Function = Function {
    name: "http_async_query",
    params: &[Param::required("url", ParamKind::Format), Param::required("route", ParamKind::Format)],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Asks a URL as $http_req(...) says, ends the script, and goes on with the request at route[NAME] when the answer is there, \
          or none came: $http_ok tells which. A body without a method is posted. With $http_req(suspend) = 0 the script goes on at \
          once, and the route has a message that is made up.",
    example: "$http_req(timeout) = 400; http_async_query(\"http://192.0.2.7/?to=$rU\", \"ANSWER\");",
    run: query,
};

/// What the script says about its next request; a note.
#[derive(Debug, Clone)]
struct Wishes {
    method: Option<String>,
    headers: Vec<u8>,
    body: Bytes,
    timeout: Option<Duration>,
    suspends: bool,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes { method: None, headers: Vec::new(), body: Bytes::new(), timeout: None, suspends: true }
    }
}

/// What came of the last request; a note.
pub(super) struct Came(pub(super) Result<WebAnswer, String>);

/// The state of the module.
struct Client {
    server: Arc<dyn Server>,
    patience: Duration,
    work: Work,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let milliseconds = u64::try_from(setup.int("connection_timeout")).unwrap_or(0);
    if !(1..=3_600_000).contains(&milliseconds) {
        let cause = "must be from 1 to 3600000 milliseconds".to_owned();
        return Err(SetupError::Setting { name: "connection_timeout", cause });
    }
    Ok(Arc::new(Client {
        server: Arc::clone(setup.server),
        patience: Duration::from_millis(milliseconds),
        work: background::start(setup.spawn, setup.server),
    }))
}

fn query(call: &mut Call<'_>) -> Outcome {
    let client = call.state::<Client>();
    let wishes = call.context.take_note::<Wishes>().unwrap_or_default();
    call.context.take_note::<Came>();
    let route = call.text(1);
    let name = String::from_utf8_lossy(&route).into_owned();
    if call.host.find_route(Some(call.context), RouteKind::Request, &name).is_none() {
        return Outcome::fail(format!("there is no route[{name}]"));
    }
    let has_body = !wishes.body.is_empty();
    let method = wishes.method.unwrap_or_else(|| if has_body { "POST" } else { "GET" }.to_owned());
    let headers = match super::headers(&wishes.headers) {
        Ok(headers) => headers,
        Err(cause) => return Outcome::fail(cause),
    };
    let mut request = WebRequest {
        headers,
        body: wishes.body,
        patience: wishes.timeout.unwrap_or(client.patience),
        ..super::request(&method, &call.text(0))
    };
    super::type_body(&mut request, super::FORM);
    let Some(web) = client.server.web() else { return Outcome::fail("web servers cannot be asked here") };
    if !wishes.suspends {
        return match client.work.begin(web.fetch(request), name) {
            true => Outcome::TRUE,
            false => Outcome::fail("too many requests to web servers are waiting"),
        };
    }
    Outcome::wait(web.fetch(request), move |call, answer| {
        call.context.set_note(Came(answer));
        continue_later(call, &route, Duration::ZERO)
    })
}

static VARIABLES: [Variable; 10] = [
    Variable {
        name: "http_req",
        key: KeyRule::Required,
        doc: "What the next http_async_query() asks: method, body, hdr (a header line; several add up), timeout (milliseconds) and \
              suspend (1 or 0). $http_req(all) = $null forgets all.",
        example: "$http_req(body) = \"to=\" + $rU;",
        read: |_, _| Value::Null,
        write: Some(wish),
        ..READ
    },
    Variable {
        name: "http_ok",
        doc: "1 when an answer has come, whatever its status, else 0.",
        read: |call, _| Value::Int(matches!(came(call), Some(Ok(_))).into()),
        ..READ
    },
    Variable {
        name: "http_err",
        doc: "Why no answer has come.",
        read: |call, _| match came(call) {
            Some(Err(cause)) => Value::Str(cause.clone().into()),
            _ => Value::Null,
        },
        ..READ
    },
    Variable {
        name: "http_rs",
        doc: "The status code of the answer.",
        read: |call, _| part(call, |answer| Value::Int(answer.status.into())),
        ..READ
    },
    Variable {
        name: "http_rr",
        doc: "The reason phrase of the answer.",
        read: |call, _| part(call, |answer| Value::Str(answer.reason.clone().into())),
        ..READ
    },
    Variable {
        name: "http_rb",
        doc: "The body of the answer.",
        read: |call, _| part(call, |answer| Value::Str(answer.body.clone())),
        ..READ
    },
    Variable {
        name: "http_bs",
        doc: "The length of the answer's body, in bytes.",
        read: |call, _| part(call, |answer| Value::Int(answer.body.len() as i64)),
        ..READ
    },
    Variable {
        name: "http_mb",
        doc: "The answer as a text: status line, headers and body.",
        read: |call, _| part(call, |answer| Value::Str(whole(answer))),
        ..READ
    },
    Variable {
        name: "http_ml",
        doc: "The length of $http_mb, in bytes.",
        read: |call, _| part(call, |answer| Value::Int(whole(answer).len() as i64)),
        ..READ
    },
    Variable {
        name: "http_hdr",
        key: KeyRule::Required,
        doc: "A header of the answer.",
        example: "xlog(\"$http_hdr(Content-Type)\\n\");",
        read: |call, selector| {
            let name = String::from_utf8_lossy(selector.key()).into_owned();
            part(call, |answer| super::header(answer, &name))
        },
        ..READ
    },
];

/// What the variables have in common.
const READ: Variable = Variable {
    name: "",
    key: KeyRule::None,
    routes: Routes::ANY,
    doc: "",
    example: "if ($http_ok == 1) xlog(\"$http_rs $http_rr: $http_rb\\n\");",
    read: |_, _| Value::Null,
    write: None,
};

fn came<'a>(call: &'a Call<'_>) -> Option<&'a Result<WebAnswer, String>> {
    call.context.note::<Came>().map(|came| &came.0)
}

fn part(call: &Call<'_>, read: impl FnOnce(&WebAnswer) -> Value) -> Value {
    match came(call) {
        Some(Ok(answer)) => read(answer),
        _ => Value::Null,
    }
}

fn whole(answer: &WebAnswer) -> Bytes {
    let mut text = format!("HTTP/1.1 {} {}\r\n", answer.status, answer.reason).into_bytes();
    for (name, value) in &answer.headers {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&answer.body);
    text.into()
}

fn wish(call: &mut Call<'_>, selector: &Selector<'_>, value: Value) -> Result<(), Fault> {
    let refuse = |cause: &'static str| Err(Fault { code: -1, cause: cause.into() });
    let mut wishes = call.context.take_note::<Wishes>().unwrap_or_default();
    let result = match selector.key() {
        b"all" => {
            wishes = Wishes::default();
            Ok(())
        }
        b"method" => match number_or_name(&value) {
            Some(method) => {
                wishes.method = Some(method);
                Ok(())
            }
            None => refuse("the method must be GET, POST, PUT, DELETE, PATCH, HEAD or OPTIONS"),
        },
        b"body" => {
            wishes.body = value.to_bytes();
            Ok(())
        }
        b"hdr" => {
            wishes.headers.extend_from_slice(&value.to_bytes());
            wishes.headers.push(b'\n');
            Ok(())
        }
        b"timeout" => match u64::try_from(value.to_int()) {
            Ok(milliseconds @ 1..=3_600_000) => {
                wishes.timeout = Some(Duration::from_millis(milliseconds));
                Ok(())
            }
            _ => refuse("the time must be from 1 to 3600000 milliseconds"),
        },
        b"suspend" => {
            wishes.suspends = value.to_int() != 0;
            Ok(())
        }
        // Certificates and the like are the command line's business.
        b"tls_client_cert" | b"tls_client_key" | b"tls_ca_path" | b"tls_verify_peer" | b"tls_verify_host" => Ok(()),
        b"tcp_keepalive" | b"tcp_ka_idle" | b"tcp_ka_interval" | b"follow_redirect" => Ok(()),
        _ => refuse("$http_req has method, body, hdr, timeout, suspend and all"),
    };
    if wishes.headers.len() > LONGEST_HEADERS {
        return refuse("the headers of $http_req are too long");
    }
    call.context.set_note(wishes);
    result
}

/// Longest headers of a request, in bytes.
const LONGEST_HEADERS: usize = 16 * 1024;

fn number_or_name(value: &Value) -> Option<String> {
    let name = String::from_utf8_lossy(&value.to_bytes()).to_ascii_uppercase();
    let known = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    known.contains(&name.as_str()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Connected, OneAnswer};
    use super::*;
    use crate::testing::{Bench, INVITE, text, try_start};

    fn client(web: &Arc<OneAnswer>) -> Bench {
        let client = Client {
            server: Arc::new(Connected(Arc::clone(web))),
            patience: Duration::from_millis(500),
            work: Work::nowhere(),
        };
        let mut bench = Bench::with_state(INVITE, Arc::new(client));
        bench.host.routes = vec!["ANSWER"];
        bench
    }

    fn run(bench: &mut Bench, url: &str, route: &str) -> i64 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        bench.run_waiting(&MODULE, "http_async_query", &[url, route], &runtime)
    }

    #[test]
    fn wishes_count_for_one_request() {
        let web = OneAnswer::new(Ok((200, "ok")));
        let mut bench = client(&web);
        bench.write(&MODULE, "http_req", Some("body"), text("a=1"));
        bench.write(&MODULE, "http_req", Some("hdr"), text("X-A: 1"));
        bench.write(&MODULE, "http_req", Some("hdr"), text("X-B: 2"));
        bench.write(&MODULE, "http_req", Some("timeout"), Value::Int(70));
        // The fake server suspends nothing, so the script is told that it cannot go on later.
        assert_eq!(run(&mut bench, "http://h/", "ANSWER"), -1);
        let asked = web.asked();
        assert_eq!((asked.method.as_str(), asked.patience), ("POST", Duration::from_millis(70)));
        assert_eq!(asked.headers.len(), 3);
        run(&mut bench, "http://h/", "ANSWER");
        let asked = web.asked();
        assert_eq!(
            (asked.method.as_str(), asked.patience, asked.headers.len()),
            ("GET", Duration::from_millis(500), 0)
        );
        assert_eq!(run(&mut bench, "http://h/", "NOWHERE"), -1);
    }

    #[test]
    fn the_answer_is_in_variables() {
        let web = OneAnswer::new(Ok((201, "made")));
        let mut bench = client(&web);
        assert_eq!(bench.read(&MODULE, "http_ok", None), Value::Int(0));
        run(&mut bench, "http://h/", "ANSWER");
        for (name, expected) in
            [("http_ok", "1"), ("http_rs", "201"), ("http_rr", "So It Is"), ("http_rb", "made"), ("http_bs", "4")]
        {
            assert_eq!(bench.read(&MODULE, name, None).to_bytes(), expected, "{name}");
        }
        assert_eq!(bench.read(&MODULE, "http_hdr", Some("X-Kind")), text("plain"));
        assert_eq!(bench.read(&MODULE, "http_mb", None), text("HTTP/1.1 201 So It Is\r\nx-kind: plain\r\n\r\nmade"));
        assert_eq!(bench.read(&MODULE, "http_ml", None), Value::Int(44));
        let web = OneAnswer::new(Err("no answer in time"));
        let mut bench = client(&web);
        run(&mut bench, "http://h/", "ANSWER");
        assert_eq!(bench.read(&MODULE, "http_ok", None), Value::Int(0));
        assert_eq!(bench.read(&MODULE, "http_err", None), text("no answer in time"));
        assert_eq!(bench.read(&MODULE, "http_rb", None), Value::Null);
    }

    #[test]
    fn settings_are_checked() {
        assert!(try_start(&MODULE, &[("connection_timeout", "250")]).is_ok());
        assert!(try_start(&MODULE, &[("connection_timeout", "0")]).is_err());
    }
}
