//! What a traced run tells.
#![allow(clippy::disallowed_types, reason = "a tracer may be told by any thread, so what it keeps has a lock")]

mod world;

use std::sync::{Arc, Mutex};

use script::trace::{Entry, Event, KeepsPath, Path, Tracer, render};
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

#[derive(Default)]
struct Shown(Mutex<Path>);

impl KeepsPath for Shown {
    fn take(&self, path: Path) {
        *self.0.lock().expect("no test panics while it holds this lock") = path;
    }
}

/// The way of a run, walked again afterwards; with `is_told` the run is told to a tracer as well.
fn walked(script: &str, is_told: bool) -> Vec<String> {
    let mut world = World::new(script);
    let route = world.program.main().expect("the script has a main route");
    let mut run = Run::start(&world.program, route);
    let shown = Arc::new(Shown::default());
    run.keep_path(Arc::clone(&shown) as _);
    run.trace(is_told.then(|| Arc::new(Kept::default()) as _));
    let mut progress = run.step_until_done(&mut world.context, &mut world.server);
    while let Progress::Wait(_) = progress {
        progress = run.expire(&mut world.context, &mut world.server);
    }
    let path = shown.0.lock().expect("no test panics while it holds this lock");
    path.lines(&world.program)
}

fn check_walk(body: &str, expected: &[&str]) {
    let script = format!(
        "#!KAMAILIO\nloadmodule \"probe.so\"\nrequest_route {{\n{body}\n}}\nroute[NEXT] {{\n    return -1;\n}}\n"
    );
    assert_eq!(walked(&script, false), expected, "{body}");
    assert_eq!(walked(&script, true), expected, "{body}");
}

#[test]
fn a_way_that_was_kept_shows_statements_branches_and_codes() {
    check_walk(
        "if ($var(n) > 1 || code(1)) {\nroute(NEXT);\n} else {\ntell(\"no\");\n}\ntell(\"on\");",
        &[
            "  test.cfg:4  if ($var(n) > 1 || code(1)) {",
            "      $var(n) > 1 is false",
            "      code returned 1",
            "  test.cfg:5  route(NEXT);",
            "    route[NEXT]",
            "    test.cfg:12  return -1;",
            "    back with -1",
            "  test.cfg:9  tell(\"on\");",
            "      tell returned 1",
            "  end",
        ],
    );
    check_walk(
        "if (!code(1)) tell(\"a\");\nelse drop;",
        &[
            "  test.cfg:4  if (!code(1)) tell(\"a\");",
            "      code returned 1",
            "      so the condition does not hold",
            "  test.cfg:5  drop;",
            "  end: dropped",
        ],
    );
    check_walk(
        "$var(i) = 0;\nwhile ($var(i) < 2) {\n$var(i) = $var(i) + 1;\n}\nwait(\"x\");\nexit;",
        &[
            "  test.cfg:4  $var(i) = 0;",
            "  test.cfg:5  while ($var(i) < 2) {",
            "      $var(i) < 2 is true",
            "  test.cfg:6  $var(i) = $var(i) + 1;",
            "      $var(i) < 2 is true",
            "  test.cfg:6  $var(i) = $var(i) + 1;",
            "      $var(i) < 2 is false",
            "  test.cfg:8  wait(\"x\");",
            "      wait waits",
            "      wait returned -1",
            "  test.cfg:9  exit;",
            "  end",
        ],
    );
}

#[test]
fn of_a_long_way_the_beginning_is_kept() {
    let script = "#!KAMAILIO\nrequest_route {\n$var(i) = 0;\nwhile ($var(i) < 200) {\n$var(i) = $var(i) + 1;\n}\n}\n";
    let lines = walked(script, false);
    assert_eq!(lines.last().map(String::as_str), Some("  ... and more steps"));
    assert!((50..300).contains(&lines.len()), "{}", lines.len());
}
