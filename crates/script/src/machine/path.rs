//! The way that a run has taken, written down so small that every run can have it.
//!
//! Only where a run does not simply go on is something noted: jumps that are taken, and what calls return. What lies
//! between follows from the program, which is walked again when somebody asks. Told step by step as a
//! [`Tracer`](super::trace::Tracer) is, a request route of average length cost a third more.

use super::evaluate::Scene;
use super::run::{End, Flow, Progress, Run};
use super::trace::{Event, Happening};
use super::trace_text::{Entry, render};
use crate::marks::MarkKind;
use crate::program::{Op, Program};
use crate::source::Span;

/// The way that a run has taken. Values are not part of it: they would cost more than all else, and some are passwords.
#[derive(Debug, Clone, Default)]
pub struct Path {
    turns: Vec<Turn>,
    left_out: u32,
    /// The first instruction.
    entry: u32,
    /// The last instruction so far.
    last: u32,
    end: Option<End>,
}

/// Takes the way of a run each time when it waits, and when it ends.
pub trait KeepsPath: Send + Sync {
    /// This is the way so far.
    fn take(&self, path: Path);
}

/// Something that does not follow from the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// The instruction.
    at: u32,
    what: i32,
}

/// A call waits; its code comes in another turn. Functions return small numbers.
const WAITS: i32 = i32::MIN;
/// A call ended the script.
const FINISHES: i32 = i32::MIN + 1;

impl Path {
    /// Turns of one run that are kept. The first say which way it took; a loop's later rounds say little.
    const MOST: usize = 96;
    /// The most memory that one of these takes.
    pub const MOST_BYTES: usize = Path::MOST * size_of::<Turn>() + size_of::<Path>();
    /// Room for what most runs need, so that it is not asked for bit by bit.
    const USUAL: usize = 24;

    pub(super) fn begin(entry: u32) -> Path {
        Path { turns: Vec::with_capacity(Path::USUAL), entry, last: entry, ..Path::default() }
    }

    fn turn(&mut self, op: Op, (at, to): (u32, u32), code: i64) {
        self.push(at, to as i32);
        if may_leave(op) {
            self.push(at, code as i32);
        }
    }

    fn stop(&mut self, at: u32, progress: &Progress) {
        self.last = at;
        if let Progress::Done(end) = progress {
            self.end = Some(*end);
        }
    }

    fn push(&mut self, at: u32, what: i32) {
        if self.turns.len() < Path::MOST {
            self.turns.push(Turn { at, what });
        } else {
            self.left_out += 1;
        }
    }

    /// One line for each statement, and under it what came of it.
    pub fn lines(&self, program: &Program) -> Vec<String> {
        let mut walk = Walk { path: self, program, at: self.entry, depth: 0, used: 0, entries: Vec::new() };
        while walk.step() {}
        let mut lines = render(&walk.entries);
        if self.left_out > 0 {
            lines.push("  ... and more steps".to_owned());
        }
        lines
    }
}

impl Run {
    /// As the loop of a run of which nothing is kept, beside it so that such a run pays nothing for this one.
    pub(super) fn steps_noted(&mut self, scene: &mut Scene<'_>) -> Progress {
        let program = scene.program;
        let Some((mut path, keeper)) = self.told.as_mut().and_then(|told| told.path.take()) else {
            return self.end(false);
        };
        let progress = loop {
            let Some(op) = program.code.get(self.at as usize).copied() else { break self.end(false) };
            self.steps += 1;
            if self.steps > program.bounds.steps {
                break self.stop_long_run(scene);
            }
            scene.at = self.at;
            let flow = self.step(op, scene);
            if let Op::Call(_) = op {
                path.push(self.at, code_of(&flow, self.code));
            }
            match flow {
                Flow::Next => self.at += 1,
                Flow::To(to) => {
                    path.turn(op, (self.at, to), self.code);
                    self.at = to;
                }
                Flow::Stop(progress) => break progress,
            }
        };
        path.stop(self.at, &progress);
        if let Some(told) = &mut self.told {
            told.path = Some((path, keeper));
        }
        self.hand_over_path();
        progress
    }

    /// Takes down what the instruction that the run stands at has led to, where its way is kept.
    pub(super) fn note(&mut self, op: Op, flow: &Flow) {
        let (at, code) = (self.at, self.code);
        let Some((path, _)) = self.told.as_mut().and_then(|told| told.path.as_mut()) else { return };
        if let Op::Call(_) = op {
            path.push(at, code_of(flow, code));
        }
        match flow {
            Flow::Next => {}
            Flow::To(to) => path.turn(op, (at, *to), code),
            Flow::Stop(progress) => path.stop(at, progress),
        }
    }
}

fn code_of(flow: &Flow, code: i64) -> i32 {
    match flow {
        Flow::Stop(Progress::Wait(_)) => WAITS,
        // A code of zero ends the script as well, and is shown as what it is.
        Flow::Stop(Progress::Done(_)) if code != 0 => FINISHES,
        _ => code as i32,
    }
}

/// Whether an instruction that goes elsewhere leaves a route by that; calls do in SER, with a code of 0.
fn may_leave(op: Op) -> bool {
    matches!(op, Op::Return | Op::ReturnCode | Op::LeaveRoute | Op::Call(_))
}

/// A second walk along a path.
struct Walk<'a> {
    path: &'a Path,
    program: &'a Program,
    at: u32,
    depth: usize,
    /// How many turns have been passed.
    used: usize,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    /// Passes one instruction; false at the end.
    fn step(&mut self) -> bool {
        let Some(op) = self.program.code.get(self.at as usize).copied() else { return self.end() };
        let is_known = self.used < self.path.turns.len() || self.path.left_out == 0;
        if !is_known {
            return false;
        }
        let place = self.marks();
        if let Op::Call(n) = op
            && !self.call(self.program.calls[n as usize].function.name)
        {
            return self.end();
        }
        let jump = self.turn();
        if let Some(span) = place {
            match op {
                Op::JumpIf(_) | Op::JumpIfCode(_) => self.tell(Some(span), Happening::Condition(jump.is_some())),
                Op::JumpUnless(_) | Op::JumpUnlessCode(_) => {
                    self.tell(Some(span), Happening::Condition(jump.is_none()));
                }
                _ => {}
            }
        }
        // The last instruction ends the walk unless the run has passed it before, in a loop.
        if jump.is_none() && self.at == self.path.last && self.used == self.path.turns.len() {
            return self.end();
        }
        let Some(to) = jump else {
            self.at += 1;
            return true;
        };
        self.at = to as u32;
        if may_leave(op) {
            let code = self.turn_from(self.path.turns[self.used - 1].at).unwrap_or_default();
            self.depth = self.depth.saturating_sub(1);
            self.tell(None, Happening::Leave(code.into()));
        } else if matches!(op, Op::CallRoute(_) | Op::CallRouteByName) {
            self.depth += 1;
            let (program, at) = (self.program, self.at);
            let name = program.routes.iter().find(|route| route.entry == at).map_or("", |route| &route.name);
            self.tell(None, Happening::Enter(name));
        }
        true
    }

    /// Tells what stands at the instruction; the place of a condition is told with its outcome.
    fn marks(&mut self) -> Option<Span> {
        let mut place = None;
        for mark in self.program.marks.at(self.at) {
            match mark.kind {
                MarkKind::Statement => self.tell(Some(mark.span), Happening::Statement),
                MarkKind::Else => self.tell(Some(mark.span), Happening::Else),
                MarkKind::Then => {}
                MarkKind::Read | MarkKind::Condition => place = Some(mark.span),
            }
        }
        place
    }

    /// Tells what a call came to; false where nothing follows.
    fn call(&mut self, name: &'static str) -> bool {
        loop {
            match self.turn() {
                None => return false,
                Some(WAITS) => self.tell(None, Happening::Wait(name)),
                Some(FINISHES) => {
                    self.tell(None, Happening::Finish(name));
                    return true;
                }
                Some(code) => {
                    self.tell(None, Happening::Return(name, code.into()));
                    return true;
                }
            }
        }
    }

    fn turn(&mut self) -> Option<i32> {
        self.turn_from(self.at)
    }

    fn turn_from(&mut self, at: u32) -> Option<i32> {
        let turn = self.path.turns.get(self.used).filter(|turn| turn.at == at)?;
        self.used += 1;
        Some(turn.what)
    }

    fn end(&mut self) -> bool {
        if let Some(end) = self.path.end {
            self.tell(None, Happening::End(end));
        }
        false
    }

    fn tell(&mut self, span: Option<Span>, what: Happening<'_>) {
        self.entries.push(Entry::new(&Event { program: self.program, span, depth: self.depth, what }));
    }
}
