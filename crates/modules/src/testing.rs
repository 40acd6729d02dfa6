//! A server made of nothing but memory, for tests of module functions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{
    Arg, Arrival, Call, Context, Dialect, Function, Host, Level, Matched, Module, NewTransaction, OnAnswer, Outcome,
    OwnAnswer, OwnRequest, RelayError, RelayOptions, Reply, ReplyError, RouteId, RouteKind, Socket, SocketId, Standing,
    State, TransactionKey, Value,
};
use sip_message::{Limits, Message, Transport};

/// What the fake server was asked to do, as text.
#[derive(Debug)]
pub(crate) struct FakeHost {
    pub(crate) done: Vec<String>,
    pub(crate) logged: Vec<(Level, String)>,
    pub(crate) matched: Matched,
    pub(crate) new_transaction: NewTransaction,
    pub(crate) relay: Result<(), RelayError>,
    pub(crate) standing: Option<Standing>,
    pub(crate) unix_time: Duration,
    pub(crate) zone: module_api::Zone,
    /// The routes that the script has, by name.
    pub(crate) routes: Vec<&'static str>,
    sockets: Vec<Socket>,
    start: Instant,
    pub(crate) random: u64,
}

pub(crate) const KEY: TransactionKey = TransactionKey { slot: 1, generation: 1 };

impl Default for FakeHost {
    fn default() -> FakeHost {
        let socket = |transport, port| Socket {
            transport,
            address: ([192, 0, 2, 1], port).into(),
            advertised: None,
            name: (port == 5061).then(|| Bytes::from_static(b"secure")),
        };
        FakeHost {
            done: Vec::new(),
            logged: Vec::new(),
            matched: Matched::None,
            new_transaction: NewTransaction::Created(KEY),
            relay: Ok(()),
            standing: None,
            unix_time: Duration::from_secs(1_700_000_000),
            zone: module_api::Zone::utc(),
            routes: Vec::new(),
            sockets: vec![socket(Transport::Udp, 5060), socket(Transport::Tcp, 5060), socket(Transport::Tls, 5061)],
            start: Instant::now(),
            random: 0,
        }
    }
}

impl Host for FakeHost {
    fn now(&self) -> Instant {
        self.start
    }

    fn unix_time(&self) -> Duration {
        self.unix_time
    }

    fn zone(&self, _: i64) -> module_api::Zone {
        self.zone.clone()
    }

    fn random(&mut self) -> u64 {
        self.random += 1;
        self.random
    }

    fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    fn is_myself(&self, host: &[u8], port: Option<u16>, _: Option<Transport>) -> bool {
        (host == b"example.com" || host == b"192.0.2.1") && matches!(port, None | Some(5060 | 5061))
    }

    fn reply_stateless(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        self.note_reply("stateless", context, reply)
    }

    fn reply(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        if context.transaction.is_none() {
            return Err(ReplyError::NoTransaction);
        }
        self.note_reply("stateful", context, reply)
    }

    fn forward(&mut self, context: &mut Context, to: Option<&Bytes>) -> Result<(), RelayError> {
        let to = to.unwrap_or(&context.target.uri);
        self.done.push(format!("forward {}", String::from_utf8_lossy(to)));
        self.relay
    }

    fn send_bytes(&mut self, _: &Context, target: module_api::Target, bytes: Bytes) -> Result<(), RelayError> {
        let from = target.socket.map(|socket| format!(" from {}", socket.0)).unwrap_or_default();
        self.done.push(format!("send {} bytes to {}{from}", bytes.len(), String::from_utf8_lossy(&target.uri)));
        self.relay
    }

    fn forward_reply(&mut self, context: &Context) -> bool {
        let mut out = Vec::new();
        sip_message::write(&context.message, &[&context.edits], &mut out);
        let line = String::from_utf8_lossy(&out).lines().next().unwrap_or_default().replace("SIP/2.0 ", "");
        self.done.push(format!("forward reply {line}"));
        true
    }

    fn matched(&mut self, _: &Context) -> Matched {
        self.matched
    }

    fn new_transaction(&mut self, context: &mut Context) -> NewTransaction {
        if let NewTransaction::Created(key) = self.new_transaction {
            context.transaction = Some(key);
        }
        self.done.push("new transaction".into());
        self.new_transaction
    }

    fn relay(&mut self, context: &mut Context, options: &RelayOptions) -> Result<(), RelayError> {
        let mut line = format!("relay {}", String::from_utf8_lossy(&context.target.uri));
        for branch in &context.branches {
            line.push_str(&format!(" + {}", String::from_utf8_lossy(&branch.uri)));
        }
        if let Some(to) = &options.to {
            line.push_str(&format!(" to {}", String::from_utf8_lossy(to)));
        }
        if let Some(transport) = options.transport {
            line.push_str(&format!(" over {}", transport.as_str()));
        }
        for (on, word) in [
            (options.is_quiet, " quietly"),
            (options.no_error_reply, " without error reply"),
            (options.is_replica, " as replica"),
        ] {
            line.push_str(if on { word } else { "" });
        }
        self.done.push(line);
        self.relay
    }

    fn standing(&self, _: &Context) -> Option<Standing> {
        self.standing.clone()
    }

    fn cancel_branches(&mut self, _: TransactionKey) {
        self.done.push("cancel branches".into());
    }

    fn cancel_branch(&mut self, _: TransactionKey, branch: u16, all_but_it: bool) {
        let which = if all_but_it { "branches but" } else { "branch" };
        self.done.push(format!("cancel {which} {branch}"));
    }

    fn release(&mut self, _: &mut Context) {
        self.done.push("release".into());
    }

    fn request(&mut self, request: OwnRequest, on_answer: OnAnswer) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let to = request.destination.as_deref().map(|to| format!(" via {}", text(to))).unwrap_or_default();
        self.done.push(format!("request {} {}{to}", text(&request.method), text(&request.uri)));
        on_answer(self, OwnAnswer::unsent(200));
    }

    fn find_route(&self, _: Option<&Context>, _: RouteKind, name: &str) -> Option<RouteId> {
        let at = self.routes.iter().position(|route| *route == name)?;
        u16::try_from(at).ok().map(RouteId)
    }

    fn run_route(&mut self, route: RouteId, _: &mut Context) -> bool {
        self.done.push(format!("route {}", self.routes[usize::from(route.0)]));
        true
    }

    fn start_route(&mut self, route: RouteId, _: Context) {
        self.done.push(format!("route {}", self.routes[usize::from(route.0)]));
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        self.logged.push((level, String::from_utf8_lossy(text).into_owned()));
    }
}

impl FakeHost {
    fn note_reply(&mut self, how: &str, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        if !context.message.is_request() || context.message.method() == sip_message::Method::Ack {
            return Err(ReplyError::NotARequest);
        }
        context.is_answered |= reply.code >= 200;
        let text = String::from_utf8_lossy(reply.reason);
        let headers = String::from_utf8_lossy(reply.headers).replace("\r\n", "|");
        self.done.push(format!("{how} {} {text} {headers}", reply.code).replace("  ", " ").trim_end().to_owned());
        Ok(())
    }
}

/// A context, a fake server and a module's state: everything that a call needs.
pub(crate) struct Bench {
    pub(crate) context: Context,
    pub(crate) host: FakeHost,
    pub(crate) state: Arc<dyn State>,
    pub(crate) dialect: Dialect,
}

pub(crate) const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bK77\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.com>;tag=9fxced76sl\r\n\
    To: Bob <sip:bob@example.com>\r\n\
    Call-ID: 3848276298220188511@198.51.100.7\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:alice@198.51.100.7:5070>\r\n\
    Subject: lunch\r\n\
    Content-Length: 0\r\n\r\n";

impl Bench {
    /// A call about `text`, which arrived from 198.51.100.7:5070 over UDP.
    pub(crate) fn new(text: &str) -> Bench {
        Bench::with_state(text, Arc::new(()))
    }

    /// As [`Bench::new`], with a module's state.
    pub(crate) fn with_state(text: &str, state: Arc<dyn State>) -> Bench {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default());
        let arrival = Arrival {
            source: ([198, 51, 100, 7], 5070).into(),
            local: ([192, 0, 2, 1], 5060).into(),
            transport: Transport::Udp,
            socket: SocketId(0),
            connection: None,
        };
        let message = Arc::new(message.expect("a test's message can be read"));
        Bench {
            context: Context::new(message, arrival, RouteKind::Request),
            host: FakeHost::default(),
            state,
            dialect: Dialect::Kamailio,
        }
    }

    /// An INVITE from Alice to Bob.
    pub(crate) fn invite() -> Bench {
        Bench::new(INVITE)
    }

    /// The reply to that INVITE.
    pub(crate) fn reply(status: &str) -> Bench {
        let (_, headers) = INVITE.split_once("\r\n").expect("it has a start line");
        Bench::new(&format!("SIP/2.0 {status}\r\n{headers}"))
    }

    /// Runs function `name` of `module` with string arguments; returns its code, 1000 for the end of the script.
    pub(crate) fn run(&mut self, module: &Module, name: &str, args: &[&str]) -> i64 {
        let args: Vec<Arg> =
            args.iter().map(|text| Arg::Value(Value::from(Bytes::copy_from_slice(text.as_bytes())))).collect();
        self.run_args(module, name, &args)
    }

    /// As [`Bench::run`], with any arguments.
    pub(crate) fn run_args(&mut self, module: &Module, name: &str, args: &[Arg]) -> i64 {
        match self.outcome(module, name, args) {
            Outcome::Value(code) => code,
            Outcome::Fail(fault) => fault.code,
            Outcome::Finish => 1000,
            Outcome::Wait(_) => panic!("{name} waits"),
        }
    }

    /// The state of the module, by its type.
    pub(crate) fn state_of<T: State>(&self) -> Arc<T> {
        let state: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(&self.state) as _;
        state.downcast().expect("a test knows the type of the state")
    }

    /// As [`Bench::run`], waiting for what the function waits for.
    pub(crate) fn run_waiting(
        &mut self,
        module: &Module,
        name: &str,
        args: &[&str],
        runtime: &tokio::runtime::Runtime,
    ) -> i64 {
        let args: Vec<Arg> = args.iter().map(|arg| Arg::Value(text(arg))).collect();
        let mut outcome = self.outcome(module, name, &args);
        loop {
            outcome = match outcome {
                Outcome::Value(code) => return code,
                Outcome::Fail(fault) => return fault.code,
                Outcome::Finish => return 1000,
                Outcome::Wait(wait) => {
                    let resume = runtime.block_on(wait.0);
                    resume(&mut Call::new(&mut self.context, &mut self.host, &args, &self.state, self.dialect))
                }
            };
        }
    }

    /// What function `name` of `module` answers.
    pub(crate) fn outcome(&mut self, module: &Module, name: &str, args: &[Arg]) -> Outcome {
        let function: &Function = module
            .functions
            .iter()
            .find(|f| f.name == name && (f.required()..=f.params.len()).contains(&args.len()))
            .unwrap_or_else(|| panic!("no {name} with {} arguments", args.len()));
        let mut call = Call::new(&mut self.context, &mut self.host, args, &self.state, self.dialect);
        (function.run)(&mut call)
    }

    /// Reads a variable of `module`.
    pub(crate) fn read(&mut self, module: &Module, name: &str, key: Option<&str>) -> Value {
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let selector = module_api::Selector { key: key.as_ref(), index: module_api::Index::Default };
        let variable = module.variables.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no ${name}"));
        let mut call = Call::new(&mut self.context, &mut self.host, &[], &self.state, self.dialect);
        (variable.read)(&mut call, &selector)
    }

    /// Writes a variable of `module`.
    pub(crate) fn write(&mut self, module: &Module, name: &str, key: Option<&str>, value: Value) {
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let selector = module_api::Selector { key: key.as_ref(), index: module_api::Index::Default };
        let variable = module.variables.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no ${name}"));
        let write = variable.write.unwrap_or_else(|| panic!("${name} is read-only"));
        let mut call = Call::new(&mut self.context, &mut self.host, &[], &self.state, self.dialect);
        write(&mut call, &selector, value).unwrap_or_else(|fault| panic!("${name}: {}", fault.cause));
    }

    /// The current Request-URI as text.
    pub(crate) fn uri(&self) -> String {
        String::from_utf8_lossy(&self.context.target.uri).into_owned()
    }

    /// The message as it would leave, edits applied.
    pub(crate) fn written(&self) -> String {
        let mut out = Vec::new();
        sip_message::write(&self.context.message, &[&self.context.edits], &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Calls commands of a module as an operator would.
pub(crate) struct CommandBench {
    state: Arc<dyn State>,
    sockets: Vec<Socket>,
    now: Instant,
    server: Arc<dyn module_api::Server>,
    /// Wall-clock time of each call.
    pub(crate) unix_time: Duration,
}

impl CommandBench {
    /// A bench for a module whose state is `state`.
    pub(crate) fn new(state: Arc<dyn State>) -> CommandBench {
        let host = FakeHost::default();
        CommandBench {
            state,
            now: host.now(),
            server: Arc::new(module_api::NoServer),
            unix_time: host.unix_time,
            sockets: host.sockets,
        }
    }

    /// Has the module write down what it holds, as at the end of the server.
    pub(crate) fn save(&self, module: &Module) {
        let save = module.save.expect("the module saves");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(save(&self.state));
    }

    /// The monotonic clock of each call.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Calls one of `commands` with a line as typed behind `serctl`.
    pub(crate) fn run(
        &self,
        commands: &'static [module_api::Command],
        line: &str,
    ) -> Result<module_api::Data, module_api::CommandError> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let command = commands.iter().find(|command| command.is_called(name)).unwrap_or_else(|| panic!("no {name}"));
        self.call(command, words.map(module_api::Data::from).collect())
    }

    /// As [`CommandBench::run`], with arguments that may hold spaces.
    pub(crate) fn call(
        &self,
        command: &'static module_api::Command,
        args: Vec<module_api::Data>,
    ) -> Result<module_api::Data, module_api::CommandError> {
        let args = command.accept(args)?;
        let (state, sockets) = (&self.state, &self.sockets);
        let call = module_api::CommandCall {
            now: self.now,
            unix_time: self.unix_time,
            sockets,
            server: &self.server,
            args: &args,
            state,
        };
        match (command.run)(&call) {
            module_api::Answer::Now(result) => result,
            module_api::Answer::Later(work) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime starts").block_on(work)
            }
        }
    }

    /// The state of the module.
    pub(crate) fn state<T: State>(&self) -> Arc<T> {
        let state: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(&self.state) as _;
        state.downcast().expect("a test knows the type of the state")
    }
}

/// An argument that names the variable `$var(key)`.
pub(crate) fn variable(key: &str) -> Arg {
    let variable = crate::pv::MODULE.variables.iter().find(|variable| variable.name == "var");
    Arg::Variable(module_api::OutputVariable {
        variable: variable.expect("pv has $var"),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        index: module_api::Index::Default,
        state: Arc::new(()),
    })
}

/// A string value.
pub(crate) fn text(text: &str) -> Value {
    Value::Str(Bytes::copy_from_slice(text.as_bytes()))
}

/// Makes the state of `module` as the server would, without a runtime.
pub(crate) fn make(
    module: &Module,
    settings: &[module_api::Setting],
    dialect: Dialect,
    others: &dyn Fn(&str) -> Option<Arc<dyn State>>,
) -> Result<Arc<dyn State>, module_api::SetupError> {
    let statistics = module_api::Statistics::default();
    let server: Arc<dyn module_api::Server> = Arc::new(module_api::NoServer);
    let log: module_api::LogLine = Arc::new(|_, _| {});
    let binding = module_api::Binding {
        others,
        dialect,
        data_dir: std::path::Path::new("no directory of tests"),
        block_on: &|_| panic!("nothing to wait for in this test"),
        spawn: &|_| {},
        statistics: &statistics,
        server: &server,
        log: &log,
    };
    (module.make)(&mut module_api::Setup::new(module, settings, &binding))
}

/// The state of `module` with settings.
pub(crate) fn started(module: &Module, settings: &[(&str, &str)]) -> Arc<dyn State> {
    try_start(module, settings).unwrap_or_else(|error| panic!("{} does not start: {error}", module.name))
}

/// As [`started`], or why it cannot start.
pub(crate) fn try_start(module: &Module, settings: &[(&str, &str)]) -> Result<Arc<dyn State>, module_api::SetupError> {
    let settings: Vec<module_api::Setting> =
        settings.iter().map(|(name, value)| module_api::Setting { name: (*name).into(), value: text(value) }).collect();
    make(module, &settings, Dialect::Kamailio, &|_| None)
}

/// A directory of files for one test, removed with it.
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    /// Files with their texts.
    pub(crate) fn new(files: &[(&str, &str)]) -> Scratch {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("ser-modules-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
        let scratch = Scratch(directory);
        for (name, text) in files {
            scratch.write(name, text);
        }
        scratch
    }

    /// Writes a file anew.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("the temporary directory can be written");
    }

    /// Where a file lies.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// The directory as a `db_url`.
    pub(crate) fn url(&self) -> String {
        format!("text://{}", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The state of module registrar over a table in memory.
pub(crate) fn registrar_state(settings: &[(&str, i64)]) -> Arc<dyn State> {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, Value::Int(*value))).collect();
    registrar_with(&settings).expect("registrar starts")
}

/// As [`registrar_state`], with settings of any kind.
pub(crate) fn registrar_with(settings: &[(&str, Value)]) -> Result<Arc<dyn State>, module_api::SetupError> {
    let settings: Vec<module_api::Setting> = settings
        .iter()
        .map(|(name, value)| module_api::Setting { name: (*name).into(), value: value.clone() })
        .collect();
    let usrloc = make(&crate::usrloc::MODULE, &[], Dialect::Kamailio, &|_| None)?;
    let others = |name: &str| (name == "usrloc").then(|| Arc::clone(&usrloc));
    make(&crate::registrar::MODULE, &settings, Dialect::Kamailio, &others)
}

/// A header line with credentials of a user of example.com, signed with a password.
pub(crate) fn signed(
    header: &str,
    user: &str,
    password: &str,
    method: &str,
    nonces: &sip_proto::digest::Nonces,
) -> String {
    use sip_proto::digest::{Algorithm, Credentials, ha1, response};
    let nonce = nonces.issue("example.com", FakeHost::default().unix_time, 1);
    let ha1 = ha1(Algorithm::Md5, user.as_bytes(), b"example.com", password.as_bytes());
    let credentials = Credentials {
        username: user.as_bytes(),
        realm: b"example.com",
        nonce: nonce.as_bytes(),
        uri: b"sip:example.com",
        response: b"",
        algorithm: Some(Algorithm::Md5),
        qop: None,
    };
    let digest = response(&credentials, Algorithm::Md5, method.as_bytes(), ha1.as_str());
    format!(
        "{header}: Digest username=\"{user}\", realm=\"example.com\", nonce=\"{nonce}\", uri=\"sip:example.com\", \
         response=\"{}\"\r\n",
        digest.as_str()
    )
}

/// A database of one test, with the whole schema, and a runtime to wait for it.
pub(crate) struct Tables {
    pub(crate) runtime: tokio::runtime::Runtime,
    directory: std::path::PathBuf,
    database: store::Database,
}

impl Tables {
    pub(crate) fn new() -> Tables {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let serial = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("ser-tables-{}-{serial}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let address = directory.join("test.db").to_string_lossy().into_owned();
        let database = runtime.block_on(async {
            let database = store::Database::open(&address, &store::Settings::default(), Arc::new(|_| {})).await;
            let database = database.expect("it opens");
            database.make_schema().await.expect("the tables are made");
            database
        });
        Tables { runtime, directory, database }
    }

    /// Runs SQL, and returns the first column of what it brings.
    pub(crate) fn sql(&self, statement: &str) -> Vec<String> {
        let found = self.runtime.block_on(self.database.query(statement)).expect("the statement is right");
        found.rows.iter().map(|row| row[0].to_text().unwrap_or_default()).collect()
    }

    /// The state of a module whose `db_url` is this database.
    pub(crate) fn make(&self, module: &Module, settings: &[(&str, i64)]) -> Arc<dyn State> {
        let settings: Vec<_> = settings.iter().map(|(name, number)| (*name, Value::Int(*number))).collect();
        self.make_with(module, &settings).expect("the module starts")
    }

    /// As [`Tables::make`], with settings of any kind.
    pub(crate) fn make_with(
        &self,
        module: &Module,
        settings: &[(&str, Value)],
    ) -> Result<Arc<dyn State>, module_api::SetupError> {
        let mut all: Vec<_> = settings
            .iter()
            .map(|(name, value)| module_api::Setting { name: (*name).into(), value: value.clone() })
            .collect();
        if module.parameters.iter().any(|parameter| parameter.name == "db_url") {
            all.push(module_api::Setting { name: "db_url".into(), value: text(&self.address()) });
        }
        let pv = make(&crate::pv::MODULE, &[], Dialect::Kamailio, &|_| None)?;
        let statistics = module_api::Statistics::default();
        let server: Arc<dyn module_api::Server> = Arc::new(module_api::NoServer);
        let log: module_api::LogLine = Arc::new(|_, _| {});
        let binding = module_api::Binding {
            others: &|name| (name == "pv").then(|| Arc::clone(&pv)),
            dialect: Dialect::Kamailio,
            data_dir: &self.directory,
            block_on: &|work| self.runtime.block_on(work),
            spawn: &|work| drop(self.runtime.spawn(work)),
            statistics: &statistics,
            server: &server,
            log: &log,
        };
        (module.make)(&mut module_api::Setup::new(module, &all, &binding))
    }

    /// The address of the database.
    pub(crate) fn address(&self) -> String {
        self.directory.join("test.db").to_string_lossy().into_owned()
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
