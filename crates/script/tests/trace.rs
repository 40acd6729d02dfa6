//! What a traced run tells.
#![allow(clippy::disallowed_types, reason = "a tracer may be told by any thread, so what it keeps has a lock")]

mod world;

use std::sync::{Arc, Mutex};

use script::trace::{Entry, Event, Tracer, render};
use script::{Progress, Run};
use world::World;

#[derive(Default)]
struct Kept(Mutex<Vec<Entry>>);

impl Tracer for Kept {
    fn on(&self, event: &Event<'_>) {
        self.0.lock().expect("no test panics while it holds this lock").push(Entry::new(event));
    }
}

fn traced(script: &str) -> Vec<String> {
    let mut world = World::new(script);
    let kept = Arc::new(Kept::default());
    let route = world.program.main().expect("the script has a main route");
    let mut run = Run::start(&world.program, route);
    run.trace(Some(Arc::clone(&kept) as _));
    let progress = run.step_until_done(&mut world.context, &mut world.server);
    assert!(matches!(progress, Progress::Done(_)));
    let entries = kept.0.lock().expect("no test panics while it holds this lock");
    render(&entries)
}

#[test]
fn statements_values_branches_and_calls_are_told_in_order() {
    let script = r#"#!KAMAILIO
loadmodule "probe.so"
request_route {
    $var(n) = 2;
    if ($var(n) > 1 && code(1)) {
        route(NEXT);
    } else {
        tell("no");
    }
}
route[NEXT] {
    tell("n is $var(n)");
    return -1;
}
"#;
    let expected = [
        "request_route",
        "  test.cfg:4  $var(n) = 2;",
        "      is now 2",
        "  test.cfg:5  if ($var(n) > 1 && code(1)) {",
        "      $var(n) > 1 is true  ($var(n) is 2)",
        "      code(1) returned 1",
        "      so the condition holds",
        "  test.cfg:6  route(NEXT);",
        "    route[NEXT]",
        "    test.cfg:12  tell(\"n is $var(n)\");",
        "        tell(\"n is 2\") returned 1",
        "    test.cfg:13  return -1;",
        "    back with -1",
        "  end",
    ];
    assert_eq!(traced(script), expected);
}

#[test]
fn a_condition_that_fails_says_which_part_decided() {
    let script = "#!KAMAILIO\nloadmodule \"probe.so\"\nrequest_route {\n    if (code(-1) || !code(1)) exit;\n    tell(\"on\");\n}\n";
    let expected = [
        "request_route",
        "  test.cfg:4  if (code(-1) || !code(1)) exit;",
        "      code(-1) returned -1",
        "      code(1) returned 1",
        "      so the condition does not hold",
        "  test.cfg:5  tell(\"on\");",
        "      tell(\"on\") returned 1",
        "  end",
    ];
    assert_eq!(traced(script), expected);
}

#[test]
fn an_unwatched_run_and_a_watched_one_do_the_same() {
    let script = "#!KAMAILIO\nloadmodule \"probe.so\"\nrequest_route {\n    $var(i) = 0;\n    while ($var(i) < 3) { $var(i) = $var(i) + 1; tell(\"$var(i)\"); }\n    return 7;\n}\n";
    let mut plain = World::new(script);
    plain.run();
    let mut watched = World::new(script);
    let route = watched.program.main().expect("the script has a main route");
    let mut run = Run::start(&watched.program, route);
    run.trace(Some(Arc::new(Kept::default())));
    let progress = run.step_until_done(&mut watched.context, &mut watched.server);
    assert!(matches!(progress, Progress::Done(end) if end.code == 7));
    assert_eq!(plain.server.told, watched.server.told);
}
