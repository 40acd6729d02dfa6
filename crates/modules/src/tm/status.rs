//! Questions about how the transaction stands.

use module_api::{Call, Function, Outcome, Param, ParamKind, RouteKind, Routes, Standing};

const LATER: Routes = Routes::FAILURE.or(Routes::REPLIES).or(Routes::of(RouteKind::Branch));

pub(super) const CHECK_STATUS: Function = Function {
    name: "t_check_status",
    params: &[Param::required("pattern", ParamKind::Regex)],
    routes: Routes::ANY,
    doc: "Matches a status code: of the reply at hand, in a failure route of the chosen one, in a request route of the \
          last one sent.",
    example: "if (t_check_status(\"486|408\")) append_branch(\"sip:vm@example.com\");",
    run: |call| {
        let Some(regex) = call.regex(0) else { return Outcome::FALSE };
        match status(call) {
            Some(code) => regex.is_match(code.to_string().as_bytes()).into(),
            None => Outcome::FALSE,
        }
    },
};

pub(super) const GREP_STATUS: Function = Function {
    name: "t_grep_status",
    params: &[Param::required("code", ParamKind::StatusCode)],
    routes: LATER.or(Routes::REQUEST),
    doc: "True when some branch has the given final reply.",
    example: "if (t_grep_status(\"603\")) exit;",
    run: |call| {
        let wanted = call.int(0).and_then(|code| u16::try_from(code).ok());
        ask(call, |standing| {
            standing.replies.iter().flatten().any(|reply| reply.status().is_some() && reply.status() == wanted)
        })
    },
};

pub(super) const IS_CANCELED: Function = Function {
    name: "t_is_canceled",
    params: &[],
    routes: Routes::ANY,
    doc: "True when the caller has cancelled. To be asked first in a failure route: no new branch makes sense then.",
    example: "if (t_is_canceled()) exit;",
    run: |call| ask(call, |standing| standing.is_canceled),
};

pub(super) const BRANCH_TIMEOUT: Function = Function {
    name: "t_branch_timeout",
    params: &[],
    routes: Routes::FAILURE.or(Routes::REQUEST),
    doc: "True when the chosen branch ended because its time was up.",
    example: "if (t_branch_timeout()) xlog(\"no answer\\n\");",
    run: |call| ask(call, |standing| standing.is_timeout),
};

pub(super) const BRANCH_REPLIED: Function = Function {
    name: "t_branch_replied",
    params: &[],
    routes: Routes::FAILURE.or(Routes::REQUEST),
    doc: "True when the chosen branch has had a reply, if only a provisional one.",
    example: "if (t_branch_timeout() && !t_branch_replied()) xlog(\"dead\\n\");",
    run: |call| ask(call, |standing| standing.has_reply),
};

pub(super) const ANY_TIMEOUT: Function = Function {
    name: "t_any_timeout",
    params: &[],
    routes: Routes::FAILURE.or(Routes::REQUEST),
    doc: "True when some branch ended because its time was up.",
    example: "if (t_any_timeout()) xlog(\"some phone was silent\\n\");",
    run: |call| {
        ask(call, |standing| {
            // In a failure route every branch has ended, those without a final reply by a timer.
            let is_open = |code: Option<u16>| code.is_none_or(|code| code < 200);
            standing.is_timeout
                || standing.replies.iter().any(|reply| is_open(reply.as_ref().and_then(|reply| reply.status())))
        })
    },
};

pub(super) const ANY_REPLIED: Function = Function {
    name: "t_any_replied",
    params: &[],
    routes: Routes::FAILURE.or(Routes::REQUEST),
    doc: "True when some branch has had a reply.",
    example: "if (!t_any_replied()) xlog(\"nobody there\\n\");",
    run: |call| ask(call, |standing| standing.replies.iter().any(Option::is_some)),
};

pub(super) const STATUS_CODE: Function = Function {
    name: "t_get_status_code",
    params: &[],
    routes: Routes::ANY,
    doc: "Returns the status code that t_check_status() would match, or -1.",
    example: "$var(code) = t_get_status_code();",
    run: |call| Outcome::Value(status(call).map_or(-1, i64::from)),
};

fn ask(call: &mut Call<'_>, question: impl FnOnce(&Standing) -> bool) -> Outcome {
    call.host.standing(call.context).is_some_and(|standing| question(&standing)).into()
}

/// The status code in question.
pub(super) fn status(call: &Call<'_>) -> Option<u16> {
    let of_message = call.context.message.status();
    let of_event = Some(call.context.reply_code).filter(|code| *code > 0);
    let sent = || call.host.standing(call.context).map(|standing| standing.reply_code).filter(|code| *code > 0);
    of_message.or(of_event).or_else(sent)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;
    use module_api::Arg;
    use regex::bytes::Regex;
    use std::sync::Arc;

    fn matches(bench: &mut Bench, pattern: &str) -> i64 {
        let regex = Arg::Regex(Arc::new(Regex::new(pattern).unwrap()));
        bench.run_args(&MODULE, "t_check_status", &[regex])
    }

    #[test]
    fn the_status_is_that_of_the_reply_else_of_the_failure_else_of_what_was_sent() {
        let mut bench = Bench::reply("183 Progress");
        assert_eq!(matches(&mut bench, "18."), 1);
        let mut bench = Bench::invite();
        assert_eq!(matches(&mut bench, "4.."), -1);
        bench.host.standing = Some(Standing { reply_code: 100, ..Standing::default() });
        assert_eq!(matches(&mut bench, "100"), 1);
        bench.context.reply_code = 486;
        assert_eq!(matches(&mut bench, "486|408"), 1);
        assert_eq!(bench.run(&MODULE, "t_get_status_code", &[]), 486);
    }

    #[test]
    fn the_standing_answers_questions() {
        let mut bench = Bench::invite();
        assert_eq!(bench.run(&MODULE, "t_is_canceled", &[]), -1);
        bench.host.standing =
            Some(Standing { is_canceled: true, is_timeout: true, replies: vec![None], ..Standing::default() });
        for (function, code) in [
            ("t_is_canceled", 1),
            ("t_branch_timeout", 1),
            ("t_any_timeout", 1),
            ("t_branch_replied", -1),
            ("t_any_replied", -1),
        ] {
            assert_eq!(bench.run(&MODULE, function, &[]), code, "{function}");
        }
    }
}
