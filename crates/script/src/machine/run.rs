//! One run of a program: a position that moves from instruction to instruction, and can be parked.

use std::sync::Arc;

use module_api::{Call, Context, Dialect, Fault, Host, Level, Outcome, Resume, RouteId, Value, Wait};
use smallvec::SmallVec;

use super::call::Args;
use super::compare;
use super::evaluate::Scene;
use super::path::{KeepsPath, Path};
use super::trace::Tracer;
use crate::program::{BoundProgram, Op};

/// How far a run has come.
pub enum Progress {
    /// The script is over.
    Done(End),
    /// It waits: park it with the request, poll the wait, and hand its result to [`Run::resume`].
    Wait(Wait),
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The code of the route: what it returned, or the code of its last statement.
    pub code: i64,
    /// Whether `drop` ended it: the message goes no further.
    pub is_dropped: bool,
    /// Set when a bound ended it instead; the sender deserves a 500.
    pub stop: Option<Stop>,
}

/// The bound that ended a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Too many instructions.
    Steps,
    /// Routes that call each other too deeply.
    Depth,
}

/// A run of one route, as a value: moving it is all that parking takes.
pub struct Run {
    pub(super) program: Arc<BoundProgram>,
    pub(super) at: u32,
    /// The code of the latest statement.
    pub(super) code: i64,
    pub(super) steps: u32,
    pub(super) stack: Vec<Value>,
    pub(super) frames: SmallVec<[Frame; 6]>,
    /// Rounds of the loops that are open.
    loops: SmallVec<[u32; 4]>,
    /// The call that waits.
    pending: Option<Pending>,
    /// Who wants to know its way. A pointer: runs are moved about, and of most nobody wants to know.
    pub(super) told: Option<Box<Told>>,
}

/// Who is told which way a run takes.
#[derive(Default)]
pub(super) struct Told {
    /// Every step, while it happens.
    pub(super) tracer: Option<Arc<dyn Tracer>>,
    /// The way so far, and who takes it when the run waits or ends.
    pub(super) path: Option<(Path, Arc<dyn KeepsPath>)>,
}

/// Where to go on when a route returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    at: u32,
    loops: u16,
    stack: u16,
}

struct Pending {
    call: u32,
    args: Args,
}

/// What one instruction led to.
pub(super) enum Flow {
    Next,
    To(u32),
    Stop(Progress),
}

impl Run {
    /// A run that stands before the first statement of `route`.
    pub fn start(program: &Arc<BoundProgram>, route: RouteId) -> Run {
        let at = program.routes.get(usize::from(route.0)).map_or(u32::MAX, |entry| entry.entry);
        Run {
            program: Arc::clone(program),
            at,
            code: 1,
            steps: 0,
            stack: Vec::new(),
            frames: SmallVec::new(),
            loops: SmallVec::new(),
            pending: None,
            told: None,
        }
    }

    /// The program that this run began with, and keeps.
    pub fn program(&self) -> &Arc<BoundProgram> {
        &self.program
    }

    /// Has `tracer` told of every step from here on, waits included.
    pub fn trace(&mut self, tracer: Option<Arc<dyn Tracer>>) {
        if tracer.is_some() {
            self.told.get_or_insert_default().tracer = tracer;
        }
    }

    /// Has the way written down that it takes from here on, for `keeper`.
    pub fn keep_path(&mut self, keeper: Arc<dyn KeepsPath>) {
        self.told.get_or_insert_default().path = Some((Path::begin(self.at), keeper));
    }

    /// It waits or has ended: whoever keeps its way gets that.
    pub(super) fn hand_over_path(&mut self) {
        let Some(told) = &mut self.told else { return };
        if self.pending.is_some() {
            if let Some((path, keeper)) = &told.path {
                keeper.take(path.clone());
            }
        } else if let Some((path, keeper)) = told.path.take() {
            keeper.take(path);
        }
    }

    /// Runs until the script is over or waits.
    pub fn step_until_done(&mut self, context: &mut Context, host: &mut dyn Host) -> Progress {
        // Asked once per run and not per instruction: a run that nobody watches pays nothing for it.
        if let Some(tracer) = self.told.as_ref().and_then(|told| told.tracer.clone()) {
            return self.step_traced(&*tracer, context, host);
        }
        let program = Arc::clone(&self.program);
        let mut scene = Scene { program: &program, context, host, at: 0 };
        let Some(prefix) = &program.log_prefix else { return self.steps(&mut scene) };
        let prefix = scene.render(prefix);
        // A route may run in the middle of another, which goes on with its own.
        let before = scene.host.set_log_prefix(prefix);
        let progress = self.steps(&mut scene);
        scene.host.set_log_prefix(before);
        progress
    }

    fn steps(&mut self, scene: &mut Scene<'_>) -> Progress {
        if self.told.is_some() {
            return self.steps_noted(scene);
        }
        let program = scene.program;
        loop {
            let Some(op) = program.code.get(self.at as usize) else { return self.end(false) };
            self.steps += 1;
            if self.steps > program.bounds.steps {
                return self.stop_long_run(scene);
            }
            scene.at = self.at;
            match self.step(*op, scene) {
                Flow::Next => self.at += 1,
                Flow::To(at) => self.at = at,
                Flow::Stop(progress) => return progress,
            }
        }
    }

    pub(super) fn stop_long_run(&self, scene: &mut Scene<'_>) -> Progress {
        scene.at = self.at;
        scene.log(Level::Error, "the script was stopped: it ran too many statements");
        stopped(Stop::Steps)
    }

    /// Goes on after a wait with what it yielded.
    pub fn resume(&mut self, resume: Resume, context: &mut Context, host: &mut dyn Host) -> Progress {
        let program = Arc::clone(&self.program);
        let Some(pending) = self.pending.take() else { return self.step_until_done(context, host) };
        let site = &program.calls[pending.call as usize];
        let mut call = Call::new(context, host, &pending.args, program.state(site.module), program.dialect);
        let outcome = resume(&mut call);
        self.after_wait(pending, outcome, context, host)
    }

    /// Goes on after a wait that missed its deadline: the call failed.
    pub fn expire(&mut self, context: &mut Context, host: &mut dyn Host) -> Progress {
        let Some(pending) = self.pending.take() else { return self.step_until_done(context, host) };
        self.after_wait(pending, Outcome::fail("no answer in time"), context, host)
    }

    fn after_wait(
        &mut self,
        pending: Pending,
        outcome: Outcome,
        context: &mut Context,
        host: &mut dyn Host,
    ) -> Progress {
        let program = Arc::clone(&self.program);
        let mut scene = Scene { program: &program, context, host, at: self.at };
        let call = pending.call;
        let flow = self.outcome(pending, outcome, &mut scene);
        if let Some(tracer) = self.told.as_ref().and_then(|told| told.tracer.clone()) {
            self.report_return(&*tracer, call, &flow);
        }
        self.note(Op::Call(call), &flow);
        match flow {
            Flow::Next => self.at += 1,
            Flow::To(at) => self.at = at,
            Flow::Stop(progress) => {
                self.hand_over_path();
                return progress;
            }
        }
        self.step_until_done(context, host)
    }

    pub(super) fn end(&self, is_dropped: bool) -> Progress {
        Progress::Done(End { code: self.code, is_dropped, stop: None })
    }

    // Called from two loops, the watched and the other, and to be part of both: out of line it cost a tenth of a run.
    #[inline(always)]
    pub(super) fn step(&mut self, op: Op, scene: &mut Scene<'_>) -> Flow {
        let program = scene.program;
        match op {
            Op::Constant(n) => self.push(program.constants[n as usize].clone()),
            Op::Int(number) => self.push(Value::Int(number.into())),
            Op::Null => self.push(Value::Null),
            Op::Read(n) => {
                let value = scene.read(&program.reads[n as usize]);
                self.push(value)
            }
            Op::Render(n) => {
                let text = scene.render(&program.templates[n as usize]);
                self.push(Value::Str(text))
            }
            Op::Code => self.push(Value::Int(self.code)),
            Op::Truth => self.push(Value::Int(i64::from(self.is_true(self.code)))),
            Op::Pop => {
                self.stack.pop();
                Flow::Next
            }
            Op::Store(n) => self.store(n, scene),
            Op::Call(n) => self.call(n, scene),
            Op::CallRoute(route) => self.enter(route, scene),
            Op::CallRouteByName => self.enter_by_name(scene),
            Op::SetCode(code) => {
                self.code = code.into();
                Flow::Next
            }
            Op::Jump(to) => Flow::To(to),
            Op::JumpIf(to) => jump(self.pop_truth(), to),
            Op::JumpUnless(to) => jump(!self.pop_truth(), to),
            Op::JumpIfCode(to) => jump(self.is_true(self.code), to),
            Op::JumpUnlessCode(to) => jump(!self.is_true(self.code), to),
            Op::Return => {
                self.code = self.pop().to_int();
                self.leave(true, scene)
            }
            Op::ReturnCode => self.leave(false, scene),
            Op::LeaveRoute => {
                self.code = 0;
                self.leave(false, scene)
            }
            Op::Exit => Flow::Stop(self.end(false)),
            Op::Drop => Flow::Stop(self.end(true)),
            Op::LoopEnter | Op::LoopCheck(_) | Op::LoopLeave => self.repeat(op, scene),
            _ => self.transform(op, scene),
        }
    }

    /// Instructions that only concern the stack.
    #[inline(always)]
    fn transform(&mut self, op: Op, scene: &mut Scene<'_>) -> Flow {
        let program = scene.program;
        let top = self.pop();
        let yes = |yes: bool| Value::Int(i64::from(yes));
        let result = match op {
            // Only zero is negated to true: a negative number is false, and so is its negation.
            Op::Not => yes(top.to_int() == 0),
            Op::Negate => Value::Int(top.to_int().wrapping_neg()),
            Op::Complement => Value::Int(!top.to_int()),
            Op::IsDefined => yes(!top.is_null()),
            Op::ToInt => Value::Int(top.to_int()),
            Op::ToText => Value::Str(top.to_bytes()),
            Op::Length => Value::Int(top.to_bytes().len() as i64),
            Op::IsEmpty => yes(top.to_bytes().is_empty()),
            Op::Match(n) => {
                let regex = &program.regexes[n as usize];
                yes(match &top {
                    Value::Str(text) => regex.is_match(text),
                    other => regex.is_match(&other.to_bytes()),
                })
            }
            Op::InNetworks(n) => yes(compare::in_networks(&top, &program.networks[n as usize])),
            Op::IsMyself(subject) => yes(compare::is_myself(&top, subject, scene.host)),
            Op::EqualsConstant(n) => yes(compare::equal(&top, &program.constants[n as usize])),
            Op::FoldEqualsConstant(n) => yes(compare::fold_equal(&top, &program.constants[n as usize])),
            Op::Case(n, to) => return self.case(compare::equal(&top, &program.constants[n as usize]), top, to),
            Op::CaseMatch(n, to) => {
                return self.case(program.regexes[n as usize].is_match(&top.to_bytes()), top, to);
            }
            Op::Binary(operator) => scene.binary(operator, &self.pop(), &top),
            Op::FoldEquals => yes(compare::fold_equal(&self.pop(), &top)),
            Op::MatchDynamic => scene.match_text(&self.pop(), &top),
            _ => top,
        };
        self.push(result)
    }

    fn case(&mut self, is_match: bool, top: Value, to: u32) -> Flow {
        if is_match {
            return Flow::To(to);
        }
        self.push(top)
    }

    fn push(&mut self, value: Value) -> Flow {
        self.stack.push(value);
        Flow::Next
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or_default()
    }

    fn pop_truth(&mut self) -> bool {
        let value = self.pop();
        self.is_truth(&value)
    }

    /// A condition holds when its value is above zero.
    fn is_truth(&self, value: &Value) -> bool {
        match value {
            Value::Int(number) => *number > 0,
            other => other.to_int() > 0,
        }
    }

    pub(super) fn is_true(&self, code: i64) -> bool {
        if self.program.bounds.any_code_is_true { code != 0 } else { code > 0 }
    }

    fn store(&mut self, n: u32, scene: &mut Scene<'_>) -> Flow {
        let value = self.pop();
        self.code = 1;
        let variable = &scene.program.reads[n as usize];
        if let Err(fault) = scene.write(variable, value) {
            scene.report("assignment", &fault);
            self.code = fault.code;
        }
        Flow::Next
    }

    // As `step`: most instructions of a script are calls.
    #[inline(always)]
    fn call(&mut self, n: u32, scene: &mut Scene<'_>) -> Flow {
        let site = &scene.program.calls[n as usize];
        match scene.arguments(site, &mut self.stack) {
            Ok(args) => self.invoke(n, args, scene),
            Err(fault) => self.failed(site.function.name, &fault, scene),
        }
    }

    /// Calls with evaluated arguments.
    #[inline(always)]
    pub(super) fn invoke(&mut self, n: u32, args: Args, scene: &mut Scene<'_>) -> Flow {
        let program = scene.program;
        let site = &program.calls[n as usize];
        let mut call = Call::new(scene.context, scene.host, &args, program.state(site.module), program.dialect);
        match (site.function.run)(&mut call) {
            // The common case does not move the arguments.
            Outcome::Value(code) => self.returned(code, scene),
            outcome => self.outcome(Pending { call: n, args }, outcome, scene),
        }
    }

    fn outcome(&mut self, pending: Pending, outcome: Outcome, scene: &mut Scene<'_>) -> Flow {
        match outcome {
            Outcome::Value(code) => self.returned(code, scene),
            Outcome::Fail(fault) => {
                let name = scene.program.calls[pending.call as usize].function.name;
                self.failed(name, &fault, scene)
            }
            Outcome::Wait(wait) => {
                self.pending = Some(pending);
                Flow::Stop(Progress::Wait(wait))
            }
            Outcome::Finish => Flow::Stop(Progress::Done(End { code: 1, is_dropped: false, stop: None })),
        }
    }

    pub(super) fn failed(&mut self, name: &str, fault: &Fault, scene: &mut Scene<'_>) -> Flow {
        scene.report(name, fault);
        // A fault is false and never zero, which would end the script.
        self.returned(if fault.code < 0 { fault.code } else { -1 }, scene)
    }

    /// A function returned. Zero ends the script, or in SER the current route.
    fn returned(&mut self, code: i64, scene: &mut Scene<'_>) -> Flow {
        self.code = code;
        scene.context.return_code = code;
        if code != 0 {
            return Flow::Next;
        }
        match scene.program.dialect {
            Dialect::Kamailio => Flow::Stop(self.end(false)),
            Dialect::Ser => self.leave(false, scene),
        }
    }

    fn enter_by_name(&mut self, scene: &mut Scene<'_>) -> Flow {
        let name = self.pop().to_bytes();
        let name = String::from_utf8_lossy(&name);
        match scene.program.route(module_api::RouteKind::Request, if name == "0" { "" } else { &name }) {
            Some(route) => self.enter(route, scene),
            None => {
                scene.log(Level::Error, &format!("there is no route[{name}]"));
                self.returned(-1, scene)
            }
        }
    }

    fn enter(&mut self, route: RouteId, scene: &mut Scene<'_>) -> Flow {
        if self.frames.len() >= scene.program.bounds.call_depth {
            scene.log(Level::Error, "the script was stopped: its routes call each other too deeply");
            return Flow::Stop(stopped(Stop::Depth));
        }
        self.frames.push(Frame { at: self.at + 1, loops: self.loops.len() as u16, stack: self.stack.len() as u16 });
        self.code = 1;
        Flow::To(scene.program.routes[usize::from(route.0)].entry)
    }

    /// Leaves the current route with the code in the register.
    fn leave(&mut self, is_return: bool, scene: &mut Scene<'_>) -> Flow {
        let dialect = scene.program.dialect;
        // `return 0` ends the whole script, `break` and a last statement with code 0 do not.
        let ends = is_return && self.code == 0 && dialect == Dialect::Kamailio;
        let Some(frame) = self.frames.pop().filter(|_| !ends) else { return Flow::Stop(self.end(false)) };
        if dialect == Dialect::Ser && self.code >= 0 {
            self.code = 1;
        }
        scene.context.return_code = self.code;
        self.loops.truncate(frame.loops.into());
        self.stack.truncate(frame.stack.into());
        Flow::To(frame.at)
    }

    fn repeat(&mut self, op: Op, scene: &mut Scene<'_>) -> Flow {
        match op {
            Op::LoopEnter => self.loops.push(0),
            Op::LoopLeave => drop(self.loops.pop()),
            Op::LoopCheck(to) => {
                let bound = scene.program.bounds.loop_rounds;
                let rounds = self.loops.last_mut().map_or(0, |rounds| {
                    *rounds += 1;
                    *rounds
                });
                if rounds > bound {
                    scene.log(Level::Error, &format!("this loop was ended after {bound} rounds (max_while_loops)"));
                    self.code = -1;
                    return Flow::To(to);
                }
            }
            _ => {}
        }
        Flow::Next
    }
}

fn jump(is_taken: bool, to: u32) -> Flow {
    if is_taken { Flow::To(to) } else { Flow::Next }
}

pub(super) fn stopped(stop: Stop) -> Progress {
    Progress::Done(End { code: -1, is_dropped: false, stop: Some(stop) })
}
