//! `ser check`, and `ser -c`: everything that a start does, short of opening sockets.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use module_api::{LogLine, NoServer, Server, Statistics};
use script::{Configuration, Diagnostics, Severity};
use serde_json::{Value, json};
use store::Database;

use crate::arguments::Arguments;
use crate::commands::CheckArguments;
use crate::scratch::Scratch;
use crate::start_modules::{self, Ground, Started};
use crate::{background, boot, core_parameters, data, front_ends, load, tls};

/// Checks every file and prints what is wrong on standard output.
///
/// # Errors
/// When there is no room for the modules' scratch data.
pub(crate) fn run(arguments: &CheckArguments) -> Result<ExitCode> {
    let is_json = arguments.script.is_json();
    let mut all = Vec::new();
    let mut is_good = true;
    for file in &arguments.files {
        let as_started = Arguments {
            tls_cert: arguments.tls_cert.clone(),
            tls_key: arguments.tls_key.clone(),
            ..arguments.script.for_file(Some(file.clone()))
        };
        let (diagnostics, failure) = check(&as_started)?;
        let is_refused = |severity| severity == Severity::Error || arguments.deny_warnings;
        is_good &= failure.is_none() && !diagnostics.iter().any(|found| is_refused(found.severity));
        if is_json {
            all.push(object(file, &diagnostics, failure.as_deref())?);
        } else {
            print!("{}", text(file, &diagnostics, failure.as_deref(), stdout().is_terminal()));
        }
    }
    if is_json {
        println!("{}", Value::Array(all));
    }
    Ok(ExitCode::from(u8::from(!is_good)))
}

/// What is wrong with the script that `arguments` name, and what would keep it from starting beside that.
///
/// # Errors
/// When there is no room for the modules' scratch data.
pub(crate) fn check(arguments: &Arguments) -> Result<(Diagnostics, Option<String>)> {
    let (_, loaded) = load::read(arguments);
    let failure = match loaded.configuration {
        Some(configuration) => rehearse(arguments, configuration).err().map(|error| format!("{error:#}")),
        None => None,
    };
    Ok((loaded.diagnostics, failure))
}

/// Starts what starts without sockets.
///
/// # Errors
/// What would keep the server from starting.
pub(crate) fn rehearse(arguments: &Arguments, configuration: Configuration) -> Result<()> {
    let scratch = Scratch::new()?;
    let runtime = boot::runtime()?;
    let (dialect, modules) = (configuration.dialect, on_scratch(configuration.modules, scratch.path())?);
    let (statistics, server) = (Statistics::default(), Arc::new(NoServer) as Arc<dyn Server>);
    let data_dir = scratch.path();
    let log = |_: &'static str| -> LogLine { Arc::new(|_, _| {}) };
    let ground =
        Ground { dialect, data_dir, runtime: runtime.handle(), statistics: &statistics, server: &server, log: &log };
    let started = start_modules::start(&modules, &Started::default(), &ground)?;
    let settings = &configuration.settings;
    let tls_settings = tls::Wanted::of(arguments, settings, &started);
    let certificate = tls::server(&tls_settings)?;
    core_parameters::streams(settings, tls::client(&tls_settings)?)?;
    core_parameters::udp(settings, 1)?;
    boot::identity(arguments, settings, certificate.is_some())?;
    let (user, group) = front_ends::account(arguments, settings);
    background::find_account(user.as_deref(), group.as_deref())?;
    // Modules may have begun work that never ends, and nobody waits for it.
    runtime.shutdown_background();
    Ok(())
}

/// Modules that only read their tables. Where those are text files beside the script, they are part of what is checked.
const READERS: [&str; 6] = ["dialplan", "dispatcher", "mtree", "pdt", "permissions", "pipelimit"];

/// The modules with an empty database below `directory` in place of those of the script.
///
/// # Errors
/// A `db_url` that is no address, which keeps a server from starting.
pub(crate) fn on_scratch(
    mut modules: Vec<script::LoadedModule>,
    directory: &Path,
) -> Result<Vec<script::LoadedModule>> {
    let address = Bytes::from(data::database(directory).into_os_string().into_encoded_bytes());
    for module in &mut modules {
        let name = module.module.name;
        for setting in module.settings.iter_mut().filter(|setting| setting.name.ends_with("db_url")) {
            let given = String::from_utf8_lossy(&setting.value.to_bytes()).into_owned();
            if given.is_empty() {
                continue;
            }
            let wrong = || format!("module \"{name}\": parameter \"{}\"", setting.name);
            Database::check_address(&given).with_context(wrong)?;
            if READERS.contains(&name) && given.contains("text:") {
                continue;
            }
            setting.value = module_api::Value::Str(address.clone());
        }
    }
    Ok(modules)
}

fn text(file: &Path, diagnostics: &Diagnostics, failure: Option<&str>, color: bool) -> String {
    let shown = diagnostics.render(color);
    let file = file.display();
    let verdict = match (failure, diagnostics.has_errors(), diagnostics.is_empty()) {
        (Some(failure), ..) => format!("{file}: would not start: {failure}\n"),
        (None, true, _) => format!("{file}: has errors\n"),
        (None, false, false) => format!("{file}: valid, with warnings\n"),
        (None, false, true) => format!("{file}: valid\n"),
    };
    shown + &verdict
}

fn object(file: &Path, diagnostics: &Diagnostics, failure: Option<&str>) -> Result<Value> {
    let found: Value = serde_json::from_str(&diagnostics.to_json()).context("the diagnostics are no JSON")?;
    let is_valid = failure.is_none() && !diagnostics.has_errors();
    Ok(json!({
        "file": file.to_string_lossy(),
        "valid": is_valid,
        "failure": failure,
        "diagnostics": found,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ScriptArguments;

    fn checked(name: &str, script: &str) -> (String, Option<String>) {
        let scratch = Scratch::new().expect("there is room");
        let file = scratch.path().join(name);
        std::fs::write(&file, script).expect("it can be written");
        let arguments = ScriptArguments { format: "text".into(), ..ScriptArguments::default() };
        let (diagnostics, failure) = check(&arguments.for_file(Some(file))).expect("there is room");
        (diagnostics.render(false), failure)
    }

    #[test]
    fn a_module_that_would_not_start_fails_the_check() {
        let script = "loadmodule \"auth_db.so\"\nloadmodule \"sl.so\"\nroute { sl_send_reply(\"200\", \"OK\"); }\n";
        let (diagnostics, failure) = checked("a.cfg", script);
        assert_eq!(diagnostics, "");
        assert!(failure.expect("auth_db needs auth").contains("needs module \"auth\""));
    }

    #[test]
    fn an_address_that_is_not_there_fails_the_check() {
        let script =
            "listen=udp:no-such-host.invalid\nloadmodule \"sl.so\"\nroute { sl_send_reply(\"200\", \"OK\"); }\n";
        let (_, failure) = checked("b.cfg", script);
        assert!(failure.expect("the name is unknown").contains("no-such-host.invalid"));
    }

    #[test]
    fn a_database_of_the_script_is_left_alone() {
        let scratch = Scratch::new().expect("there is room");
        let database = scratch.path().join("mine.db");
        let script = format!(
            "loadmodule \"sl.so\"\nloadmodule \"usrloc.so\"\nmodparam(\"usrloc\", \"db_mode\", 3)\n\
             modparam(\"usrloc\", \"db_url\", \"{}\")\nroute {{ sl_send_reply(\"200\", \"OK\"); }}\n",
            database.display()
        );
        let (diagnostics, failure) = checked("c.cfg", &script);
        assert_eq!((diagnostics.as_str(), failure), ("", None));
        assert!(!database.exists());
    }
}
