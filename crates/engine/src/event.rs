//! Routes that run because of an event: of the engine, of a module, of time.

use std::sync::Arc;

use module_api::{Context, Departure, Host, RouteId, RouteKind, made_up_context};
use script::BoundProgram;
use sip_message::Message;

use crate::outgoing::Way;
use crate::wait::After;
use crate::worker_core::Core;

/// Runs `event_route[core:worker-one-init]`: what a script does once, when the server has begun to serve.
pub fn tell_of_start(host: &mut dyn Host) {
    if let Some(route) = host.find_route(None, RouteKind::Event, "core:worker-one-init") {
        let context = made_up_context(host);
        host.start_route(route, context);
    }
}

impl Core {
    /// The program that routes of `context` are looked up and run in: its transaction's, else the one in use.
    pub(crate) fn program_of(&self, context: Option<&Context>) -> Arc<BoundProgram> {
        let key = context.and_then(|context| context.transaction);
        let transaction = key.and_then(|key| self.table.transaction(key));
        transaction.map_or_else(|| self.program(), |transaction| Arc::clone(&transaction.program))
    }

    /// Runs an event's route on the message at hand. False when it drops the message.
    pub(crate) fn run_event_route(&mut self, route: RouteId, context: &mut Context) -> bool {
        let program = self.program_of(Some(context));
        let kind = program.kind(route).unwrap_or(RouteKind::Event);
        let kind = std::mem::replace(&mut context.kind, kind);
        let end = self.run_at_once(&program, route, context);
        context.kind = kind;
        !end.is_dropped
    }

    /// Ends what a route has begun on a context that nothing follows: a transaction that it made is answered or
    /// forgotten, and has its timers.
    pub(crate) fn finish_event(&mut self, context: &mut Context) {
        if let Some(key) = context.transaction {
            self.keep(key, context);
            self.finish_request(key);
            self.settle(key);
        }
    }

    /// Runs a route on a context of its own, which nothing follows.
    pub(crate) fn start_event_route(&mut self, route: RouteId, mut context: Context) {
        let program = self.program_of(Some(&context));
        context.kind = program.kind(route).unwrap_or(RouteKind::Event);
        self.run_route(&program, route, context, After::Event);
    }

    /// Shows a request that is about to leave to the `onsend_route`. False when it shall not leave.
    pub(crate) fn may_leave(&mut self, program: &Arc<BoundProgram>, bytes: &bytes::Bytes, way: &Way) -> bool {
        let Some(route) = program.engine_routes().send else { return true };
        let Ok(message) = Message::parse(bytes.clone(), &self.shared.settings.limits) else { return true };
        let local = self.shared.identity.sockets[usize::from(way.socket.0)].address;
        let arrival = module_api::Arrival {
            source: local,
            local,
            transport: way.transport,
            socket: way.socket,
            connection: way.connection,
        };
        let mut context = Context::new(Arc::new(message), arrival, RouteKind::Send);
        context.set_note(Departure { socket: way.socket, transport: way.transport, peer: way.peer });
        let end = self.run_at_once(program, route, &mut context);
        self.finish_event(&mut context);
        !end.is_dropped
    }
}
