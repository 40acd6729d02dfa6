//! A proxied request: its server transaction, its branches, and what the script left for later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use module_api::{
    Arrival, Attributes, Context, Hooks, Notes, OwnVia, RecordRoute, Records, RelayError, Restore, RouteKind, Target,
    Tuning,
};
use script::BoundProgram;
use sip_message::{Edits, Message, Transport};
use sip_proto::resolve::Hop;
use sip_proto::response_context::{ResponseContext, TimerC};
use sip_proto::transaction::{InviteClient, InviteServer, NonInviteClient, NonInviteServer, key};

use crate::outgoing::Way;
use crate::own::Own;
use crate::wait::After;

/// A request that this server answers for (RFC 3261 section 16).
pub(crate) struct Transaction {
    pub(crate) request: Arc<Message>,
    pub(crate) arrival: Arrival,
    /// By which requests are matched to it; none for a request of our own.
    pub(crate) key: Option<key::Key>,
    /// Where replies go; none when the Via names no place.
    pub(crate) upstream: Option<Way>,
    pub(crate) server: Server,
    pub(crate) responses: ResponseContext,
    pub(crate) branches: Vec<Branch>,
    pub(crate) left: Left,
    /// The highest status sent upstream; 0 for none.
    pub(crate) status: u16,
    /// Tag of replies made here.
    pub(crate) tag: u64,
    pub(crate) is_canceled: bool,
    /// Tells a loop from a spiral (RFC 5393 section 4.2).
    pub(crate) loop_hash: u64,
    /// Whether a script run or a lookup still holds it, so that its end must wait.
    pub(crate) holds: u16,
    /// Set while it waits for the script of another message.
    pub(crate) suspended: Option<Box<Suspended>>,
    /// Whether a parked run holds its attributes.
    pub(crate) is_lent: bool,
    /// The number under which a run with the attributes waits.
    pub(crate) waits_as: Option<u64>,
    /// What shall run as soon as they are back.
    pub(crate) queue: Vec<Queued>,
    /// With which branch its latest try began.
    pub(crate) latest_try: u16,
    /// When it has lasted too long.
    pub(crate) expires: Option<Instant>,
    /// When its request came.
    pub(crate) born: Instant,
    /// How long its request has been in the script.
    pub(crate) in_script: Duration,
    /// When the wheel wakes it.
    pub(crate) wake: Option<Instant>,
    /// The program under which it began; a reload does not change it.
    pub(crate) program: Arc<BoundProgram>,
}

/// What the script left for the later life of the transaction.
#[derive(Default)]
pub(crate) struct Left {
    /// Why the script's latest relay came to nothing: for the reply, if the script makes none.
    pub(crate) refusal: Option<RelayError>,
    pub(crate) edits: Edits,
    pub(crate) target: Target,
    pub(crate) flags: u32,
    pub(crate) avps: Attributes,
    pub(crate) records: Records,
    pub(crate) hooks: Hooks,
    pub(crate) record_route: Option<RecordRoute>,
    pub(crate) own_via: Option<Box<OwnVia>>,
    pub(crate) timeouts: (Option<Duration>, Option<Duration>),
    pub(crate) tuning: Tuning,
    pub(crate) reply_headers: Vec<u8>,
    pub(crate) is_rport_forced: bool,
    /// Names that replies get back.
    pub(crate) restores: Vec<Restore>,
    /// What modules noted about the request, such as whose credentials were verified.
    pub(crate) notes: Notes,
}

/// A run that waits for the script of another message.
pub(crate) struct Suspended {
    /// When it has waited too long: then it counts as 408.
    pub(crate) until: Instant,
    /// The context, and what its run was for; none before that run has ended.
    pub(crate) parked: Option<(Context, After)>,
}

/// What waits until a parked run gives the attributes back.
pub(crate) enum Queued {
    /// The reply route, on a reply of this branch.
    Reply(u16, Box<Context>),
    /// The end of all branches.
    Complete,
}

/// The server transaction (RFC 3261 section 17.2).
pub(crate) enum Server {
    Invite(InviteServer),
    NonInvite(NonInviteServer),
    /// Nobody is upstream: it is a request of our own.
    Own(Own),
}

/// One copy of the request on its way to one target.
pub(crate) struct Branch {
    pub(crate) target: Target,
    /// The script's edits of this copy, to write it again for another hop.
    pub(crate) edits: Option<Box<Edits>>,
    pub(crate) client: Client,
    pub(crate) way: Option<Way>,
    /// Hops to try when this one fails (RFC 3263 section 4.3), best last.
    pub(crate) further: Vec<Hop>,
    /// The request as sent: for retransmission, ACK and CANCEL.
    pub(crate) sent: Bytes,
    pub(crate) via_branch: Bytes,
    /// The latest reply.
    pub(crate) reply: Option<Arc<Message>>,
    pub(crate) status: u16,
    pub(crate) cancel: Cancel,
    /// Of an INVITE (RFC 3261 section 16.6 step 11).
    pub(crate) timer_c: Option<TimerC>,
    /// How many rounds of questions its next hop has taken.
    pub(crate) lookups: u8,
    /// The transport that the script demanded.
    pub(crate) transport: Option<Transport>,
    /// Its share of Max-Breadth (RFC 5393 section 5.3), where the copy shall say one.
    pub(crate) max_breadth: Option<u32>,
    /// Whether it has been decided that this request, though large, goes over UDP or TCP.
    pub(crate) is_mtu_settled: bool,
}

/// The client transaction of a branch (RFC 3261 section 17.1).
pub(crate) enum Client {
    /// Its next hop is not known yet.
    Resolving,
    Invite(InviteClient),
    NonInvite(NonInviteClient),
    /// It is over.
    Done,
}

/// Whether and how far a branch is being cancelled (RFC 3261 section 9.1).
pub(crate) enum Cancel {
    No,
    /// As soon as a provisional reply shows that the peer knows the request.
    Wanted,
    /// The CANCEL is a transaction of its own.
    Sent(NonInviteClient, Bytes),
    /// It has been answered, or nobody answers.
    Over,
}

impl Transaction {
    pub(crate) fn is_invite(&self) -> bool {
        match &self.server {
            Server::Invite(_) => true,
            Server::NonInvite(_) => false,
            Server::Own(own) => own.is_invite,
        }
    }

    /// Keeps what `context` holds for failure and reply routes.
    pub(crate) fn keep(&mut self, context: &mut Context) {
        let left = &mut self.left;
        left.flags = context.flags;
        left.avps = std::mem::take(&mut context.avps);
        left.records = std::mem::take(&mut context.records);
        left.hooks = context.hooks;
        left.timeouts = context.timeouts;
        left.tuning = context.tuning;
        left.restores = std::mem::take(&mut context.restores);
        self.responses.set_6xx_ordinary(context.tuning.is_6xx_ordinary);
        left.record_route.clone_from(&context.record_route);
        left.own_via.clone_from(&context.own_via);
        left.is_rport_forced = context.is_rport_forced;
        left.notes = context.take_notes();
        if left.reply_headers != context.reply_headers {
            left.reply_headers.clone_from(&context.reply_headers);
        }
    }

    /// Keeps the edits and the target that a failure route starts from.
    pub(crate) fn keep_request_edits(&mut self, context: &Context) {
        // Also when there are none: those of an earlier try may be of the message before
        // `msg_apply_changes()`, and mean other bytes in this one.
        self.left.edits.clone_from(&context.edits);
        if context.hooks.failure.is_some() || self.program.is_observed() {
            self.left.target = context.target.clone();
        }
        self.left.restores.clone_from(&context.restores);
        // Replies may come before the script is over, when it waits for something after the relay.
        self.left.hooks = Hooks { branch: None, ..context.hooks };
        self.left.flags = context.flags;
    }

    /// Lends flags and attributes to `context` while a route of this transaction runs; [`Transaction::keep`] takes them back.
    pub(crate) fn lend(&mut self, context: &mut Context) {
        let left = &mut self.left;
        context.flags = left.flags;
        context.avps = std::mem::take(&mut left.avps);
        context.records = std::mem::take(&mut left.records);
        context.hooks = left.hooks;
        context.timeouts = left.timeouts;
        context.tuning = left.tuning;
        context.restores = std::mem::take(&mut left.restores);
        context.record_route.clone_from(&left.record_route);
        context.own_via.clone_from(&left.own_via);
        context.is_rport_forced = left.is_rport_forced;
        context.give_notes(std::mem::take(&mut left.notes));
        context.reply_headers.clone_from(&left.reply_headers);
        if context.kind == RouteKind::Failure {
            context.edits = left.edits.clone();
            context.target = left.target.clone();
            context.is_target_fresh = false;
        }
    }

    /// The earliest moment at which something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let branches = self.branches.iter().filter_map(Branch::deadline);
        let suspended = self.suspended.as_ref().map(|suspended| suspended.until);
        branches.chain([self.server.deadline(), suspended, self.expires].into_iter().flatten()).min()
    }

    /// Whether nothing can happen to it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.holds == 0
            && self.suspended.is_none()
            && self.server.is_terminated()
            && self.branches.iter().all(Branch::is_over)
    }
}

impl Server {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Server::Invite(machine) => machine.deadline(),
            Server::NonInvite(machine) => machine.deadline(),
            Server::Own(_) => None,
        }
    }

    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Server::Invite(machine) => machine.is_terminated(),
            Server::NonInvite(machine) => machine.is_terminated(),
            Server::Own(own) => own.is_answered(),
        }
    }
}

impl Branch {
    /// A branch to `target` whose hops are not known yet.
    pub(crate) fn new(target: Target) -> Branch {
        Branch {
            target,
            edits: None,
            client: Client::Resolving,
            way: None,
            further: Vec::new(),
            sent: Bytes::new(),
            via_branch: Bytes::new(),
            reply: None,
            status: 0,
            cancel: Cancel::No,
            timer_c: None,
            lookups: 0,
            transport: None,
            max_breadth: None,
            is_mtu_settled: false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let client = match &self.client {
            Client::Invite(machine) => machine.deadline(),
            Client::NonInvite(machine) => machine.deadline(),
            Client::Resolving | Client::Done => None,
        };
        let cancel = match &self.cancel {
            Cancel::Sent(machine, _) => machine.deadline(),
            Cancel::No | Cancel::Wanted | Cancel::Over => None,
        };
        let timer_c = self.timer_c.as_ref().and_then(TimerC::deadline);
        [client, cancel, timer_c].into_iter().flatten().min()
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.client, Client::Done) && !matches!(self.cancel, Cancel::Sent(..))
    }

    /// Whether a final reply is still to come.
    pub(crate) fn is_pending(&self) -> bool {
        self.status < 200 && !matches!(self.client, Client::Done)
    }

    /// Gives back what only a pending branch needs.
    pub(crate) fn settle(&mut self) {
        self.edits = None;
        self.further = Vec::new();
        self.timer_c = None;
    }
}
