//! The server as a module sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Message, Transport};

use crate::{
    Context, HttpAnswer, Job, JsonRpc, OnAnswer, OwnRequest, RouteId, RouteKind, Target, TransactionKey, Watch, Zone,
};

/// The server as a module sees it: time, names, transactions and sending.
///
/// The engine implements it for each worker; tests implement it with a virtual clock.
pub trait Host {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock, since 1970-01-01 00:00 UTC.
    fn unix_time(&self) -> Duration;

    /// How clocks on the wall where the server is stand to UTC at a time, in seconds since 1970.
    fn zone(&self, unix: i64) -> Zone {
        let _ = unix;
        Zone::utc()
    }

    /// Unpredictable bits.
    fn random(&mut self) -> u64;

    /// The listening sockets; [`crate::SocketId`] is an index.
    fn sockets(&self) -> &[Socket];

    /// Whether `host` (and port and transport, where given) is an address, alias or domain of this server.
    fn is_myself(&self, host: &[u8], port: Option<u16>, transport: Option<Transport>) -> bool;

    /// Sends a reply without a transaction (RFC 3261 section 8.2.7).
    ///
    /// # Errors
    /// When the message takes no reply (an ACK, a reply), or the reply has nowhere to go.
    fn reply_stateless(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError>;

    /// Sends a reply through the message's transaction.
    ///
    /// # Errors
    /// As [`Host::reply_stateless`], and [`ReplyError::NoTransaction`].
    fn reply(&mut self, context: &mut Context, reply: &Reply<'_>) -> Result<(), ReplyError>;

    /// Forwards without a transaction (RFC 3261 section 16.11), to `to` or to the request's target.
    ///
    /// # Errors
    /// When there is nowhere to send to.
    fn forward(&mut self, context: &mut Context, to: Option<&Bytes>) -> Result<(), RelayError>;

    /// Sends bytes as they are to where `target` leads (RFC 3263), in no transaction and without a Via of ours. The
    /// context says by which socket the message came, which is preferred.
    ///
    /// # Errors
    /// When there is nowhere to send to.
    fn send_bytes(&mut self, context: &Context, target: Target, bytes: Bytes) -> Result<(), RelayError> {
        drop((context, target, bytes));
        Err(RelayError::Unresolvable)
    }

    /// Sends the reply at hand on by its second Via, with the edits of the context and without its transaction. False
    /// when that Via leads nowhere.
    fn forward_reply(&mut self, context: &Context) -> bool {
        let _ = context;
        false
    }

    /// What the message is to the transactions at hand, without changing any.
    fn matched(&mut self, context: &Context) -> Matched;

    /// Makes a transaction for the request, or finds that it has one.
    fn new_transaction(&mut self, context: &mut Context) -> NewTransaction;

    /// Relays statefully to the request's target and branches (RFC 3261 section 16), making the
    /// transaction where it is not there yet. ACK to a 2xx goes on statelessly; CANCEL is answered
    /// and cancels the branches of its INVITE.
    ///
    /// # Errors
    /// When no branch could be made.
    fn relay(&mut self, context: &mut Context, options: &RelayOptions) -> Result<(), RelayError>;

    /// How the message's transaction stands; none when it has no transaction.
    fn standing(&self, context: &Context) -> Option<Standing>;

    /// Cancels the pending branches of a transaction (RFC 3261 section 9.1).
    fn cancel_branches(&mut self, key: TransactionKey);

    /// Cancels one pending branch, or all but it.
    fn cancel_branch(&mut self, key: TransactionKey, branch: u16, all_but_it: bool) {
        let _ = (key, branch, all_but_it);
    }

    /// Leaves the replies so far out of the choice of the best one: all, or those of the latest try.
    fn drop_replies(&mut self, context: &Context, only_latest: bool) {
        let _ = (context, only_latest);
    }

    /// Has the run end without consequences and wait for [`Host::resume`]; the transaction is made where there
    /// is none. Says by which name it is resumed. None when the message can have no transaction, or has been
    /// suspended already.
    fn suspend(&mut self, context: &mut Context) -> Option<Pending> {
        let _ = context;
        None
    }

    /// Goes on with what was suspended, at the route of that name of the script. False when it is not there; what
    /// another worker has counts as there.
    fn resume(&mut self, pending: Pending, route: &str) -> bool {
        let _ = (pending, route);
        false
    }

    /// The name by which the transaction of a message is known to other messages.
    fn name_of(&self, context: &Context) -> Option<Pending> {
        let _ = context;
        None
    }

    /// Answers or cancels the transaction of another request, known by Call-ID and CSeq number. With a status
    /// it gets that reply; without, its branches are cancelled. False when there is none; what another worker
    /// may have counts as there.
    fn intervene(&mut self, call_id: &[u8], cseq: u32, reply: Option<(u16, Bytes)>) -> bool {
        let _ = (call_id, cseq, reply);
        false
    }

    /// Gives the transaction up to the engine: nothing more will come from the script.
    fn release(&mut self, context: &mut Context);

    /// Writes a line to the log.
    fn log(&mut self, level: Level, text: &[u8]);

    /// Puts `prefix` in front of each line that is logged until the next call, and gives back what stood there
    /// before; empty for none.
    fn set_log_prefix(&mut self, _prefix: Bytes) -> Bytes {
        Bytes::new()
    }

    /// Sends a request of our own in a client transaction (RFC 3261 section 17.1), to where RFC 3263 leads.
    ///
    /// `on_answer` is called once, with the final reply or what stands for it; when nothing could be sent,
    /// before this returns. A 2xx to an INVITE is acknowledged by itself. A challenge is an answer like any other.
    fn request(&mut self, request: OwnRequest, on_answer: OnAnswer);

    /// Does `job` on this worker when `delay` has passed. False when too much is waiting already.
    fn after(&mut self, delay: Duration, job: Job) -> bool {
        drop((delay, job));
        false
    }

    /// As [`Host::after`], for work that repeats for as long as the server runs: it is never refused.
    fn after_always(&mut self, delay: Duration, job: Job) {
        drop((delay, job));
    }

    /// A route of the script, as `context` sees it: in the program under which its transaction began.
    fn find_route(&self, context: Option<&Context>, kind: RouteKind, name: &str) -> Option<RouteId> {
        let _ = (context, kind, name);
        None
    }

    /// Runs a route on `context` now, where nothing may wait. False when the script drops the message.
    fn run_route(&mut self, route: RouteId, context: &mut Context) -> bool {
        let _ = (route, context);
        true
    }

    /// Runs a route, found without a context, on a context that nobody else needs. It may wait.
    fn start_route(&mut self, route: RouteId, context: Context) {
        drop((route, context));
    }

    /// Answers the HTTP request that `context` is about. False when it is none, or has been answered.
    fn answer_http(&mut self, context: &mut Context, answer: &HttpAnswer<'_>) -> bool {
        let _ = (context, answer);
        false
    }

    /// Has a module see, from now on, what belongs to the transaction or dialog of the message at hand. False where too
    /// much is watched already.
    fn watch(&mut self, context: &Context, watch: Watch) -> bool {
        let _ = (context, watch);
        false
    }

    /// The commands of the server; none where no server runs, as in `ser explain`.
    fn json_rpc(&self) -> Option<Arc<dyn JsonRpc>> {
        None
    }
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What it speaks.
    pub transport: Transport,
    /// Where it listens; may be a wildcard address.
    pub address: SocketAddr,
    /// The host to put into Via and Record-Route, brackets included, where it is not `address`.
    pub advertised: Option<(Bytes, u16)>,
    /// The name given in the script, where it has one.
    pub name: Option<Bytes>,
}

impl Socket {
    /// Host and port as Via and Record-Route show them (RFC 3261 section 18.1.1); IPv6 in brackets.
    pub fn sent_by(&self) -> (Bytes, u16) {
        if let Some(advertised) = &self.advertised {
            return advertised.clone();
        }
        let host = match self.address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        (host.into(), self.address.port())
    }
}

/// As the language names it: `udp:192.0.2.1:5060`.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.uri_param(), self.address)
    }
}

/// A reply to be made.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Status code, 100 to 699.
    pub code: u16,
    /// Reason phrase.
    pub reason: &'a [u8],
    /// Header lines to add, each with its CRLF, after those that the script gave.
    pub headers: &'a [u8],
}

impl<'a> Reply<'a> {
    /// A reply with no headers of its own.
    pub fn new(code: u16, reason: &'a [u8]) -> Reply<'a> {
        Reply { code, reason, headers: &[] }
    }
}

/// Why a reply was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// An ACK or a reply takes no reply.
    NotARequest,
    /// There is no transaction to reply through.
    NoTransaction,
    /// A final reply went out before.
    AlreadyAnswered,
    /// The Via header names no place to send to.
    NoDestination,
    /// Not a status code.
    BadCode,
}

/// Why a request was not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayError {
    /// No target: the Request-URI was used up and nothing was appended.
    NoBranches,
    /// A target's URI or next hop cannot be read.
    BadUri,
    /// No address is known for the target (RFC 3263).
    Unresolvable,
    /// It has come round in a loop (RFC 5393 section 4.2).
    Loop,
    /// Max-Forwards is used up (RFC 3261 section 16.3 step 3).
    TooManyHops,
    /// More branches than Max-Breadth allows (RFC 5393 section 5.3.3).
    TooBroad,
    /// The table of transactions is full.
    Full,
    /// A final reply went out before.
    AlreadyAnswered,
    /// Every branch was dropped by its branch route.
    AllDropped,
}

impl RelayError {
    /// The reply that tells the sender.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            RelayError::NoBranches | RelayError::AllDropped => (500, "No Branches"),
            RelayError::BadUri => (400, "Bad Request-URI"),
            RelayError::Unresolvable => (478, "Unresolvable Destination"),
            RelayError::Loop => (482, "Loop Detected"),
            RelayError::TooManyHops => (483, "Too Many Hops"),
            RelayError::TooBroad => (440, "Max-Breadth Exceeded"),
            RelayError::Full => (503, "Too Many Transactions"),
            RelayError::AlreadyAnswered => (500, "Already Answered"),
        }
    }
}

/// How to relay.
#[derive(Debug, Clone, Default)]
pub struct RelayOptions {
    /// Send all branches there, whatever their URI says: a URI.
    pub to: Option<Bytes>,
    /// Send over this transport.
    pub transport: Option<Transport>,
    /// Send no provisional 100 by itself.
    pub is_quiet: bool,
    /// Leave the error reply to the script.
    pub no_error_reply: bool,
    /// Forward one copy and forget about it: replies to it are not relayed.
    pub is_replica: bool,
}

/// What a message is to the transactions at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// Of no transaction.
    None,
    /// A repetition of the request of this one.
    Retransmission(TransactionKey),
    /// A CANCEL for the INVITE of this one.
    Cancel(TransactionKey),
    /// An ACK to the failure reply of this one.
    FailureAck(TransactionKey),
    /// An ACK to the 2xx of this one, as far as it can be told.
    SuccessAck(TransactionKey),
    /// A reply to a branch of this one.
    Reply(TransactionKey),
}

/// What came of [`Host::new_transaction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTransaction {
    /// It has a transaction now.
    Created(TransactionKey),
    /// It is a repetition; its last reply was sent again, nothing more is to be done.
    Retransmission,
    /// An ACK makes no transaction.
    Ack,
    /// The table is full.
    Full,
}

/// Names a transaction among all workers: two numbers that a script can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its place.
    pub index: u32,
    /// Tells the users of a place apart.
    pub label: u32,
}

/// How a transaction stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The highest status sent upstream so far; 0 for none.
    pub reply_code: u16,
    /// Whether a CANCEL has come.
    pub is_canceled: bool,
    /// Number of branches so far.
    pub branch_count: u16,
    /// Whether the branch in question, or any, has had a reply from outside.
    pub has_reply: bool,
    /// Whether its end was a timeout of ours.
    pub is_local: bool,
    /// Whether the branch in question ended because nothing came (`t_branch_timeout`).
    pub is_timeout: bool,
    /// Whether its lifetime is over.
    pub is_expired: bool,
    /// The request.
    pub request: Option<Arc<Message>>,
    /// Where the request came from and where it arrived.
    pub request_arrival: Option<crate::Arrival>,
    /// Replies of the branches, latest each.
    pub replies: Vec<Option<Arc<Message>>>,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot go on.
    Alert,
    /// Something must be repaired.
    Critical,
    /// A request failed for a reason of ours.
    Error,
    /// Something looks wrong.
    Warning,
    /// Of interest to an operator.
    Notice,
    /// Of interest when looking closer.
    Info,
    /// For developers.
    Debug,
}
