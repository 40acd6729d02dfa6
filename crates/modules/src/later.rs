//! Going on later: module async.

use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, Function, Host, KeyRule, Module, Outcome, Param, ParamKind, Parameter, RouteKind, Routes, Selector,
    SettingKind, Value, Variable, made_up_context,
};

use crate::tm::suspend::{continue_later, sleep};

/// Requests that go on later, or by somebody else.
pub static MODULE: Module = Module {
    name: "async",
    doc: "Goes on with a request after a while, without keeping anybody else waiting.",
    parameters: &[ignored("workers", "1"), ignored("ms_timer", "0"), ignored("return", "0"), ignored("mode", "0")],
    functions: &[ROUTE, MS_ROUTE, SLEEP, MS_SLEEP, TASK_ROUTE, TASK_GROUP_ROUTE, TASK_DATA, TASK_GROUP_DATA],
    variables: &[ASYNC],
    ..Module::EMPTY
};

const fn ignored(name: &'static str, default: &'static str) -> Parameter {
    Parameter {
        name,
        kind: SettingKind::Ignored,
        default,
        doc: "Has no effect: a request that waits costs no worker, and the clock counts milliseconds.",
    }
}

const WHERE: Routes = Routes::REQUEST.or(Routes::FAILURE).or(Routes::REPLIES);
const LATER: &[Param] = &[Param::required("route", ParamKind::Format), Param::required("time", ParamKind::Int)];
const TIME: &[Param] = &[Param::required("time", ParamKind::Int)];

const ROUTE: Function = Function {
    name: "async_route",
    params: LATER,
    routes: WHERE,
    doc: "Ends the script, and goes on with the request at route[NAME] after so many seconds. Attributes are kept.",
    example: "async_route(\"LATER\", 4);",
    run: |call| at_route(call, Duration::from_secs),
};

const MS_ROUTE: Function = Function {
    name: "async_ms_route",
    params: LATER,
    routes: WHERE,
    doc: "Ends the script, and goes on with the request at route[NAME] after so many milliseconds.",
    example: "async_ms_route(\"LATER\", 250);",
    run: |call| at_route(call, Duration::from_millis),
};

const SLEEP: Function = Function {
    name: "async_sleep",
    params: TIME,
    routes: WHERE,
    doc: "Goes on with the next statement after so many seconds.",
    example: "async_sleep(2);",
    run: |call| for_a_while(call, Duration::from_secs),
};

const MS_SLEEP: Function = Function {
    name: "async_ms_sleep",
    params: TIME,
    routes: WHERE,
    doc: "Goes on with the next statement after so many milliseconds.",
    example: "async_ms_sleep(250);",
    run: |call| for_a_while(call, Duration::from_millis),
};

const TASK_ROUTE: Function = Function {
    name: "async_task_route",
    params: &[Param::required("route", ParamKind::Format)],
    routes: WHERE,
    doc: "Ends the script, and goes on with the request at route[NAME] in a moment, after what else waits.",
    example: "async_task_route(\"SLOW\");",
    run: |call| {
        let route = call.text(0);
        continue_later(call, &route, Duration::ZERO)
    },
};

const TASK_GROUP_ROUTE: Function = Function {
    name: "async_task_group_route",
    params: &[Param::required("route", ParamKind::Format), Param::required("group", ParamKind::Format)],
    routes: WHERE,
    doc: "As async_task_route(): there is one group of workers only.",
    example: "async_task_group_route(\"SLOW\", \"tasks\");",
    run: TASK_ROUTE.run,
};

const TASK_DATA: Function = Function {
    name: "async_task_data",
    params: &[Param::required("route", ParamKind::Format), Param::required("data", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Runs route[NAME] on its own, beside this request, with a text as $async(data) and with a made-up message. The \
          request goes on at once. False when there is no such route, and when too much waits already.",
    example: "async_task_data(\"COUNT\", \"$fU called\");",
    run: |call| {
        let data = call.text(1);
        beside(call, data)
    },
};

const TASK_GROUP_DATA: Function = Function {
    name: "async_task_group_data",
    params: &[
        Param::required("route", ParamKind::Format),
        Param::required("group", ParamKind::Format),
        Param::required("data", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "As async_task_data(): there is one group of workers only.",
    example: "async_task_group_data(\"COUNT\", \"tasks\", \"$fU called\");",
    run: |call| {
        let data = call.text(2);
        beside(call, data)
    },
};

const ASYNC: Variable = Variable {
    name: "async",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "In a route that async_task_data() runs: $async(data), the text that it was given.",
    example: "xlog(\"$async(data)\\n\");",
    read: |call, selector: &Selector<'_>| match selector.key() {
        b"data" => call.context.note::<Given>().map_or(Value::Null, |given| Value::Str(given.0.clone())),
        _ => Value::Null,
    },
    write: None,
};

/// What a route that runs on its own was given; a note of its context.
struct Given(Bytes);

fn beside(call: &mut Call<'_>, data: Bytes) -> Outcome {
    let name = call.text(0);
    let name = String::from_utf8_lossy(&name);
    // The route is looked up now, so that a mistake shows where it was made, and again when it runs: a reload may
    // have come between.
    if call.host.find_route(None, RouteKind::Request, &name).is_none() {
        return Outcome::fail(format!("async_task_data: there is no route[{name}]"));
    }
    let name = name.into_owned();
    let run = move |host: &mut dyn Host| {
        if let Some(route) = host.find_route(None, RouteKind::Request, &name) {
            let mut context = made_up_context(host);
            context.set_note(Given(data));
            host.start_route(route, context);
        }
    };
    call.host.after(Duration::ZERO, Box::new(run)).into()
}

/// Longer than this no caller waits.
const LONGEST: Duration = Duration::from_secs(3600);

fn at_route(call: &mut Call<'_>, unit: fn(u64) -> Duration) -> Outcome {
    let Some(delay) = delay(call, 1, unit) else { return Outcome::fail("a time is from 0 to an hour") };
    let route = call.text(0);
    continue_later(call, &route, delay)
}

fn for_a_while(call: &mut Call<'_>, unit: fn(u64) -> Duration) -> Outcome {
    match delay(call, 0, unit) {
        Some(delay) => sleep(call, delay),
        None => Outcome::fail("a time is from 0 to an hour"),
    }
}

fn delay(call: &Call<'_>, n: usize, unit: fn(u64) -> Duration) -> Option<Duration> {
    let number = u64::try_from(call.int(n)?).ok().filter(|number| *number <= LONGEST.as_millis() as u64)?;
    Some(unit(number)).filter(|delay| *delay <= LONGEST)
}
