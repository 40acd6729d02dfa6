//! Kinds of route blocks, and the sets of kinds in which a function or variable may be used.

use std::fmt;

/// Which of the two families a script belongs to. Some statements differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// SER of 2003 to 2005.
    Ser,
    /// Kamailio (and OpenSER before it).
    #[default]
    Kamailio,
}

/// Names one route block of a loaded program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// Why a route block runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RouteKind {
    /// For each request: `route`, `request_route`, and the named routes that they call.
    Request,
    /// When every branch of a transaction has failed: `failure_route[NAME]`.
    Failure,
    /// For each reply of a transaction: `onreply_route[NAME]`.
    TransactionReply,
    /// For each reply, before its transaction is looked up: `onreply_route`, `reply_route`.
    Reply,
    /// For each branch before it is sent: `branch_route[NAME]`.
    Branch,
    /// Just before a message leaves: `onsend_route`.
    Send,
    /// By a module's event: `event_route[MODULE:EVENT]`.
    Event,
}

impl RouteKind {
    const ALL: [RouteKind; 7] = [
        RouteKind::Request,
        RouteKind::Failure,
        RouteKind::TransactionReply,
        RouteKind::Reply,
        RouteKind::Branch,
        RouteKind::Send,
        RouteKind::Event,
    ];

    /// The word that a script uses for this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteKind::Request => "request_route",
            RouteKind::Failure => "failure_route",
            RouteKind::TransactionReply => "onreply_route[...]",
            RouteKind::Reply => "onreply_route",
            RouteKind::Branch => "branch_route",
            RouteKind::Send => "onsend_route",
            RouteKind::Event => "event_route",
        }
    }
}

/// A set of [`RouteKind`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Routes(u8);

impl Routes {
    /// In no kind of route.
    pub const NONE: Routes = Routes(0);
    /// In every kind of route.
    pub const ANY: Routes = Routes(0x7f);
    /// Where the message is a request: request, failure, branch, send and event routes.
    pub const REQUESTS: Routes = Routes::REQUEST
        .or(Routes::of(RouteKind::Failure))
        .or(Routes::of(RouteKind::Branch))
        .or(Routes::of(RouteKind::Send))
        .or(Routes::of(RouteKind::Event));
    /// In the request route, and in event routes: what happens mostly is a request too, as at `tm:local-request`,
    /// `xhttp:request` and `core:msg-received`.
    pub const REQUEST: Routes = Routes::of(RouteKind::Request).or(Routes::of(RouteKind::Event));
    /// Only in failure routes.
    pub const FAILURE: Routes = Routes::of(RouteKind::Failure);
    /// Where the message is a reply: both kinds of reply routes.
    pub const REPLIES: Routes = Routes::of(RouteKind::Reply).or(Routes::of(RouteKind::TransactionReply));

    /// The set of one kind.
    pub const fn of(kind: RouteKind) -> Routes {
        Routes(1 << kind as u8)
    }

    /// Union.
    pub const fn or(self, other: Routes) -> Routes {
        Routes(self.0 | other.0)
    }

    /// Whether `kind` is a member.
    pub const fn contains(self, kind: RouteKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The members, in the order of [`RouteKind`].
    pub fn iter(self) -> impl Iterator<Item = RouteKind> {
        RouteKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_functions_may_run_in_failure_and_branch_routes_but_not_on_replies() {
        assert!(Routes::REQUESTS.contains(RouteKind::Failure));
        assert!(Routes::REQUESTS.contains(RouteKind::Branch));
        assert!(!Routes::REQUESTS.contains(RouteKind::Reply));
        assert_eq!(Routes::ANY.iter().count(), 7);
    }
}
