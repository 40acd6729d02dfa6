//! A request in progress: one value that a worker, a parked wait or a transaction owns.

use std::any::{Any, TypeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Edits, HeaderName, Message, Transport};

use crate::{Attributes, Records, RouteId, RouteKind};

/// How many message flags there are: `setflag(0)` to `setflag(31)`.
pub const FLAG_COUNT: u32 = 32;

/// A request or reply in progress, with everything that a script may change about it.
///
/// Suspending a request is moving this value; nothing of it lives in globals.
pub struct Context {
    /// The message that the current route is about: the request, or in reply routes the reply.
    pub message: Arc<Message>,
    /// In reply routes the request of the transaction, where there is one.
    pub request: Option<Arc<Message>>,
    /// In failure routes the reply that would go upstream; none when it is a local timeout or refusal.
    pub reply: Option<Arc<Message>>,
    /// In failure and reply routes the status code in question, local 408 included; else 0.
    pub reply_code: u16,
    /// Where the message came from, and where it arrived.
    pub arrival: Arrival,
    /// Which kind of route is running.
    pub kind: RouteKind,
    /// Edits to `message`, applied when it is sent on.
    pub edits: Edits,
    /// The request's own target: Request-URI, next hop and what else belongs to the first branch.
    pub target: Target,
    /// Whether `target` was changed since a branch last used it. Decides whether a failure route's relay uses it.
    pub is_target_fresh: bool,
    /// Further targets, each a branch of the next relay.
    pub branches: Vec<Target>,
    /// Message flags; they follow the transaction.
    pub flags: u32,
    /// `$avp`: attribute stacks that follow the transaction.
    pub avps: Attributes,
    /// `$xavp`, `$xavu`, `$xavi`: structured attributes that follow the transaction.
    pub records: Records,
    /// `$var`: variables of this run.
    pub vars: Attributes,
    /// Header lines, each with its CRLF, that replies made here shall carry.
    pub reply_headers: Vec<u8>,
    /// Names that replies on their way upstream get back, where From or To left with others.
    pub restores: Vec<Restore>,
    /// Type and content of the body that replies made here shall carry.
    pub reply_body: Option<(Bytes, Bytes)>,
    /// Routes that the next relay arms.
    pub hooks: Hooks,
    /// Set when the request shall be record-routed.
    pub record_route: Option<RecordRoute>,
    /// Answer to the source port even when the top Via has no `rport` (RFC 3581).
    pub is_rport_forced: bool,
    /// What the Via of ours shall say instead of what the sending socket says.
    pub own_via: Option<Box<OwnVia>>,
    /// How long a branch may stay without any reply, and without a final one; none: as configured.
    pub timeouts: (Option<Duration>, Option<Duration>),
    /// How the transaction deals with time and failures, where the script says so.
    pub tuning: Tuning,
    /// Which branch a branch or reply route is about; 0 elsewhere.
    pub branch_index: u16,
    /// The transaction of the message, once there is one.
    pub transaction: Option<TransactionKey>,
    /// `$rc`: the code of the latest function call.
    pub return_code: i64,
    /// Whether a final reply has been sent from this run, so that a second one is a no-op.
    pub is_answered: bool,
    notes: Vec<(TypeId, Box<dyn Any + Send>)>,
}

impl Context {
    /// Exchanges with `other` all that follows the transaction: flags, attributes, notes and what the script chose.
    pub fn swap_attributes(&mut self, other: &mut Context) {
        use std::mem::swap;
        swap(&mut self.flags, &mut other.flags);
        swap(&mut self.avps, &mut other.avps);
        swap(&mut self.records, &mut other.records);
        swap(&mut self.hooks, &mut other.hooks);
        swap(&mut self.timeouts, &mut other.timeouts);
        swap(&mut self.tuning, &mut other.tuning);
        swap(&mut self.restores, &mut other.restores);
        swap(&mut self.record_route, &mut other.record_route);
        swap(&mut self.own_via, &mut other.own_via);
        swap(&mut self.is_rport_forced, &mut other.is_rport_forced);
        swap(&mut self.reply_headers, &mut other.reply_headers);
        swap(&mut self.notes, &mut other.notes);
    }

    /// A context for a message that has just arrived.
    pub fn new(message: Arc<Message>, arrival: Arrival, kind: RouteKind) -> Context {
        let uri = message.slice(message.request_uri_span());
        Context {
            message,
            request: None,
            reply: None,
            reply_code: 0,
            arrival,
            kind,
            edits: Edits::new(),
            target: Target::new(uri),
            is_target_fresh: true,
            branches: Vec::new(),
            flags: 0,
            avps: Attributes::default(),
            records: Records::default(),
            vars: Attributes::default(),
            reply_headers: Vec::new(),
            restores: Vec::new(),
            reply_body: None,
            hooks: Hooks::default(),
            record_route: None,
            is_rport_forced: false,
            own_via: None,
            timeouts: (None, None),
            tuning: Tuning::default(),
            branch_index: 0,
            transaction: None,
            return_code: 1,
            is_answered: false,
            notes: Vec::new(),
        }
    }

    /// Changes the Request-URI.
    pub fn set_uri(&mut self, uri: Bytes) {
        self.target.uri = uri;
        self.is_target_fresh = true;
    }

    /// Sets the next hop, which wins over the host of the Request-URI.
    pub fn set_destination(&mut self, uri: Option<Bytes>) {
        // Another next hop is no flow of the one before.
        self.target.flow = None;
        self.target.flows.clear();
        self.target.destination = uri;
        self.is_target_fresh = true;
    }

    /// What a module noted about this request, by type.
    pub fn note<T: Any + Send>(&self) -> Option<&T> {
        let (_, note) = self.notes.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        note.downcast_ref()
    }

    /// Notes a value of a module's own type, replacing an earlier one of that type.
    pub fn set_note<T: Any + Send>(&mut self, note: T) {
        self.notes.retain(|(id, _)| *id != TypeId::of::<T>());
        self.notes.push((TypeId::of::<T>(), Box::new(note)));
    }

    /// Takes back what a module noted about this request.
    pub fn take_note<T: Any + Send>(&mut self) -> Option<T> {
        let at = self.notes.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        self.notes.remove(at).1.downcast().ok().map(|note| *note)
    }

    /// Takes all notes away, to be given to a later context of the same request.
    pub fn take_notes(&mut self) -> Notes {
        Notes(std::mem::take(&mut self.notes))
    }

    /// Gives the notes of an earlier context of the same request. What is noted here already wins.
    pub fn give_notes(&mut self, notes: Notes) {
        let newer = std::mem::replace(&mut self.notes, notes.0);
        for note in newer {
            self.notes.retain(|(id, _)| *id != note.0);
            self.notes.push(note);
        }
    }

    /// Whether flag `n` is set.
    pub fn has_flag(&self, n: u32) -> bool {
        n < FLAG_COUNT && self.flags & (1 << n) != 0
    }

    /// Sets or clears flag `n`; a number beyond the last flag changes nothing.
    pub fn set_flag(&mut self, n: u32, on: bool) {
        if n < FLAG_COUNT {
            self.flags = if on { self.flags | 1 << n } else { self.flags & !(1 << n) };
        }
    }
}

/// The notes of a [`Context`], on their way to another one.
#[derive(Default)]
pub struct Notes(Vec<(TypeId, Box<dyn Any + Send>)>);

/// One place to send a request to.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The Request-URI.
    pub uri: Bytes,
    /// The next hop as a URI, where it is not the host of `uri`.
    pub destination: Option<Bytes>,
    /// Path of the binding (RFC 3327), as the values of Route headers to add.
    pub path: Option<Bytes>,
    /// Preference from 0 to 1000; none: unspecified, which counts as 1000.
    pub q: Option<u16>,
    /// Branch flags.
    pub flags: u32,
    /// The socket to send from, where it matters.
    pub socket: Option<SocketId>,
    /// The connection over which the contact registered, to be reused (RFC 5626, RFC 7118).
    pub connection: Option<u64>,
    /// Whether it is a flow (RFC 5626): then `connection` is the only one that may carry the request.
    pub flow: Option<Flow>,
    /// Other flows of the same user agent instance, to be tried one by one where this one has failed (RFC 5626
    /// section 7).
    pub flows: Vec<Target>,
}

/// Who knows a flow (RFC 5626), and so who is told when it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The registrar of this server: another flow is tried, and when all have failed the sender gets 480.
    Registered,
    /// Whoever kept the token of this server, as an edge proxy: the sender gets 430 (section 5.3).
    Token,
}

impl Target {
    /// A target that is nothing but its URI.
    pub fn new(uri: Bytes) -> Target {
        Target { uri, ..Target::default() }
    }

    /// Whether no other connection than its own may carry the request. One with a Path goes to the proxy that it
    /// names, by whatever connection leads there.
    pub fn is_bound(&self) -> bool {
        self.flow.is_some() && self.path.is_none() && self.connection.is_some()
    }
}

/// What a Record-Route shall say beside the server's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordRoute {
    /// What follows `;lr`, often `;ftag=...`.
    pub params: Bytes,
    /// The user part, which names a flow (RFC 5626 section 5.3); empty for none.
    pub user: Bytes,
}

/// Routes to run later in the life of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// When all branches failed; used up when it runs.
    pub failure: Option<RouteId>,
    /// For each reply.
    pub reply: Option<RouteId>,
    /// For each branch of the next relay; used up by it.
    pub branch: Option<RouteId>,
    /// For each failure of a branch, before it counts.
    pub branch_failure: Option<RouteId>,
}

/// A From or To that replies shall carry as it came, though the request leaves with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// Which header.
    pub header: HeaderName,
    /// Its display name and URI, without the parameters behind.
    pub address: Bytes,
}

/// How one transaction differs from what is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuning {
    /// T1 (RFC 3261 section 17.1.1.1).
    pub t1: Option<Duration>,
    /// T2.
    pub t2: Option<Duration>,
    /// How long the transaction may last at all.
    pub lifetime: Option<Duration>,
    /// A 6xx is a failure like any other.
    pub is_6xx_ordinary: bool,
    /// Of several addresses of a target only the first is tried.
    pub no_failover: bool,
}

/// Where a message came from and where it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The sender's address and port, as the network shows them.
    pub source: SocketAddr,
    /// The address and port at which it arrived; never a wildcard.
    pub local: SocketAddr,
    /// The transport.
    pub transport: Transport,
    /// The listening socket, an index into [`crate::Host::sockets`].
    pub socket: SocketId,
    /// The connection, on stream transports.
    pub connection: Option<u64>,
}

/// Index of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SocketId(pub u16);

/// Names a transaction of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    /// Place in the worker's table.
    pub slot: u32,
    /// Tells a slot's users apart.
    pub generation: u32,
}

/// What a script changes about the Via that is put on top of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnVia {
    /// The host, brackets included.
    pub host: Option<Bytes>,
    /// The port.
    pub port: Option<u16>,
    /// Whether it asks for `rport` (RFC 3581).
    pub asks_rport: bool,
    /// Whether host and port come from the record that core parameter `xavp_via_fields` names.
    pub takes_fields: bool,
    /// Whether the fields of the record that core parameter `xavp_via_params` names become parameters.
    pub takes_params: bool,
    /// Whether it tells core parameter `server_id` as `srvid`.
    pub tells_server_id: bool,
    /// Further parameters, each with its semicolon.
    pub params: Bytes,
}

/// Noted by `cfg_select()`: which instance of a group of settings this request reads, by group.
#[derive(Debug, Clone, Default)]
pub struct SelectedInstances(pub Vec<(Bytes, i64)>);
