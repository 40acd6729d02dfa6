//! From a target to the next hops, through what is known of names (RFC 3263).

use module_api::{RelayError, Target};
use sip_message::{NameAddr, Transport, Uri};
use sip_proto::resolve::{self, Hop, Plan, Question, ResolveSettings};

use crate::outgoing::Sender;
use crate::wait::{Finished, Waiting};
use crate::worker_core::Core;

/// Why there are no hops yet.
pub(crate) enum Unplanned {
    /// These names must be looked up first.
    Ask(Vec<Question>),
    /// There never will be any.
    Never(RelayError),
}

impl Core {
    /// The hops for a target, best last.
    pub(crate) fn plan(&mut self, target: &Target, transport: Option<Transport>) -> Result<Vec<Hop>, Unplanned> {
        let text = next_hop_uri(target).ok_or(Unplanned::Never(RelayError::BadUri))?;
        let uri = Uri::parse(text).map_err(|_| Unplanned::Never(RelayError::BadUri))?;
        let shared = std::sync::Arc::clone(&self.shared);
        let random = &mut self.random;
        let mut draw = |bound| random.below(bound);
        let forced = transport.map(|transport| ResolveSettings {
            transports: vec![transport],
            default_transport: transport,
            ..shared.resolve.clone()
        });
        let settings = forced.as_ref().unwrap_or(&shared.resolve);
        match resolve::plan(&uri, settings, shared.names.as_ref(), &mut draw) {
            Plan::Hops(mut hops) => {
                hops.reverse();
                Ok(hops)
            }
            Plan::Ask(questions) => Err(Unplanned::Ask(questions)),
            Plan::None(_) => Err(Unplanned::Never(RelayError::Unresolvable)),
        }
    }

    /// Looks names up for a branch, which waits.
    pub(crate) fn ask_for_branch(&mut self, sender: Sender, questions: Vec<Question>) {
        self.hold(sender.transaction);
        let id = self.wait(Waiting::Branch(sender));
        let answer = self.shared.names.ask(questions);
        let work = Box::pin(async move {
            answer.await;
            Finished::Resolved
        });
        self.shared.spawn.spawn(self.number, id, work);
    }

    fn may_ask_again(&mut self, sender: Sender) -> bool {
        self.branch_mut(sender).is_some_and(|branch| {
            branch.lookups += 1;
            branch.lookups < MOST_ROUNDS
        })
    }

    /// The names of a branch are known, or will never be.
    pub(crate) fn on_branch_resolved(&mut self, sender: Sender, finished: Finished) {
        self.unhold(sender.transaction);
        let Some(branch) = self.branch_mut(sender) else { return };
        if !branch.is_pending() {
            // It was cancelled meanwhile.
            return self.settle(sender.transaction);
        }
        let (target, transport) = (branch.target.clone(), branch.transport);
        let planned = match finished {
            Finished::Expired => Err(Unplanned::Never(RelayError::Unresolvable)),
            Finished::Resolved | Finished::Resume(_) => self.plan(&target, transport),
        };
        match planned {
            Ok(hops) => {
                if let Some(branch) = self.branch_mut(sender) {
                    branch.further = hops;
                }
                if self.start_branch(sender).is_err() {
                    self.on_branch_final_made_here(sender, UNREACHABLE);
                }
            }
            // An SRV answer leads to address questions: the next round.
            Err(Unplanned::Ask(questions)) if self.may_ask_again(sender) => self.ask_for_branch(sender, questions),
            Err(_) => self.on_branch_final_made_here(sender, UNREACHABLE),
        }
        self.settle(sender.transaction);
    }
}

/// NAPTR, SRV and addresses are three rounds; answers that expire at once could make it more, for ever.
pub(crate) const MOST_ROUNDS: u8 = 6;

/// What a target counts as that cannot be reached: as if it had answered 503 (RFC 3261 section 16.9).
pub(crate) const UNREACHABLE: u16 = 503;

/// As if this had come where the connection of a flow is gone (RFC 5626 section 5.3).
pub(crate) const FLOW_FAILED: u16 = 430;

/// Where a target's request goes next: the destination set by the script or the registrar, else the
/// topmost Path entry (RFC 3327 section 5.2), else the Request-URI.
fn next_hop_uri(target: &Target) -> Option<&[u8]> {
    if let Some(destination) = &target.destination {
        return Some(destination);
    }
    match &target.path {
        Some(path) => NameAddr::parse(path).ok().map(|first| first.uri),
        None => Some(&target.uri),
    }
}
