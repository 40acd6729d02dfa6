//! Programs that are run for a request.

mod environment;
mod process;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use module_api::{
    Call, Function, Level, Module, Outcome, Param, ParamKind, Routes, Setup, SetupError, State, Target, Value,
};
use sip_message::Uri;

use crate::setting::{ignored, number};
use crate::text_variable::TextVariable;
use process::{Finished, Process, Slots};

/// Programs that are run for a request.
pub static MODULE: Module = Module {
    name: "exec",
    doc: "Runs programs for a request, through /bin/sh. The request waits meanwhile, and no other does.",
    parameters: &[
        number(
            "setvars",
            "1",
            "1: the program finds the request in its environment, as SIP_RURI, SIP_HF_FROM and the like.",
        ),
        number(
            "time_to_kill",
            "0",
            "When a program is killed that still runs, in seconds; 0: when its request may wait no longer.",
        ),
        ignored("bash_safety", "Has no effect: what stands in for a Request-URI is always quoted for the shell."),
    ],
    functions: &[MSG, DSET, AVP, AVP_INTO, CMD],
    make,
    ..Module::EMPTY
};

const COMMAND: &[Param] = &[Param::required("command", ParamKind::Format)];

const MSG: Function = Function {
    name: "exec_msg",
    params: COMMAND,
    routes: Routes::ANY,
    doc: "Runs a program with the message as its input. True when it ends with status 0.",
    example: "exec_msg(\"/usr/local/bin/log-call\");",
    run: |call| {
        let input = Some(call.context.message.slice(whole(call)));
        let command = call.text(0);
        run(call, command, input, |_, finished| finished.succeeded.into())
    },
};

const DSET: Function = Function {
    name: "exec_dset",
    params: COMMAND,
    routes: Routes::REQUEST.or(Routes::FAILURE),
    doc: "Runs a program with the Request-URI as its last argument. The URIs that it prints, one a line, become the \
          Request-URI and further targets. A program that prints none leaves all as it is.",
    example: "exec_dset(\"/usr/local/bin/find-user\");",
    run: |call| {
        let command = [&call.text(0)[..], b" ", &quoted(&call.context.target.uri)].concat();
        run(call, command.into(), None, set_destinations)
    },
};

const AVP: Function = Function {
    name: "exec_avp",
    params: COMMAND,
    routes: Routes::ANY,
    doc: "Runs a program. Each line that it prints becomes an attribute: $avp(i:1), $avp(i:2) and so on.",
    example: "exec_avp(\"/usr/local/bin/tariff $fU\");",
    run: |call| {
        let command = call.text(0);
        run(call, command, None, |call, finished| {
            for (at, line) in finished.lines.into_iter().enumerate() {
                call.context.avps.push(format!("i:{}", at + 1).into(), Value::Str(line));
            }
            finished.succeeded.into()
        })
    },
};

const AVP_INTO: Function = Function {
    name: "exec_avp",
    params: &[Param::required("command", ParamKind::Format), Param::required("attributes", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "Runs a program. The lines that it prints become the variables of a list such as $avp(a);$var(b), in order.",
    example: "exec_avp(\"/usr/local/bin/tariff $fU\", \"$avp(price);$avp(unit)\");",
    run: |call| {
        let list = String::from_utf8_lossy(&call.text(1)).into_owned();
        let names: Result<Vec<_>, String> = list.split(';').map(TextVariable::parse).collect();
        let names = match names {
            Ok(names) => names,
            Err(cause) => return Outcome::fail(format!("exec_avp: {cause}")),
        };
        let command = call.text(0);
        run(call, command, None, move |call, finished| {
            for (name, line) in names.into_iter().zip(finished.lines) {
                if let Err(fault) = name.write(call, Value::Str(line)) {
                    return Outcome::Fail(fault);
                }
            }
            finished.succeeded.into()
        })
    },
};

const CMD: Function = Function {
    name: "exec_cmd",
    params: COMMAND,
    routes: Routes::ANY,
    doc: "Runs a program without the message. True when it ends with status 0.",
    example: "exec_cmd(\"logger call from $fU\");",
    run: |call| {
        let command = call.text(0);
        run(call, command, None, |_, finished| finished.succeeded.into())
    },
};

/// The state of module exec.
struct Exec {
    sets_variables: bool,
    limit: Option<Duration>,
    slots: Slots,
}

fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let limit = u64::try_from(setup.int("time_to_kill"))
        .map_err(|_| SetupError::Setting { name: "time_to_kill", cause: "must be a number of seconds".into() })?;
    Ok(Arc::new(Exec {
        sets_variables: setup.int("setvars") != 0,
        limit: (limit > 0).then(|| Duration::from_secs(limit)),
        slots: Slots::default(),
    }))
}

fn whole(call: &Call<'_>) -> sip_message::Span {
    sip_message::Span::new(0, call.context.message.bytes().len())
}

fn run(
    call: &mut Call<'_>,
    command: Bytes,
    input: Option<Bytes>,
    then: impl FnOnce(&mut Call<'_>, Finished) -> Outcome + Send + 'static,
) -> Outcome {
    let exec = call.state::<Exec>();
    if command.contains(&0) {
        return Outcome::fail("the command has a NUL in it");
    }
    let variables = if exec.sets_variables { environment::variables(call.context) } else { Vec::new() };
    let process = Process { command, variables, input, limit: exec.limit };
    Outcome::wait(process.run(exec.slots.clone()), |call, finished| match finished {
        Ok(finished) => then(call, finished),
        Err(cause) => Outcome::fail(cause),
    })
}

fn set_destinations(call: &mut Call<'_>, finished: Finished) -> Outcome {
    let mut uris = finished.lines.into_iter().filter(|line| Uri::parse(line).is_ok());
    match uris.next() {
        Some(first) => {
            call.context.set_uri(first);
            for uri in uris {
                if !crate::core::append(call.context, Target::new(uri)) {
                    break;
                }
            }
        }
        // True all the same, as in both families: scripts go on with the Request-URI as it was.
        None => call.host.log(Level::Error, b"exec_dset: the program printed no URI"),
    }
    Outcome::TRUE
}

/// Text as one word of the shell, whatever stands in it.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => word.extend_from_slice(b"'\\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE, started};

    fn run(bench: &mut Bench, function: &str, args: &[&str]) -> i64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        bench.run_waiting(&MODULE, function, args, &runtime)
    }

    fn bench(settings: &[(&str, &str)]) -> Bench {
        Bench::with_state(INVITE, started(&MODULE, settings))
    }

    #[test]
    fn a_program_is_true_when_it_succeeds() {
        let mut bench = bench(&[]);
        assert_eq!(run(&mut bench, "exec_cmd", &["exit 3"]), -1);
        assert_eq!(run(&mut bench, "exec_cmd", &["true"]), 1);
        assert_eq!(run(&mut bench, "exec_msg", &["grep -q '^Subject: lunch'"]), 1);
        assert_eq!(run(&mut bench, "exec_msg", &["grep -q dinner"]), -1);
    }

    #[test]
    fn a_program_finds_the_request_in_its_environment() {
        let command = "test \"$SIP_HF_SUBJECT $SIP_OUSER $SIP_SRCIP\" = 'lunch bob 198.51.100.7'";
        assert_eq!(run(&mut bench(&[]), "exec_cmd", &[command]), 1);
        assert_eq!(run(&mut bench(&[("setvars", "0")]), "exec_cmd", &[command]), -1);
    }

    #[test]
    fn printed_uris_become_the_targets() {
        let mut bench = bench(&[]);
        assert_eq!(run(&mut bench, "exec_dset", &["printf 'sip:a@b\\r\\nno uri\\nsip:c@d\\n'; :"]), 1);
        assert_eq!(bench.uri(), "sip:a@b");
        assert_eq!(bench.context.branches.len(), 1);
        assert_eq!(run(&mut bench, "exec_dset", &["echo"]), 1);
        assert_eq!(bench.uri(), "sip:a@b");
        assert_eq!(run(&mut bench, "exec_dset", &["true"]), 1);
        assert_eq!(bench.host.logged.len(), 1);
    }

    #[test]
    fn a_request_uri_cannot_give_the_shell_orders() {
        let mut bench = bench(&[]);
        bench.context.set_uri("sip:x'$(id)'@h".into());
        assert_eq!(run(&mut bench, "exec_dset", &["printf '%s\\n' sip:first@h"]), 1);
        assert_eq!(&bench.context.branches[0].uri[..], b"sip:x'$(id)'@h");
    }

    #[test]
    fn printed_lines_become_attributes() {
        let mut bench = bench(&[]);
        assert_eq!(run(&mut bench, "exec_avp", &["echo 1; echo b"]), 1);
        assert_eq!(bench.context.avps.first(b"i:2"), Some(&Value::from_static("b")));
        assert_eq!(run(&mut bench, "exec_avp", &["echo 1; echo b; echo c", "$avp(x);$avp(s:y)"]), 1);
        assert_eq!(bench.context.avps.first(b"y"), Some(&Value::from_static("b")));
        assert_eq!(run(&mut bench, "exec_avp", &["echo 1", "x"]), -1);
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let process = Process {
            command: Bytes::from_static(b"sleep 600"),
            variables: Vec::new(),
            input: None,
            limit: Some(Duration::from_millis(1)),
        };
        let outcome = runtime.block_on(process.run(Slots::default()));
        assert_eq!(outcome.err().as_deref(), Some("killed: it took too long"));
    }

    #[test]
    fn what_a_program_has_started_is_killed_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let file = std::env::temp_dir().join(format!("ser-exec-{}", std::process::id()));
        let command = format!("echo $$ > {}; sleep 600; true", file.display());
        let process = Process { command: command.into(), variables: Vec::new(), input: None, limit: None };
        // Given up as soon as it has said who it is.
        let group = runtime.block_on(async {
            let said = async {
                loop {
                    let text = std::fs::read_to_string(&file).unwrap_or_default();
                    if text.ends_with('\n') {
                        return text.trim().parse().unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = process.run(Slots::default()) => panic!("it sleeps for ten minutes"),
                group = said => nix::unistd::Pid::from_raw(group),
            }
        });
        std::fs::remove_file(&file).unwrap();
        // Until the last of them has been reaped; the test would never end if one lived on.
        while nix::sys::signal::killpg(group, None).is_ok() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_prints_without_end_is_cut() {
        let mut bench = bench(&[]);
        assert_eq!(run(&mut bench, "exec_avp", &["yes 2>/dev/null"]), -1);
        assert!(bench.context.avps.is_empty());
    }
}
