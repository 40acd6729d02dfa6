//! What the virtual machine runs: instructions and the tables that they index.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Arg, Call, Context, Dialect, FindWatcher, Function, Happening, Host, Observe, Other, ParamKind, RouteId, RouteKind,
    State, TakesHttp, Value, Variable, Watcher,
};
use regex::bytes::Regex;

use crate::marks::Marks;
use crate::source::{SourceMap, Span};
use crate::syntax::tree::Binary;
use crate::transform::Transform;

/// A compiled script, not yet tied to the states of its modules.
#[derive(Default)]
pub struct Program {
    pub(crate) code: Vec<Op>,
    pub(crate) constants: Vec<Value>,
    pub(crate) reads: Vec<VariableUse>,
    pub(crate) templates: Vec<Text>,
    pub(crate) regexes: Vec<Arc<Regex>>,
    pub(crate) networks: Vec<Vec<Network>>,
    pub(crate) calls: Vec<CallSite>,
    pub(crate) routes: Vec<RouteEntry>,
    pub(crate) values: Vec<ConfigValue>,
    /// `log_prefix`: rendered for each message that a route is about.
    pub(crate) log_prefix: Option<Text>,
    pub(crate) by_name: HashMap<(RouteKind, String), RouteId>,
    /// Where instructions come from: the first instruction of each place, ascending.
    pub(crate) places: Vec<(u32, Place)>,
    pub(crate) files: Vec<String>,
    /// What instructions stand for in the script, for traces.
    pub(crate) marks: Marks,
    pub(crate) dialect: Dialect,
    pub(crate) bounds: Bounds,
    /// Modules that watch transactions, by their number.
    pub(crate) observers: Vec<(Observe, u16)>,
    /// What tells who sees every message, by the number of the module.
    pub(crate) watchers: Vec<(FindWatcher, u16)>,
    /// The module that says which HTTP requests the script answers.
    pub(crate) takes_http: Option<(TakesHttp, u16)>,
}

/// Line and file of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u16,
    pub(crate) line: u32,
}

/// What ends a script that would not end by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) loop_rounds: u32,
    pub(crate) call_depth: usize,
    pub(crate) steps: u32,
    /// `return_mode=1`: every code but 0 is true.
    pub(crate) any_code_is_true: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        // A million instructions are tens of milliseconds: far more than any script needs, and soon over.
        Bounds { loop_rounds: 100, call_depth: 256, steps: 1_000_000, any_code_is_true: false }
    }
}

/// A route block.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    pub(crate) kind: RouteKind,
    pub(crate) name: String,
    pub(crate) entry: u32,
}

/// An instruction. Values live on a stack; the code of the latest call or route has a register of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// Push.
    Constant(u32),
    Int(i32),
    Null,
    Read(u32),
    Render(u32),
    /// Push the latest code, as it is or as 0 or 1.
    Code,
    Truth,
    /// Take the top away, or write it to a variable.
    Pop,
    Store(u32),
    /// Replace the top.
    Not,
    Negate,
    Complement,
    IsDefined,
    ToInt,
    ToText,
    Length,
    IsEmpty,
    Match(u32),
    InNetworks(u32),
    IsMyself(Subject),
    EqualsConstant(u32),
    FoldEqualsConstant(u32),
    /// Replace the two topmost by one.
    Binary(Binary),
    FoldEquals,
    MatchDynamic,
    /// Call; the code goes to the register.
    Call(u32),
    CallRoute(RouteId),
    CallRouteByName,
    /// Set the register.
    SetCode(i32),
    Jump(u32),
    /// Jump on the top, which is taken.
    JumpIf(u32),
    JumpUnless(u32),
    /// Jump on the register.
    JumpIfCode(u32),
    JumpUnlessCode(u32),
    /// Jump, taking the top, when it equals a constant or matches.
    Case(u32, u32),
    CaseMatch(u32, u32),
    LoopEnter,
    LoopCheck(u32),
    LoopLeave,
    /// Leave the route with the top, with the register, or with nothing as `break` does.
    Return,
    ReturnCode,
    LeaveRoute,
    Exit,
    Drop,
}

/// What `== myself` is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The top of the stack is a URI.
    Uri,
    /// The top of the stack is a host or address.
    Host,
}

/// An address range: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

/// Text, possibly with variables in it.
#[derive(Clone)]
pub(crate) enum Text {
    Constant(Bytes),
    Pieces(Box<[TextPiece]>),
}

#[derive(Clone)]
pub(crate) enum TextPiece {
    Text(Bytes),
    Variable(VariableUse),
}

/// A variable as one place in the script uses it.
#[derive(Clone)]
pub(crate) struct VariableUse {
    pub(crate) source: Source,
    pub(crate) key: Option<Text>,
    pub(crate) index: IndexUse,
    pub(crate) transforms: Box<[Transform]>,
}

#[derive(Clone, Copy)]
pub(crate) enum Source {
    Module {
        variable: &'static Variable,
        module: u16,
    },
    /// `$rc`.
    ReturnCode,
    /// `$null`.
    Null,
    /// A value of the configuration, by its place in [`Program::values`].
    Config(u32),
    /// How many values the variable has that is the key.
    Count,
    /// The variable that is the key, read as if another message were at hand.
    Of(Other),
}

/// A value that the configuration sets: `group.name = value`, or what `$def(NAME)` stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfigValue {
    /// The group that `cfg_select()` chooses an instance of.
    pub(crate) group: Bytes,
    pub(crate) value: Value,
    /// Values of instances: `group[id].name = value`.
    pub(crate) instances: Vec<(i64, Value)>,
}

#[derive(Clone)]
pub(crate) enum IndexUse {
    Fixed(module_api::Index),
    Computed(Text),
}

/// One call in the script.
pub(crate) struct CallSite {
    pub(crate) function: &'static Function,
    pub(crate) module: u16,
    pub(crate) arguments: Box<[Argument]>,
}

/// Where an argument comes from.
pub(crate) enum Argument {
    Constant(Arg),
    Text(Text, ParamKind),
    Read(VariableUse, ParamKind),
    /// Computed before the call; the first of them lies deepest on the stack.
    Stack(ParamKind),
    Output(VariableUse),
}

impl Program {
    /// Ties the program to the states of its modules, given in the order of [`crate::Configuration::modules`].
    pub fn bind(self, states: Vec<Arc<dyn State>>) -> BoundProgram {
        let engine_routes = EngineRoutes::of(&self);
        let watcher = |(find, module): &(FindWatcher, u16)| find(&states[usize::from(*module)]);
        let watchers = self.watchers.iter().filter_map(watcher).collect();
        BoundProgram { program: self, states, engine_routes, watchers }
    }

    /// The route of a kind with a name; the main blocks have the empty name.
    pub fn route(&self, kind: RouteKind, name: &str) -> Option<RouteId> {
        self.by_name.get(&(kind, name.to_owned())).copied()
    }

    /// The route for requests.
    pub fn main(&self) -> Option<RouteId> {
        self.route(RouteKind::Request, "")
    }

    /// The route for every reply, before its transaction is looked up.
    pub fn reply(&self) -> Option<RouteId> {
        self.route(RouteKind::Reply, "")
    }

    /// The route for every message that leaves.
    pub fn send(&self) -> Option<RouteId> {
        self.route(RouteKind::Send, "")
    }

    /// The route of an event, such as `tm:local-request`.
    pub fn event(&self, name: &str) -> Option<RouteId> {
        self.route(RouteKind::Event, name)
    }

    /// The kind of a route.
    pub fn kind(&self, route: RouteId) -> Option<RouteKind> {
        self.routes.get(usize::from(route.0)).map(|entry| entry.kind)
    }

    /// The name of a route as the script writes it; empty for main blocks.
    pub fn name(&self, route: RouteId) -> &str {
        self.routes.get(usize::from(route.0)).map_or("", |entry| &entry.name)
    }

    /// The text of the script.
    pub fn sources(&self) -> &SourceMap {
        &self.marks.sources
    }

    /// Where each statement of the program stands, for coverage.
    pub fn statements(&self) -> impl Iterator<Item = Span> {
        self.marks.statements()
    }

    /// The family of the script.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// `file:line` of an instruction.
    pub(crate) fn place(&self, at: u32) -> String {
        let after = self.places.partition_point(|(first, _)| *first <= at);
        let Some((_, place)) = after.checked_sub(1).and_then(|n| self.places.get(n)) else { return String::new() };
        let file = self.files.get(usize::from(place.file)).map_or("", String::as_str);
        format!("{file}:{}", place.line)
    }
}

/// A program with the states of its modules: immutable, shared by all workers.
pub struct BoundProgram {
    program: Program,
    states: Vec<Arc<dyn State>>,
    engine_routes: EngineRoutes,
    watchers: Arc<[Arc<dyn Watcher>]>,
}

/// Routes that the engine itself runs, looked up once: most scripts have none, and then nothing is
/// prepared for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineRoutes {
    /// `onsend_route`.
    pub send: Option<RouteId>,
    /// `event_route[core:msg-received]`.
    pub message_received: Option<RouteId>,
    /// `event_route[core:pre-routing]`.
    pub pre_routing: Option<RouteId>,
    /// `event_route[tm:local-request]`.
    pub local_request: Option<RouteId>,
    /// `event_route[tm:local-response-sent]`.
    pub local_response_sent: Option<RouteId>,
    /// `event_route[sl:local-response]`.
    pub stateless_response: Option<RouteId>,
    /// `event_route[sl:filtered-ack]`.
    pub filtered_ack: Option<RouteId>,
    /// `event_route[tcp:closed]`.
    pub connection_closed: Option<RouteId>,
    /// `event_route[xhttp:request]`.
    pub http_request: Option<RouteId>,
}

impl EngineRoutes {
    fn of(program: &Program) -> EngineRoutes {
        EngineRoutes {
            send: program.send(),
            message_received: program.event("core:msg-received"),
            pre_routing: program.event("core:pre-routing"),
            local_request: program.event("tm:local-request"),
            local_response_sent: program.event("tm:local-response-sent"),
            stateless_response: program.event("sl:local-response"),
            filtered_ack: program.event("sl:filtered-ack"),
            connection_closed: program.event("tcp:closed"),
            http_request: program.event("xhttp:request"),
        }
    }
}

impl std::ops::Deref for BoundProgram {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl BoundProgram {
    /// The routes that the engine runs by itself.
    pub fn engine_routes(&self) -> &EngineRoutes {
        &self.engine_routes
    }

    /// Who sees every message.
    pub fn watchers(&self) -> Arc<[Arc<dyn Watcher>]> {
        Arc::clone(&self.watchers)
    }

    /// Whether a module watches transactions.
    pub fn is_observed(&self) -> bool {
        !self.program.observers.is_empty()
    }

    /// Tells the modules that watch what has happened to the transaction of `context`.
    pub fn observe(&self, context: &mut Context, host: &mut dyn Host, happening: &Happening<'_>) {
        for (observe, module) in &self.program.observers {
            observe(&mut Call::new(context, host, &[], self.state(*module), self.program.dialect), happening);
        }
    }

    /// Whether the script may answer HTTP at all.
    pub fn speaks_http(&self) -> bool {
        self.program.takes_http.is_some() && self.engine_routes.http_request.is_some()
    }

    /// The route that answers an HTTP request with this target (path and query), where one does.
    pub fn http_route(&self, target: &[u8]) -> Option<RouteId> {
        let (takes, module) = self.program.takes_http?;
        self.engine_routes.http_request.filter(|_| takes(self.state(module), target))
    }

    /// The state of module number `module`; the checker made sure that there is one.
    pub(crate) fn state(&self, module: u16) -> &Arc<dyn State> {
        &self.states[usize::from(module)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_prefix() {
        let network = Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 };
        assert!(network.contains("10.200.3.4".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!network.contains("11.0.0.1".parse().unwrap()));
        let all = Network { address: "0.0.0.0".parse().unwrap(), prefix: 0 };
        assert!(all.contains("192.0.2.1".parse().unwrap()));
        let six = Network { address: "2001:db8::".parse().unwrap(), prefix: 32 };
        assert!(six.contains("2001:db8:1::1".parse().unwrap()));
        assert!(!six.contains("10.0.0.1".parse().unwrap()));
    }
}
