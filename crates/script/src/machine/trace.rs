//! A run that tells somebody of every step: statements, values, conditions, calls.
//!
//! A loop of its own beside [`Run::step_until_done`], so that what nobody watches costs nothing.

use module_api::{Arg, Context, Host, RouteKind, Value};

use super::evaluate::Scene;
use super::run::{End, Flow, Progress, Run};
use crate::marks::MarkKind;
use crate::program::{BoundProgram, Op, Program};
use crate::source::Span;

/// Is told what a run does, in order and while it happens.
pub trait Tracer: Send + Sync {
    /// Takes note of one step.
    fn on(&self, event: &Event<'_>);
}

/// One step of a run.
pub struct Event<'a> {
    /// The program that runs, whose texts `span` points into.
    pub program: &'a Program,
    /// Where in the script; none where a step belongs to no place.
    pub span: Option<Span>,
    /// How many routes have called each other.
    pub depth: usize,
    /// What happens.
    pub what: Happening<'a>,
}

/// What a step is.
pub enum Happening<'a> {
    /// The run begins with this route.
    Begin(RouteKind, &'a str),
    /// A statement is reached.
    Statement,
    /// A variable was read.
    Read(&'a Value),
    /// A condition, or a part of one between `&&` and `||`, came to this.
    Condition(bool),
    /// What stands behind the condition runs.
    Then,
    /// What stands behind `else` runs, or nothing where there is none.
    Else,
    /// A function is called with these arguments.
    Call(&'a str, &'a [Arg]),
    /// It returned this code.
    Return(&'a str, i64),
    /// It waits for something outside.
    Wait(&'a str),
    /// It ended the script.
    Finish(&'a str),
    /// The variable of this statement is given a value.
    Assign(&'a Value),
    /// A named route is called.
    Enter(&'a str),
    /// It came back with this code.
    Leave(i64),
    /// The run is over.
    End(End),
}

impl Run {
    /// As [`Run::step_until_done`], telling `tracer`.
    pub(super) fn step_traced(&mut self, tracer: &dyn Tracer, context: &mut Context, host: &mut dyn Host) -> Progress {
        let program = std::sync::Arc::clone(&self.program);
        let mut scene = Scene { program: &program, context, host, at: 0 };
        let teller = Teller { tracer, program: &program };
        if self.steps == 0 {
            teller.begin(self.at);
        }
        let progress = loop {
            let Some(op) = program.code.get(self.at as usize) else { break self.end(false) };
            self.steps += 1;
            scene.at = self.at;
            if self.steps > program.bounds.steps {
                break self.stop_long_run(&mut scene);
            }
            let flow = self.step_told(*op, &mut scene, &teller);
            self.note(*op, &flow);
            match flow {
                Flow::Next => self.at += 1,
                Flow::To(at) => self.at = at,
                Flow::Stop(progress) => break progress,
            }
        };
        if let Progress::Done(end) = &progress {
            teller.tell(None, self.frames.len(), Happening::End(*end));
        }
        self.hand_over_path();
        progress
    }

    fn step_told(&mut self, op: Op, scene: &mut Scene<'_>, teller: &Teller<'_>) -> Flow {
        let (at, depth) = (self.at, self.frames.len());
        let mut place = None;
        for mark in teller.program.marks.at(at) {
            let what = match mark.kind {
                MarkKind::Statement => Happening::Statement,
                MarkKind::Then => Happening::Then,
                MarkKind::Else => Happening::Else,
                MarkKind::Read | MarkKind::Condition => {
                    place = Some(mark.span);
                    continue;
                }
            };
            teller.tell(Some(mark.span), depth, what);
        }
        match op {
            Op::Call(n) => return self.call_told(n, scene, teller),
            Op::Store(_) => teller.tell(None, depth, Happening::Assign(self.stack.last().unwrap_or(&Value::Null))),
            _ => {}
        }
        let flow = self.step(op, scene);
        match op {
            Op::Read(_) => teller.tell(place, depth, Happening::Read(self.stack.last().unwrap_or(&Value::Null))),
            // Such a jump stands for a condition only where the emitter has marked it as one.
            Op::JumpIf(_) | Op::JumpIfCode(_) if place.is_some() => {
                teller.tell(place, depth, Happening::Condition(matches!(flow, Flow::To(_))));
            }
            Op::JumpUnless(_) | Op::JumpUnlessCode(_) if place.is_some() => {
                teller.tell(place, depth, Happening::Condition(matches!(flow, Flow::Next)));
            }
            _ => {}
        }
        match self.frames.len() {
            now if now > depth => teller.enter(self.at_of(&flow), now),
            now if now < depth => teller.tell(None, now, Happening::Leave(self.code)),
            _ => {}
        }
        flow
    }

    fn at_of(&self, flow: &Flow) -> u32 {
        match flow {
            Flow::To(at) => *at,
            _ => self.at,
        }
    }

    fn call_told(&mut self, n: u32, scene: &mut Scene<'_>, teller: &Teller<'_>) -> Flow {
        let site = &teller.program.calls[n as usize];
        let flow = match scene.arguments(site, &mut self.stack) {
            Ok(args) => {
                teller.tell(None, self.frames.len(), Happening::Call(site.function.name, &args));
                self.invoke(n, args, scene)
            }
            Err(fault) => {
                teller.tell(None, self.frames.len(), Happening::Call(site.function.name, &[]));
                self.failed(site.function.name, &fault, scene)
            }
        };
        self.report_return(teller.tracer, n, &flow);
        flow
    }

    /// Tells how a call came back.
    pub(super) fn report_return(&self, tracer: &dyn Tracer, call: u32, flow: &Flow) {
        let name = self.program.calls[call as usize].function.name;
        let what = match flow {
            Flow::Stop(Progress::Wait(_)) => Happening::Wait(name),
            // A code of zero ends the script as well, and is told as what it is.
            Flow::Stop(Progress::Done(_)) if self.code != 0 => Happening::Finish(name),
            _ => Happening::Return(name, self.code),
        };
        Teller { tracer, program: &self.program }.tell(None, self.frames.len(), what);
    }
}

/// The tracer, and what every event names.
struct Teller<'a> {
    tracer: &'a dyn Tracer,
    program: &'a BoundProgram,
}

impl Teller<'_> {
    fn tell(&self, span: Option<Span>, depth: usize, what: Happening<'_>) {
        self.tracer.on(&Event { program: self.program, span, depth, what });
    }

    fn begin(&self, at: u32) {
        if let Some(route) = self.program.routes.iter().find(|route| route.entry == at) {
            self.tell(None, 0, Happening::Begin(route.kind, &route.name));
        }
    }

    fn enter(&self, at: u32, depth: usize) {
        if let Some(route) = self.program.routes.iter().find(|route| route.entry == at) {
            self.tell(None, depth, Happening::Enter(&route.name));
        }
    }
}
