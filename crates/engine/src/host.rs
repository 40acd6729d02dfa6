//! The server as the script's functions see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{
    Context, Host, HttpAnswer, Job, JsonRpc, Level, Matched, NewTransaction, OnAnswer, OwnRequest, Pending, RelayError,
    RelayOptions, Reply, ReplyError, RouteId, RouteKind, Socket, Standing, Target, TransactionKey, Watch, Zone,
};
use sip_message::Transport;

use crate::outgoing::Sender;
use crate::relay::Refusal;
use crate::transaction::Client;
use crate::worker_core::Core;

impl Host for Core {
    fn now(&self) -> Instant {
        self.now
    }

    fn unix_time(&self) -> Duration {
        self.unix_time
    }

    fn zone(&self, unix: i64) -> Zone {
        self.shared.settings.zone.map_or_else(Zone::utc, |zone| zone(unix))
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn sockets(&self) -> &[Socket] {
        &self.shared.identity.sockets
    }

    fn is_myself(&self, host: &[u8], port: Option<u16>, transport: Option<Transport>) -> bool {
        self.shared.identity.is_myself(host, port, transport)
    }

    fn reply_stateless(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        self.send_stateless_reply(context, reply)
    }

    fn reply(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError> {
        self.send_stateful_reply(context, reply)
    }

    fn forward(&mut self, context: &mut Context, to: Option<&Bytes>) -> Result<(), RelayError> {
        let result = self.forward_stateless(context, to);
        context.set_note(Refusal(result.err()));
        result
    }

    fn send_bytes(&mut self, context: &Context, target: Target, bytes: Bytes) -> Result<(), RelayError> {
        self.send_verbatim(context, target, bytes)
    }

    fn forward_reply(&mut self, context: &Context) -> bool {
        self.forward_stray_reply(context)
    }

    fn matched(&mut self, context: &Context) -> Matched {
        if context.message.is_request() {
            return self.match_request(&context.message);
        }
        context.transaction.map_or(Matched::None, Matched::Reply)
    }

    fn new_transaction(&mut self, context: &mut Context) -> NewTransaction {
        self.make_transaction(context)
    }

    fn relay(&mut self, context: &mut Context, options: &RelayOptions) -> Result<(), RelayError> {
        self.relay_request(context, options)
    }

    fn standing(&self, context: &Context) -> Option<Standing> {
        let transaction = self.table.transaction(context.transaction?)?;
        let branch = transaction.branches.get(context.branch_index as usize);
        let branch = branch.filter(|_| context.branch_index != 0).or(transaction.branches.last());
        Some(Standing {
            reply_code: transaction.status,
            is_canceled: transaction.is_canceled,
            branch_count: transaction.branches.len() as u16,
            has_reply: branch.is_some_and(|branch| branch.reply.is_some()),
            is_local: branch.is_some_and(|branch| branch.status >= 300 && branch.reply.is_none()),
            is_timeout: branch.is_some_and(|branch| branch.status == 408 && matches!(branch.client, Client::Done)),
            is_expired: transaction.left.tuning.lifetime.is_some() && transaction.expires.is_none(),
            request: Some(std::sync::Arc::clone(&transaction.request)),
            request_arrival: Some(transaction.arrival),
            replies: transaction.branches.iter().map(|branch| branch.reply.clone()).collect(),
        })
    }

    fn cancel_branches(&mut self, key: TransactionKey) {
        self.cancel_pending(key);
    }

    fn cancel_branch(&mut self, key: TransactionKey, branch: u16, all_but_it: bool) {
        let Some(transaction) = self.table.transaction(key) else { return };
        let pending: smallvec::SmallVec<[u16; 4]> =
            transaction.responses.pending().filter(|pending| (*pending == branch) != all_but_it).collect();
        for branch in pending {
            Core::cancel_branch(self, Sender { transaction: key, branch });
        }
    }

    fn drop_replies(&mut self, context: &Context, only_latest: bool) {
        let Some(transaction) = context.transaction.and_then(|key| self.table.transaction_mut(key)) else { return };
        let first = if only_latest { transaction.latest_try } else { 0 };
        let end = transaction.branches.len() as u16;
        transaction.responses.leave_out(first..end);
    }

    fn suspend(&mut self, context: &mut Context) -> Option<Pending> {
        self.suspend_run(context)
    }

    fn resume(&mut self, pending: Pending, route: &str) -> bool {
        self.resume_run(pending, route)
    }

    fn name_of(&self, context: &Context) -> Option<Pending> {
        self.pending_name(context)
    }

    fn intervene(&mut self, call_id: &[u8], cseq: u32, reply: Option<(u16, Bytes)>) -> bool {
        self.intervene_in(call_id, cseq, reply)
    }

    fn answer_http(&mut self, context: &mut Context, answer: &HttpAnswer<'_>) -> bool {
        self.send_http(context, answer)
    }

    fn watch(&mut self, context: &Context, watch: Watch) -> bool {
        self.watch_call(context, watch)
    }

    fn json_rpc(&self) -> Option<Arc<dyn JsonRpc>> {
        self.shared.commands.get().cloned()
    }

    fn release(&mut self, context: &mut Context) {
        // The engine forgets a transaction by itself once the script is over and nothing is pending.
        context.hooks = module_api::Hooks::default();
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        if self.log_prefix.is_empty() {
            self.shared.log.write_of_script(level, text);
        } else {
            self.shared.log.write_of_script(level, &[&self.log_prefix[..], text].concat());
        }
    }

    fn set_log_prefix(&mut self, prefix: Bytes) -> Bytes {
        std::mem::replace(&mut self.log_prefix, prefix)
    }

    fn request(&mut self, request: OwnRequest, on_answer: OnAnswer) {
        self.send_own(request, on_answer);
    }

    fn after(&mut self, delay: Duration, job: Job) -> bool {
        self.do_later(delay, job)
    }

    fn after_always(&mut self, delay: Duration, job: Job) {
        self.do_again(delay, job);
    }

    fn find_route(&self, context: Option<&Context>, kind: RouteKind, name: &str) -> Option<RouteId> {
        self.program_of(context).route(kind, name)
    }

    fn run_route(&mut self, route: RouteId, context: &mut Context) -> bool {
        self.run_event_route(route, context)
    }

    fn start_route(&mut self, route: RouteId, context: Context) {
        self.start_event_route(route, context);
    }
}
