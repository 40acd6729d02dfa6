//! `ser`, the SIP Express Router.
#![forbid(unsafe_code)]

mod arguments;
mod background;
mod boot;
mod capture;
mod check;
mod commands;
mod control;
mod core_parameters;
mod data;
mod explain;
mod fmt;
mod front_ends;
mod gauges;
mod greeting;
mod listen;
mod load;
mod log_levels;
mod log_limit;
mod logging;
mod lsp;
mod names;
mod notify;
mod outward;
mod process_limits;
mod running;
mod scratch;
mod script_test;
mod simulate;
mod sockets;
mod spawn;
mod start_modules;
mod tls;
mod trace_commands;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use arguments::{Arguments, Persona};

// Made for many small allocations that one thread makes and another frees, which is what messages
// are. Not measured against the system's allocator yet.
#[global_allocator]
static ALLOCATOR: net::memory::Allocator = net::memory::Allocator;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let persona = Persona::of(Path::new(&name));
    match run(&Arguments::parse(), persona) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ser: {error:#}");
            // Scripts written for Kamailio know its exit code.
            ExitCode::from(if persona == Persona::Kamailio { 255 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments, persona: Persona) -> Result<ExitCode> {
    if let Some(command) = &arguments.command {
        return commands::run(command);
    }
    if arguments.show_version > 0 {
        println!("ser {}", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.print_builtin {
        print!("{}", load::BUILT_IN);
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.print_openapi {
        println!("{}", running::openapi());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.print_man {
        clap_mangen::Man::new(Arguments::command()).section("8").render(&mut std::io::stdout())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(shell) = arguments.print_completion {
        clap_complete::generate(shell, &mut Arguments::command(), "ser", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    for (option, why) in arguments.ignored.given() {
        eprintln!("ser: option {option} has no effect: {why}");
    }
    let configuration = load::load(arguments)?;
    if arguments.check > 0 {
        check::rehearse(arguments, configuration)?;
        eprintln!("ser: the script is valid");
        return Ok(ExitCode::SUCCESS);
    }
    let fork = configuration.settings.flag("fork");
    if arguments.goes_to_background(persona, fork) && !background::is_in_background() {
        background::start_in_background()?;
        return Ok(ExitCode::SUCCESS);
    }
    boot::serve(arguments, configuration)?;
    Ok(ExitCode::SUCCESS)
}
