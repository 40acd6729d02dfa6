//! `cargo xtask optimise`: `ser` compiled with the knowledge of which of its code runs.
//!
//! At moderate load a server sleeps before each message and finds the processor's caches filled with others' code, so it matters
//! how far apart lies what runs. A build that counts is put under the load of the benchmarks, and what it has counted steers the
//! next build (profile-guided optimisation).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The workloads that a counting `ser` is put under: parts of the titles in `bench/src/bin/side_by_side`.
const WORKLOADS: [&str; 4] = ["REGISTER", "OPTIONS", "INFO", "16 + 16"];

/// Leaves `ser` and `serctl` in `target/optimised`, and gives that directory.
///
/// # Errors
/// Where a build fails, or the tool that reads counts cannot be had.
pub(crate) fn run() -> Result<PathBuf> {
    let root = Path::new("target/optimised");
    let counts = std::path::absolute(root.join("counts"))?;
    let profile = std::path::absolute(root.join("ser.profdata"))?;
    let (host, merger) = toolchain()?;
    // Counts of other code steer wrongly.
    remove(&counts)?;
    fs::create_dir_all(&counts)?;

    say("building the load");
    cargo(["build", "--release", "--package", "bench", "--bin", "side_by_side"], None)?;
    say("building a ser that counts");
    let counting = build(&host, &root.join("counting"), flag("-Cprofile-generate=", &counts))?;
    let load = counting.join("side_by_side");
    fs::copy("target/release/side_by_side", &load).context("cannot copy the load beside the counting ser")?;
    for workload in WORKLOADS {
        say(&format!("counting: {workload}"));
        let mut command = Command::new(std::path::absolute(&load)?);
        command.args(["--only", "ser, 1 workers", "--rounds", "2", "--workload", workload]).stdout(Stdio::null());
        succeed(&mut command)?;
    }
    say("merging the counts");
    succeed(Command::new(merger).arg("merge").arg("-o").arg(&profile).arg(&counts))?;
    say("building with the counts");
    let built = build(&host, &root.join("steered"), flag("-Cprofile-use=", &profile))?;
    for program in ["ser", "serctl"] {
        fs::copy(built.join(program), root.join(program)).with_context(|| format!("cannot copy {program}"))?;
    }
    Ok(root.to_path_buf())
}

fn say(step: &str) {
    eprintln!("optimise: {step}");
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// Builds both programs for the host by name: without a target, flags would reach build scripts too, which would be counted.
fn build(host: &str, directory: &Path, flags: OsString) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "server", "--target", host, "--target-dir"];
    cargo(arguments.iter().map(OsStr::new).chain([directory.as_os_str()]), Some(flags))?;
    Ok(directory.join(host).join("release"))
}

fn cargo(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, flags: Option<OsString>) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(flags.map(|flags| ("RUSTFLAGS", flags)));
    succeed(&mut command)
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} failed ({status})", command.get_program().display());
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot remove old counts"),
        _ => Ok(()),
    }
}

/// The host's name, and the `llvm-profdata` that belongs to this compiler.
fn toolchain() -> Result<(String, PathBuf)> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("rustc").args(arguments).output().context("cannot run rustc")?;
        ensure!(output.status.success(), "rustc {} failed", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let merger =
        Path::new(ask(&["--print", "sysroot"])?.trim_end()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !merger.exists() {
        say("installing llvm-profdata (rustup component add llvm-tools)");
        succeed(Command::new("rustup").args(["component", "add", "llvm-tools"]))?;
    }
    if !merger.exists() {
        bail!("{} is not there: it comes with rustup's component llvm-tools", merger.display());
    }
    Ok((host.to_owned(), merger))
}
