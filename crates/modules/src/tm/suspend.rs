//! Suspending a request until another script, or time, goes on with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, Function, KeyRule, Outcome, Param, ParamKind, Pending, RouteKind, Routes, Selector, Value, Variable,
};

pub(crate) const SUSPEND: Function = Function {
    name: "t_suspend",
    params: &[],
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Keeps the request as it is when this script is over, until t_continue() goes on with it; $T(id_index) and \
          $T(id_label) say which. The transaction is made where there is none. After the time of fr_timer it counts as \
          answered with 408.",
    example: "if (t_suspend()) { $sht(waiting=>$rU) = $T(id_index) + \":\" + $T(id_label); exit; }",
    run: |call| call.host.suspend(call.context).is_some().into(),
};

pub(crate) const CONTINUE: Function = Function {
    name: "t_continue",
    params: &[
        Param::required("index", ParamKind::Int),
        Param::required("label", ParamKind::Int),
        Param::required("route", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Goes on with a suspended request at route[NAME]. False when it is not there any more; what another worker \
          keeps counts as there.",
    example: "t_continue(\"$var(index)\", \"$var(label)\", \"RESUMED\");",
    run: |call| {
        let number = |n| call.int(n).and_then(|number| u32::try_from(number).ok());
        let (Some(index), Some(label)) = (number(0), number(1)) else { return Outcome::FALSE };
        let route = call.text(2);
        call.host.resume(Pending { index, label }, &String::from_utf8_lossy(&route)).into()
    },
};

/// Suspends the request and has it go on at a route after a while.
pub(crate) fn continue_later(call: &mut Call<'_>, route: &Bytes, delay: Duration) -> Outcome {
    let route = String::from_utf8_lossy(route).into_owned();
    if call.host.find_route(Some(call.context), RouteKind::Request, &route).is_none() {
        return Outcome::fail(format!("there is no route[{route}]"));
    }
    // It must not count as unanswered while it waits for its time.
    let before = call.context.timeouts.0;
    call.context.timeouts.0 = Some(delay + before.unwrap_or(AFTER_THE_DELAY));
    let pending = call.host.suspend(call.context);
    call.context.timeouts.0 = before;
    let Some(pending) = pending else { return Outcome::fail("the request cannot be suspended") };
    let job = move |host: &mut dyn module_api::Host| {
        host.resume(pending, &route);
    };
    if !call.host.after(delay, Box::new(job)) {
        return Outcome::fail("too many requests wait");
    }
    Outcome::Value(0)
}

/// How long a suspended request may last beyond its time; fr_timer's default.
const AFTER_THE_DELAY: Duration = Duration::from_secs(30);

/// Goes on at the next statement after a while.
///
/// In slices, since the server bounds each wait.
pub(crate) fn sleep(call: &mut Call<'_>, left: Duration) -> Outcome {
    let slice = left.min(SLICE);
    let alarm = Arc::new(tokio::sync::Notify::new());
    let ring = Arc::clone(&alarm);
    if !call.host.after(slice, Box::new(move |_| ring.notify_one())) {
        return Outcome::fail("too many requests wait");
    }
    Outcome::wait(async move { alarm.notified().await }, move |call, ()| match left.checked_sub(slice) {
        Some(left) if !left.is_zero() => sleep(call, left),
        _ => Outcome::TRUE,
    })
}

const SLICE: Duration = Duration::from_secs(2);

pub(super) const T: Variable = Variable {
    name: "T",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "The transaction: $T(id_index) and $T(id_label) name it, $T(reply_code) is the status in question, \
          $T(branch_index) the branch.",
    example: "xlog(\"waiting as $T(id_index):$T(id_label)\\n\");",
    read,
    write: None,
};

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let name = || call.host.name_of(call.context);
    match selector.key() {
        b"id_index" | b"id_index_n" => name().map_or(Value::Null, |name| Value::Int(name.index.into())),
        b"id_label" | b"id_label_n" => name().map_or(Value::Null, |name| Value::Int(name.label.into())),
        b"reply_code" => super::status::status(call).map_or(Value::Null, |code| Value::Int(code.into())),
        b"branch_index" => Value::Int(call.context.branch_index.into()),
        b"method" => Value::Str(Bytes::copy_from_slice(call.context.message.method_text())),
        _ => Value::Null,
    }
}
