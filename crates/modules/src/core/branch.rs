//! The set of targets beside the Request-URI.

use bytes::Bytes;
use module_api::{Context, Dialect, Function, Outcome, Param, ParamKind, RouteKind, Routes, Target};
use sip_message::Uri;

/// Most targets that one request may gather.
const MAX_BRANCHES: usize = 32;

pub(super) const APPEND_BRANCH: Function = Function {
    name: "append_branch",
    params: &[Param::optional("uri", ParamKind::Str), Param::optional("q", ParamKind::Str)],
    routes: Routes::REQUESTS.or(Routes::REPLIES),
    doc: "Adds a target to which the next t_relay() sends too: the given URI with its preference q from 0 to 1, or the \
          Request-URI as it stands. Without an argument the next hop, path and branch flags move with it, and a failure \
          route's t_relay() does not use the Request-URI a second time.",
    example: "append_branch(\"sip:bob@backup.example.com\", \"0.5\");",
    run: |call| {
        if call.arg_count() == 0 {
            let dialect = call.dialect();
            return append_current(call.context, dialect).into();
        }
        let uri = call.text(0);
        if Uri::parse(&uri).is_err() {
            return Outcome::FALSE;
        }
        let q = parse_q(&call.text(1));
        append(call.context, Target { q, ..Target::new(uri) }).into()
    },
};

pub(super) const REMOVE_BRANCH: Function = Function {
    name: "remove_branch",
    params: &[Param::optional("index", ParamKind::Int)],
    routes: Routes::REQUESTS,
    doc: "Removes an added target, by default the last. False when there is none of that index.",
    example: "remove_branch(0);",
    run: |call| {
        let last = call.context.branches.len().checked_sub(1);
        let index = call.int(0).map_or(last, |index| usize::try_from(index).ok());
        match index.filter(|index| *index < call.context.branches.len()) {
            Some(index) => {
                call.context.branches.remove(index);
                Outcome::TRUE
            }
            None => Outcome::FALSE,
        }
    },
};

pub(super) const CLEAR_BRANCHES: Function = Function {
    name: "clear_branches",
    params: &[],
    routes: Routes::REQUESTS,
    doc: "Removes all added targets; the Request-URI stays.",
    example: "clear_branches();",
    run: |call| {
        call.context.branches.clear();
        Outcome::TRUE
    },
};

/// Adds a target; false when there are too many.
pub(crate) fn append(context: &mut Context, target: Target) -> bool {
    let has_room = context.branches.len() < MAX_BRANCHES;
    if has_room {
        context.branches.push(target);
    }
    has_room
}

/// Adds the Request-URI as it stands.
pub(crate) fn append_current(context: &mut Context, dialect: Dialect) -> bool {
    let target = context.target.clone();
    if dialect == Dialect::Kamailio {
        context.target = Target::new(target.uri.clone());
    }
    // SER's failure routes never reuse the Request-URI, and Kamailio's would send it twice after
    // `rewriteuri(..); append_branch();`. Here the copy is the one that counts.
    if context.kind == RouteKind::Failure {
        context.is_target_fresh = false;
    }
    append(context, target)
}

/// A preference in thousandths.
fn parse_q(text: &Bytes) -> Option<u16> {
    let q: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (0.0..=1.0).contains(&q).then_some((q * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_request_uri_is_copied_with_its_next_hop() {
        let mut bench = Bench::invite();
        bench.context.set_destination(Some(Bytes::from_static(b"sip:hop")));
        assert_eq!(bench.run(&MODULE, "append_branch", &[]), 1);
        assert_eq!(&bench.context.branches[0].uri[..], b"sip:bob@example.com");
        assert_eq!(bench.context.branches[0].destination.as_deref(), Some(&b"sip:hop"[..]));
        assert_eq!(bench.context.target.destination, None);
    }

    #[test]
    fn a_failure_route_does_not_use_the_copied_uri_twice() {
        let mut bench = Bench::invite();
        bench.context.kind = RouteKind::Failure;
        bench.context.set_uri(Bytes::from_static(b"sip:other@h"));
        bench.run(&MODULE, "append_branch", &[]);
        assert!(!bench.context.is_target_fresh);
    }

    #[test]
    fn a_target_may_have_a_preference() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "append_branch", &["sip:a@h", "0.5"]), 1);
        assert_eq!(bench.context.branches[0].q, Some(500));
        assert_eq!(bench.run(&MODULE, "append_branch", &["nonsense"]), -1);
    }

    #[test]
    fn targets_are_bounded_and_can_be_removed() {
        let mut bench = Bench::invite();
        let added = (0..40).filter(|_| bench.run(&MODULE, "append_branch", &["sip:a@h"]) == 1).count();
        assert_eq!(added, 32);
        assert_eq!(bench.run(&MODULE, "remove_branch", &[]), 1);
        assert_eq!(bench.run(&MODULE, "remove_branch", &["31"]), -1);
        assert_eq!(bench.run(&MODULE, "clear_branches", &[]), 1);
        assert!(bench.context.branches.is_empty());
    }
}
