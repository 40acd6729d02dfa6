//! A small world for scripts: a catalog of modules, files in memory, a server that remembers.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::*;
use script::{Configuration, End, LoadOptions, Loaded, Progress, Reader, Run, load};
use sip_message::{Limits, Message, Transport};

pub(crate) struct Files(pub(crate) HashMap<String, String>);

impl Files {
    pub(crate) fn one(text: &str) -> Files {
        Files(HashMap::from([("test.cfg".to_owned(), text.to_owned())]))
    }

    pub(crate) fn and(mut self, path: &str, text: &str) -> Files {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }
}

impl Reader for Files {
    fn read(&self, path: &str) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn resolve(&self, host: &str) -> Vec<std::net::IpAddr> {
        if host == "gw.example.com" { vec!["192.0.2.9".parse().unwrap()] } else { Vec::new() }
    }
}

pub(crate) fn load_text(text: &str) -> Loaded {
    load_files(&Files::one(text), &[])
}

pub(crate) fn load_files(files: &Files, defines: &[&str]) -> Loaded {
    let defines = defines.iter().map(|name| ((*name).to_owned(), None)).collect();
    load("test.cfg", &LoadOptions { defines, catalog: CATALOG, reader: files })
}

/// Loads a script that must be without errors.
pub(crate) fn configuration(text: &str) -> Configuration {
    let loaded = load_text(text);
    loaded.configuration.unwrap_or_else(|| panic!("{}", loaded.diagnostics.render(false)))
}

/// The server of a test: it remembers what the script asked for.
pub(crate) struct Server {
    pub(crate) told: Vec<String>,
    pub(crate) log: Vec<String>,
    prefix: Bytes,
}

/// A script with a request in hand.
pub(crate) struct World {
    pub(crate) program: Arc<script::BoundProgram>,
    pub(crate) context: Context,
    pub(crate) server: Server,
}

impl World {
    pub(crate) fn new(text: &str) -> World {
        World::with(text, INVITE)
    }

    pub(crate) fn with(text: &str, message: &str) -> World {
        World::on(configuration(text), message)
    }

    pub(crate) fn of(configuration: Configuration) -> World {
        World::on(configuration, INVITE)
    }

    /// Runs the main route and says what it told.
    pub(crate) fn told(mut self) -> Vec<String> {
        self.run();
        self.server.told
    }

    fn on(configuration: Configuration, message: &str) -> World {
        let states = configuration.modules.iter().map(|_| Arc::new(()) as Arc<dyn State>).collect();
        let message = message.replace('\n', "\r\n");
        let message = Arc::new(Message::parse(Bytes::from(message), &Limits::default()).unwrap());
        let arrival = Arrival {
            source: "198.51.100.7:5070".parse().unwrap(),
            local: "192.0.2.1:5060".parse().unwrap(),
            transport: Transport::Udp,
            socket: SocketId(0),
            connection: None,
        };
        World {
            program: Arc::new(configuration.program.bind(states)),
            context: Context::new(message, arrival, RouteKind::Request),
            server: Server { told: Vec::new(), log: Vec::new(), prefix: Bytes::new() },
        }
    }

    pub(crate) fn start(&mut self) -> (Run, Progress) {
        let mut run = Run::start(&self.program, self.program.main().unwrap());
        let progress = run.step_until_done(&mut self.context, &mut self.server);
        (run, progress)
    }

    /// Runs the main route to its end.
    pub(crate) fn run(&mut self) -> End {
        match self.start() {
            (_, Progress::Done(end)) => end,
            (_, Progress::Wait(_)) => panic!("the script waits"),
        }
    }
}

/// What the script told (with `tell`) until its end.
pub(crate) fn told(text: &str) -> Vec<String> {
    let mut world = World::new(text);
    world.run();
    world.server.told
}

pub(crate) const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK1
Max-Forwards: 70
From: \"Alice\" <sip:alice@example.org>;tag=1
To: <sip:bob@example.com>
Call-ID: c1@example.org
CSeq: 1 INVITE
Subject: one
Subject: two
Content-Length: 0

";

impl Host for Server {
    fn now(&self) -> Instant {
        unreachable!("no test needs the time")
    }
    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_000_000)
    }
    fn random(&mut self) -> u64 {
        4
    }
    fn sockets(&self) -> &[Socket] {
        &[]
    }
    fn is_myself(&self, host: &[u8], port: Option<u16>, _: Option<Transport>) -> bool {
        matches!(host, b"example.com" | b"192.0.2.1") && matches!(port, None | Some(5060))
    }
    fn reply_stateless(&mut self, _: &mut Context, _: &Reply<'_>) -> Result<(), ReplyError> {
        Ok(())
    }
    fn reply(&mut self, _: &mut Context, _: &Reply<'_>) -> Result<(), ReplyError> {
        Ok(())
    }
    fn forward(&mut self, _: &mut Context, _: Option<&Bytes>) -> Result<(), RelayError> {
        Ok(())
    }
    fn matched(&mut self, _: &Context) -> Matched {
        Matched::None
    }
    fn new_transaction(&mut self, _: &mut Context) -> NewTransaction {
        NewTransaction::Full
    }
    fn relay(&mut self, _: &mut Context, _: &RelayOptions) -> Result<(), RelayError> {
        Ok(())
    }
    fn standing(&self, _: &Context) -> Option<Standing> {
        None
    }
    fn cancel_branches(&mut self, _: TransactionKey) {}
    fn release(&mut self, _: &mut Context) {}
    fn request(&mut self, _: module_api::OwnRequest, _: module_api::OnAnswer) {
        unreachable!("no test sends a request")
    }
    fn log(&mut self, level: Level, text: &[u8]) {
        let mut text = String::from_utf8_lossy(text).into_owned();
        // What scripts tell arrives here too, by a level of its own.
        if level == Level::Info {
            self.told.push(text);
        } else {
            text.insert_str(0, &String::from_utf8_lossy(&self.prefix));
            self.log.push(text);
        }
    }
    fn set_log_prefix(&mut self, prefix: Bytes) -> Bytes {
        std::mem::replace(&mut self.prefix, prefix)
    }
}

const fn function(
    name: &'static str,
    params: &'static [Param],
    routes: Routes,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function { name, params, routes, doc: "For tests.", example: "f();", run }
}

const fn variable(
    name: &'static str,
    key: KeyRule,
    read: fn(&mut Call<'_>, &Selector<'_>) -> Value,
    write: Option<WriteVariable>,
) -> Variable {
    Variable { name, key, routes: Routes::ANY, doc: "For tests.", example: "$var(x)", read, write }
}

const fn module(
    name: &'static str,
    parameters: &'static [Parameter],
    functions: &'static [Function],
    variables: &'static [Variable],
) -> Module {
    Module { name, doc: "For tests.", parameters, functions, variables, ..Module::EMPTY }
}

fn tell(call: &mut Call<'_>, text: String) {
    call.host.log(Level::Info, text.as_bytes());
}

fn uri(call: &mut Call<'_>, _: &Selector<'_>) -> Value {
    Value::Str(call.context.target.uri.clone())
}

static CORE: Module = module(
    "core",
    &[],
    &[
        function("log", &[Param::required("text", ParamKind::Str)], Routes::ANY, |call| {
            tell(call, format!("{:?}", call.text(0)));
            Outcome::TRUE
        }),
        function(
            "log",
            &[Param::required("level", ParamKind::Str), Param::required("text", ParamKind::Str)],
            Routes::ANY,
            |call| {
                tell(call, format!("{:?} {:?}", call.text(0), call.text(1)));
                Outcome::TRUE
            },
        ),
        function("setflag", &[Param::required("flag", ParamKind::Flag)], Routes::ANY, |call| {
            let flag = call.int(0).unwrap_or(99);
            call.context.set_flag(flag as u32, true);
            Outcome::TRUE
        }),
        function("isflagset", &[Param::required("flag", ParamKind::Flag)], Routes::ANY, |call| {
            Outcome::from(call.context.has_flag(call.int(0).unwrap_or(99) as u32))
        }),
        function(
            "forward",
            &[Param::optional("host", ParamKind::HostPort), Param::optional("port", ParamKind::Str)],
            Routes::REQUEST,
            |call| {
                tell(call, format!("forward {:?} {:?}", call.text(0), call.text(1)));
                Outcome::TRUE
            },
        ),
        function("force_rport", &[], Routes::REQUESTS, |_| Outcome::TRUE),
    ],
    &[
        variable(
            "method",
            KeyRule::None,
            |call, _| Value::Str(Bytes::copy_from_slice(call.context.message.method_text())),
            None,
        ),
        variable("uri", KeyRule::None, uri, None),
        variable("status", KeyRule::None, uri, None),
        variable("from_uri", KeyRule::None, |_, _| Value::from_static("sip:alice@example.org"), None),
        variable(
            "src_ip",
            KeyRule::None,
            |call, _| Value::Str(call.context.arrival.source.ip().to_string().into()),
            None,
        ),
        variable("src_port", KeyRule::None, |call, _| Value::Int(call.context.arrival.source.port().into()), None),
        variable("proto", KeyRule::None, |call, _| Value::from_static(call.context.arrival.transport.as_str()), None),
        variable("msg:len", KeyRule::None, |call, _| Value::Int(call.context.message.bytes().len() as i64), None),
    ],
);

static PV: Module = module(
    "pv",
    &[],
    &[],
    &[
        variable(
            "var",
            KeyRule::Required,
            |call, selector| call.context.vars.first(selector.key()).cloned().unwrap_or(Value::Int(0)),
            Some(|call, selector, value| {
                call.context.vars.replace(selector.key.cloned().unwrap_or_default(), value);
                Ok(())
            }),
        ),
        variable(
            "avp",
            KeyRule::Required,
            |call, selector| {
                let n = match selector.index {
                    Index::At(n) => n as usize,
                    _ => 0,
                };
                call.context.avps.all(selector.key()).nth(n).cloned().unwrap_or_default()
            },
            Some(|call, selector, value| {
                if value.is_null() {
                    call.context.avps.remove(selector.key());
                } else {
                    call.context.avps.push(selector.key.cloned().unwrap_or_default(), value);
                }
                Ok(())
            }),
        ),
        variable(
            "ru",
            KeyRule::None,
            uri,
            Some(|call, _, value| {
                call.context.set_uri(value.to_bytes());
                Ok(())
            }),
        ),
        variable("T_req", KeyRule::Of(Other::Request), |_, _| Value::Null, None),
        variable("ci", KeyRule::None, |_, _| Value::from_static("c1@example.org"), None),
        variable("si", KeyRule::None, |_, _| Value::from_static("198.51.100.7"), None),
        variable(
            "rm",
            KeyRule::None,
            |call, _| Value::Str(Bytes::copy_from_slice(call.context.message.method_text())),
            None,
        ),
        variable(
            "hdr",
            KeyRule::Required,
            |call, selector| {
                let message = Arc::clone(&call.context.message);
                let mut values =
                    message.headers_with_name(selector.key()).map(|header| Bytes::copy_from_slice(header.value));
                let n = if let Index::At(n) = selector.index { n as usize } else { 0 };
                values.nth(n).into()
            },
            None,
        ),
        Variable {
            name: "T_reply_code",
            key: KeyRule::None,
            routes: Routes::FAILURE.or(Routes::REPLIES),
            doc: "For tests.",
            example: "$T_reply_code",
            read: |_, _| Value::Int(486),
            write: None,
        },
    ],
);

/// Functions with which tests look into a run.
static PROBE: Module = module(
    "probe",
    &[],
    &[
        function("tell", &[Param::required("text", ParamKind::Format)], Routes::ANY, |call| {
            tell(call, format!("{}", String::from_utf8_lossy(&call.text(0))));
            Outcome::TRUE
        }),
        function("code", &[Param::required("number", ParamKind::Int)], Routes::ANY, |call| {
            Outcome::Value(call.int(0).unwrap_or(0))
        }),
        function("fail", &[], Routes::ANY, |_| Outcome::fail("the database is away")),
        function("finish", &[], Routes::ANY, |_| Outcome::Finish),
        function(
            "put",
            &[Param::required("to", ParamKind::Output), Param::required("text", ParamKind::Str)],
            Routes::ANY,
            |call| {
                let text = call.text(1);
                Outcome::from(call.write_output(0, Value::Str(text)).is_ok())
            },
        ),
        function("wait", &[Param::required("text", ParamKind::Format)], Routes::ANY, |_| {
            Outcome::wait(std::future::ready(7), |call: &mut Call<'_>, seven| {
                let text = format!("{} {seven}", String::from_utf8_lossy(&call.text(0)));
                tell(call, text);
                Outcome::Value(seven)
            })
        }),
    ],
    &[],
);

static TM: Module = module(
    "tm",
    &[
        Parameter { name: "fr_timer", kind: SettingKind::Int, default: "30000", doc: "Time in milliseconds." },
        Parameter { name: "contacts_avp", kind: SettingKind::Str, default: "", doc: "An attribute." },
    ],
    &[
        function("t_relay", &[], Routes::REQUESTS, |call| {
            tell(call, "t_relay".into());
            Outcome::TRUE
        }),
        function("t_newtran", &[], Routes::REQUEST, |_| Outcome::TRUE),
        function(
            "t_reply",
            &[Param::required("code", ParamKind::StatusCode), Param::required("reason", ParamKind::Format)],
            Routes::REQUESTS,
            |_| Outcome::TRUE,
        ),
        function(
            "t_on_failure",
            &[Param::required("route", ParamKind::Route(RouteKind::Failure))],
            Routes::REQUESTS.or(Routes::REPLIES),
            |call| {
                call.context.hooks.failure = call.route(0);
                Outcome::TRUE
            },
        ),
        function("t_check_status", &[Param::required("pattern", ParamKind::Regex)], Routes::FAILURE, |_| Outcome::TRUE),
    ],
    &[],
);

static SL: Module = module(
    "sl",
    &[],
    &[function(
        "sl_send_reply",
        &[Param::required("code", ParamKind::StatusCode), Param::required("reason", ParamKind::Format)],
        Routes::REQUESTS,
        |call| {
            tell(call, format!("reply {} {}", call.int(0).unwrap_or(0), String::from_utf8_lossy(&call.text(1))));
            Outcome::TRUE
        },
    )],
    &[],
);

static XLOG: Module = module(
    "xlog",
    &[],
    &[
        function("xlog", &[Param::required("text", ParamKind::Format)], Routes::ANY, |call| {
            tell(call, String::from_utf8_lossy(&call.text(0)).into_owned());
            Outcome::TRUE
        }),
        function(
            "xlog",
            &[Param::required("level", ParamKind::Str), Param::required("text", ParamKind::Format)],
            Routes::ANY,
            |call| {
                tell(call, String::from_utf8_lossy(&call.text(1)).into_owned());
                Outcome::TRUE
            },
        ),
    ],
    &[],
);

/// Variables that the language itself reads.
static OWN: Module = module(
    "own",
    &[],
    &[],
    &[
        variable("sel", KeyRule::Required, |_, selector| selector.key.cloned().into(), None),
        variable("cnt", KeyRule::Required, |_, _| Value::Null, None),
        variable("ccp", KeyRule::Required, |_, _| Value::Null, None),
        variable("cfg", KeyRule::Required, |_, _| Value::Null, None),
    ],
);

pub(crate) static CATALOG: &[&Module] = &[&CORE, &PV, &PROBE, &TM, &SL, &XLOG, &OWN];
