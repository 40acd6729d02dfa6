//! Module http_client: the request waits for the answer, and nobody else does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, Function, KeyRule, Module, Outcome, Param, ParamKind, Parameter, Routes, Server, Setup, SetupError, State,
    Value, Variable, WebAnswer, WebRequest,
};

use crate::setting::{ignored, list, number, text};

/// Asks web servers and waits for the answer.
pub static MODULE: Module = Module {
    name: "http_client",
    doc: "Asks web servers. The request waits for the answer while the server goes on with others. Certificates are checked as the \
          command line says.",
    parameters: PARAMETERS,
    functions: &[QUERY, QUERY_WITH_BODY, QUERY_WITH_HEADERS, GET, CONNECT, CONNECT_WITH_BODY],
    variables: &[ERROR],
    make,
    ..Module::EMPTY
};

const PARAMETERS: &[Parameter] = &[
    list("httpcon", "A server for http_connect(), as name=>URL; what follows a semicolon has no effect."),
    number(
        "connection_timeout",
        "4",
        "How long a request may take, in seconds; the server's own bound for waits holds too.",
    ),
    text("useragent", "ser", "The User-Agent header."),
    number("maxdatasize", "0", "Longest body of an answer in bytes; 0 stands for 1 MiB, which is the most."),
    number("query_result", "1", "0 gives http_client_query() the first line of an answer alone."),
    number("query_maxdatasize", "0", "As maxdatasize, for http_client_query()."),
    ignored("timeout_mode", "Has no effect."),
    ignored("keep_connections", "Has no effect: each request has a connection of its own."),
    ignored("httpredirect", "Has no effect: redirections are answers as others, and not followed."),
    ignored("verify_peer", "Has no effect: certificates are checked as the command line says."),
    ignored("verify_host", "Has no effect: certificates are checked as the command line says."),
    ignored("cacert", "Has no effect: certificates are checked as the command line says."),
    ignored("tlsversion", "Has no effect: TLS 1.2 and 1.3 are spoken."),
    ignored("cipher_suites", "Has no effect."),
    ignored("authmethod", "Has no effect."),
    ignored("netinterface", "Has no effect."),
];

const OUTPUT: Param = Param::required("variable", ParamKind::Output);
const URL: Param = Param::required("url", ParamKind::Format);
const BODY: Param = Param::required("body", ParamKind::Format);
const HEADERS: Param = Param::required("headers", ParamKind::Format);

const QUERY: Function = function(
    "http_client_query",
    &[URL, OUTPUT],
    "Gets a URL, puts the body of the answer into a variable and returns the status code. False when no answer comes.",
    "if (http_client_query(\"http://192.0.2.7/route?to=$rU\", \"$var(to)\") == 200) $ru = $var(to);",
    |call| query(call, 1),
);

const QUERY_WITH_BODY: Function = function(
    "http_client_query",
    &[URL, BODY, OUTPUT],
    "As with two arguments, posting a body to the URL; an empty one gets it.",
    "http_client_query(\"http://192.0.2.7/calls\", \"from=$fU\", \"$var(answer)\");",
    |call| query(call, 2),
);

const QUERY_WITH_HEADERS: Function = function(
    "http_client_query",
    &[URL, BODY, HEADERS, OUTPUT],
    "As with three arguments, with headers, a line each.",
    "http_client_query(\"http://192.0.2.7/calls\", \"{}\", \"Content-Type: application/json\", \"$var(answer)\");",
    |call| query(call, 3),
);

const GET: Function = function(
    "http_client_get",
    &[URL, BODY, HEADERS, OUTPUT],
    "Gets a URL, with a body where one is given and with headers, a line each; else as http_client_query().",
    "http_client_get(\"http://192.0.2.7/\", \"\", \"X-Caller: $fU\", \"$var(answer)\");",
    |call| match asked(call, "GET", Some(1), Some(2)) {
        Ok(request) => fetch(call, request, 3, true),
        Err(outcome) => outcome,
    },
);

const CONNECTION: Param = Param::required("connection", ParamKind::Format);
const PATH: Param = Param::required("path", ParamKind::Format);

const CONNECT: Function = function(
    "http_connect",
    &[CONNECTION, PATH, OUTPUT],
    "Gets a path of a server that httpcon names, puts the body of the answer into a variable and returns the status code. False \
     when no answer comes.",
    "http_connect(\"provider\", \"/numbers/$rU\", \"$var(number)\");",
    |call| connect(call, None, 2),
);

const CONNECT_WITH_BODY: Function = function(
    "http_connect",
    &[CONNECTION, PATH, Param::required("type", ParamKind::Format), BODY, OUTPUT],
    "As with three arguments, posting a body of a type.",
    "http_connect(\"provider\", \"/calls\", \"application/json\", \"{}\", \"$var(answer)\");",
    |call| connect(call, Some((2, 3)), 4),
);

const fn function(
    name: &'static str,
    params: &'static [Param],
    doc: &'static str,
    example: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params, routes: Routes::ANY, doc, example, run }
}

const ERROR: Variable = Variable {
    name: "curlerror",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "Why the last request of this script has failed, in words; undefined when it has not. The number in parentheses counts for \
          nothing.",
    example: "xlog(\"$curlerror(-1)\\n\");",
    read: |call, _| call.context.note::<Failure>().map_or(Value::Null, |failure| Value::Str(failure.0.clone())),
    write: None,
};

/// Why the last request has failed; a note.
struct Failure(Bytes);

/// The state of the module.
struct Client {
    server: Arc<dyn Server>,
    connections: HashMap<Bytes, String>,
    patience: Duration,
    agent: String,
    longest: usize,
    longest_query: usize,
    is_whole: bool,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let wrong = |name: &'static str, cause: String| SetupError::Setting { name, cause };
    let mut connections = HashMap::new();
    for line in setup.list("httpcon") {
        let line = String::from_utf8_lossy(&line).into_owned();
        let refuse = || wrong("httpcon", format!("`{line}` is not of the form name=>URL"));
        let (name, url) = line.split_once("=>").ok_or_else(refuse)?;
        let url = url.split(';').next().unwrap_or_default().trim();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        if name.trim().is_empty() || url.ends_with("://") {
            return Err(refuse());
        }
        connections.insert(Bytes::copy_from_slice(name.trim().as_bytes()), url);
    }
    let bound = |name: &'static str| match usize::try_from(setup.int(name)) {
        Ok(0) => Ok(super::LONGEST),
        Ok(bytes) => Ok(bytes.min(super::LONGEST)),
        Err(_) => Err(wrong(name, "must not be below 0".to_owned())),
    };
    let seconds = u64::try_from(setup.int("connection_timeout")).unwrap_or(0);
    if !(1..=3600).contains(&seconds) {
        return Err(wrong("connection_timeout", "must be from 1 to 3600 seconds".to_owned()));
    }
    Ok(Arc::new(Client {
        server: Arc::clone(setup.server),
        connections,
        patience: Duration::from_secs(seconds),
        agent: setup.text("useragent"),
        longest: bound("maxdatasize")?,
        longest_query: bound("query_maxdatasize")?,
        is_whole: setup.int("query_result") != 0,
    }))
}

fn query(call: &mut Call<'_>, output: usize) -> Outcome {
    let has_body = output > 1 && !call.text(1).is_empty();
    let method = if has_body { "POST" } else { "GET" };
    match asked(call, method, (output > 1).then_some(1), (output > 2).then_some(2)) {
        Ok(request) => fetch(call, request, output, call.state::<Client>().is_whole),
        Err(outcome) => outcome,
    }
}

/// The request that the arguments describe: URL, body and headers.
fn asked(call: &Call<'_>, method: &str, body: Option<usize>, headers: Option<usize>) -> Result<WebRequest, Outcome> {
    let client = call.state::<Client>();
    let mut request = super::request(method, &call.text(0));
    request.longest = client.longest_query;
    request.body = body.map_or_else(Bytes::new, |n| call.text(n));
    if let Some(n) = headers {
        request.headers = super::headers(&call.text(n)).map_err(Outcome::fail)?;
    }
    super::type_body(&mut request, super::FORM);
    Ok(request)
}

fn connect(call: &mut Call<'_>, body: Option<(usize, usize)>, output: usize) -> Outcome {
    let client = call.state::<Client>();
    let (name, path) = (call.text(0), call.text(1));
    let Some(url) = client.connections.get(&name) else {
        return Outcome::fail(format!("httpcon names no `{}`", String::from_utf8_lossy(&name)));
    };
    let path = String::from_utf8_lossy(&path);
    let slash = if path.is_empty() || path.starts_with(['/', '?']) { "" } else { "/" };
    let url = format!("{}{slash}{path}", url.trim_end_matches('/'));
    let mut request = super::request(if body.is_some() { "POST" } else { "GET" }, url.as_bytes());
    request.longest = client.longest;
    if let Some((kind, body)) = body {
        request.body = call.text(body);
        super::type_body(&mut request, &String::from_utf8_lossy(&call.text(kind)));
    }
    fetch(call, request, output, true)
}

fn fetch(call: &mut Call<'_>, mut request: WebRequest, output: usize, is_whole: bool) -> Outcome {
    let client = call.state::<Client>();
    call.context.take_note::<Failure>();
    request.patience = client.patience;
    request.headers.push(("User-Agent".to_owned(), client.agent.clone()));
    let Some(web) = client.server.web() else { return Outcome::fail("web servers cannot be asked here") };
    Outcome::wait(web.fetch(request), move |call, answer| match answer {
        Ok(answer) => take(call, &answer, output, is_whole),
        Err(cause) => {
            call.context.set_note(Failure(cause.clone().into()));
            Outcome::fail(format!("no answer from the web server: {cause}"))
        }
    })
}

fn take(call: &mut Call<'_>, answer: &WebAnswer, output: usize, is_whole: bool) -> Outcome {
    let line = || answer.body.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let body = if is_whole { answer.body.clone() } else { answer.body.slice_ref(line()) };
    match call.write_output(output, Value::Str(body)) {
        Ok(()) => Outcome::Value(answer.status.into()),
        Err(fault) => Outcome::Fail(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Connected, OneAnswer};
    use super::*;
    use crate::testing::{Bench, INVITE, text, try_start, variable};
    use module_api::Arg;

    fn client(web: &Arc<OneAnswer>, is_whole: bool) -> Bench {
        let client = Client {
            server: Arc::new(Connected(Arc::clone(web))),
            connections: HashMap::from([(Bytes::from_static(b"one"), "http://h.example/api".to_owned())]),
            patience: Duration::from_secs(1),
            agent: "ser".to_owned(),
            longest: 100,
            longest_query: 100,
            is_whole,
        };
        Bench::with_state(INVITE, Arc::new(client))
    }

    fn run(bench: &mut Bench, function: &str, args: &[&str]) -> (i64, Option<Value>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
        let args: Vec<Arg> = args.iter().map(|arg| Arg::Value(text(arg))).chain([variable("x")]).collect();
        let Outcome::Wait(wait) = bench.outcome(&MODULE, function, &args) else { panic!("{function} does not wait") };
        let resume = runtime.block_on(wait.0);
        let mut call = Call::new(&mut bench.context, &mut bench.host, &args, &bench.state, bench.dialect);
        let code = match resume(&mut call) {
            Outcome::Value(code) => code,
            Outcome::Fail(fault) => fault.code,
            _ => panic!("{function} does not end"),
        };
        (code, bench.context.vars.first(b"x").cloned())
    }

    #[test]
    fn an_answer_gives_its_status_and_its_body() {
        let web = OneAnswer::new(Ok((404, "none\nat all")));
        let mut bench = client(&web, true);
        assert_eq!(run(&mut bench, "http_client_query", &["http://h/"]), (404, Some(text("none\nat all"))));
        let asked = web.asked();
        assert_eq!((asked.method.as_str(), asked.url.as_str(), asked.body.len()), ("GET", "http://h/", 0));
        assert_eq!(run(&mut client(&web, false), "http_client_query", &["http://h/"]).1, Some(text("none")));
        run(&mut bench, "http_client_query", &["http://h/", "a=1", "X-A: 1"]);
        let asked = web.asked();
        let has = |name: &str| asked.headers.iter().any(|(own, _)| own == name);
        assert!(
            asked.method == "POST" && asked.body == "a=1" && has("X-A") && has("Content-Type") && has("User-Agent")
        );
        run(&mut bench, "http_client_query", &["http://h/", ""]);
        assert_eq!(web.asked().method, "GET");
    }

    #[test]
    fn named_servers_are_asked_by_path() {
        let web = OneAnswer::new(Ok((200, "ok")));
        let mut bench = client(&web, true);
        assert_eq!(run(&mut bench, "http_connect", &["one", "a/b"]).0, 200);
        assert_eq!(web.asked().url, "http://h.example/api/a/b");
        run(&mut bench, "http_connect", &["one", "/c", "application/json", "{}"]);
        let asked = web.asked();
        assert_eq!((asked.method.as_str(), asked.headers[0].1.as_str()), ("POST", "application/json"));
        let args = [Arg::Value(text("two")), Arg::Value(text("/")), variable("x")];
        assert_eq!(bench.run_args(&MODULE, "http_connect", &args), -1);
    }

    #[test]
    fn a_failure_is_false_and_can_be_read() {
        let web = OneAnswer::new(Err("no answer in time"));
        let mut bench = client(&web, true);
        assert_eq!(run(&mut bench, "http_client_query", &["http://h/"]), (-1, None));
        assert_eq!(bench.read(&MODULE, "curlerror", Some("28")), text("no answer in time"));
    }

    #[test]
    fn settings_are_checked() {
        assert!(try_start(&MODULE, &[("httpcon", "one=>h.example;timeout=3")]).is_ok());
        for wrong in [("httpcon", "one"), ("httpcon", "=>h"), ("httpcon", "a=>"), ("connection_timeout", "0")] {
            assert!(try_start(&MODULE, &[wrong]).is_err(), "{wrong:?}");
        }
    }
}
