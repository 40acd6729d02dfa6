//! `ser test`: tests of scripts, on the real engine with a virtual clock (docs/script-tests.md).

mod coverage;
mod grammar;
mod pattern;
mod phone;
mod play;

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use script::trace::{Entry, render};
use serde_json::{Value, json};

use crate::commands::ScriptArguments;
use crate::explain::step_json;
use crate::simulate::Stage;
use crate::simulate::record::Note;
use coverage::Coverage;
use grammar::{Test, TestFile};
use play::Failure;

/// Options of `ser test`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  ser test examples/residential/kamailio.sertest
  ser test --filter busy --coverage tests/*.sertest
The format of test files is described in docs/script-tests.md")]
pub(crate) struct TestArguments {
    /// Test files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Run only tests whose name holds this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print which lines of the scripts were reached
    #[arg(long)]
    coverage: bool,
    /// Write which lines of the scripts were reached to this file, for lcov and genhtml
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    #[command(flatten)]
    script: ScriptArguments,
}

/// One test that was run.
struct Outcome {
    file: PathBuf,
    name: String,
    line: usize,
    failure: Option<Failure>,
    steps: Vec<Entry>,
}

/// Runs the tests and prints how they went. The exit code is 0 when all passed and 1 when one failed.
///
/// # Errors
/// When a file cannot be read, or no test is chosen.
pub(crate) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    let files = arguments.files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    let is_json = arguments.script.is_json();
    let (mut outcomes, mut coverage) = (Vec::new(), Coverage::default());
    for (path, file) in arguments.files.iter().zip(&files) {
        let chosen = file.tests.iter().filter(|test| is_chosen(test, arguments.filter.as_deref()));
        for test in chosen {
            let outcome = run_one(path, file, test, (&arguments.script, &mut coverage));
            if !is_json {
                print!("{}", text(&outcome, stdout().is_terminal()));
            }
            outcomes.push(outcome);
        }
    }
    if outcomes.is_empty() {
        bail!("no test is called like that");
    }
    if let Some(file) = &arguments.lcov {
        std::fs::write(file, coverage.lcov()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    if is_json {
        let tests: Vec<Value> = outcomes.iter().map(object).collect();
        println!("{}", json!({"tests": tests, "failed": failed, "coverage": coverage.json()}));
    } else {
        if arguments.coverage {
            print!("{}", coverage.text());
        }
        println!("{} tests, {failed} failed", outcomes.len());
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn read(path: &Path) -> Result<TestFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    grammar::parse(&text).map_err(|mistakes| {
        let shown = mistakes.iter().map(|mistake| format!("{}:{}: {}", path.display(), mistake.line, mistake.what));
        anyhow::Error::msg(shown.collect::<Vec<_>>().join("\n"))
    })
}

fn is_chosen(test: &Test, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| test.name.contains(filter))
}

fn run_one(
    path: &Path,
    file: &TestFile,
    test: &Test,
    (script, coverage): (&ScriptArguments, &mut Coverage),
) -> Outcome {
    let played = play::play(test, &file.setting, path, script);
    if let Some(stage) = &played.stage {
        coverage.add(stage);
    }
    let steps = played.stage.as_ref().filter(|_| played.failure.is_some()).map(steps).unwrap_or_default();
    Outcome { file: path.to_owned(), name: test.name.clone(), line: test.line, failure: played.failure, steps }
}

fn steps(stage: &Stage) -> Vec<Entry> {
    let steps = stage.record.notes().into_iter().filter_map(|note| match note {
        Note::Step(entry) => Some(entry),
        _ => None,
    });
    steps.collect()
}

fn text(outcome: &Outcome, color: bool) -> String {
    let (good, bad, end) = if color { ("\x1b[32m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "") };
    let Some(failure) = &outcome.failure else { return format!("{good}ok{end}    {}\n", outcome.name) };
    let mut out = format!("{bad}FAIL{end}  {}\n", outcome.name);
    out.push_str(&format!("  {}:{}\n", outcome.file.display(), failure.line));
    out.push_str(&format!("  expected: {}\n", failure.expected));
    out.push_str(&format!("  got: {}\n", failure.got.replace('\n', "\n       ")));
    if !outcome.steps.is_empty() {
        out.push_str("  the script:\n");
    }
    for line in render(&outcome.steps) {
        out.push_str(&format!("    {line}\n"));
    }
    out
}

fn object(outcome: &Outcome) -> Value {
    let failure = outcome.failure.as_ref();
    json!({
        "file": outcome.file.to_string_lossy(),
        "name": outcome.name,
        "line": outcome.line,
        "passed": failure.is_none(),
        "failure": failure.map(|failure| {
            json!({"line": failure.line, "expected": failure.expected, "got": failure.got})
        }),
        "trace": outcome.steps.iter().map(step_json).collect::<Vec<_>>(),
    })
}
