//! Repository chores: `cargo xtask tidy`, `cargo xtask reference`, `cargo xtask deb` and `cargo xtask optimise`.
#![forbid(unsafe_code)]

mod deb;
mod optimise;
mod tidy;

use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask tidy                 checks the rules that the compiler and clippy cannot
       cargo xtask deb [--binaries DIR] [--out DIR]  packs ser and serctl for Debian; DIRs: target/release, target/deb
       cargo xtask optimise             builds ser and serctl in target/optimised, steered by what runs under load
       cargo xtask reference [--check]  writes docs/reference from the modules' tables";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::run(),
        ["deb", ref options @ ..] => deb(options),
        ["optimise"] => {
            println!("{}", optimise::run()?.display());
            Ok(ExitCode::SUCCESS)
        }
        ["reference"] => reference(&[]),
        ["reference", "--check"] => reference(&["--check"]),
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn deb(options: &[&str]) -> anyhow::Result<ExitCode> {
    let (mut binaries, mut out) = ("target/release", "target/deb");
    for pair in options.chunks(2) {
        match pair {
            ["--binaries", directory] => binaries = *directory,
            ["--out", directory] => out = *directory,
            _ => anyhow::bail!("{USAGE}"),
        }
    }
    println!("{}", deb::build(binaries.as_ref(), out.as_ref())?.display());
    Ok(ExitCode::SUCCESS)
}

/// Runs the example that lies beside the modules. A dependency on them would let `tidy` wait until they compile.
fn reference(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "modules", "--example", "reference", "--"]).args(arguments);
    let is_done = command.status()?.success();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
