//! `ser bench`: makes load for a SIP server, and measures what becomes of it.
//!
//! The load is an open loop: attempts begin at moments that were drawn beforehand, whatever the server does, and each time is
//! counted from that moment and not from when the generator got round to it. A server that stalls therefore shows its stall
//! in every attempt that it kept waiting. What is sent and what an answer means ([`traffic`]) knows no socket and no clock.
#![forbid(unsafe_code)]

mod arguments;
mod arrivals;
mod capacity;
mod drive;
mod histogram;
mod letters;
mod report;
mod traffic;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub use arguments::Arguments;

use drive::Ends;
use report::Report;
use traffic::{Profile, Traffic};

/// Runs `ser bench`. The exit code is 0 when no attempt failed, 1 when some did.
///
/// # Errors
/// The target's name is unknown, no socket can be opened, or users cannot be registered.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let target = arguments.resolve()?;
    let ends = Ends::open(target, arguments.addresses)?;
    let shows_progress = std::io::stderr().is_terminal() && !arguments.json;
    let profile = Profile::new(arguments, target);
    if profile.needs_users() {
        register_users(arguments, &ends, &profile)?;
    }
    let trial = |rate: f64| -> Result<Report> {
        let mut traffic = Traffic::new(profile.clone());
        let course = drive::drive(&ends, &mut traffic, &arguments.pace(rate), shows_progress)?;
        Ok(Report::new(arguments, rate, &traffic, &course))
    };
    let report = match arguments.find_capacity {
        true => capacity::find(arguments.rate, |rate| {
            let report = trial(rate)?;
            eprintln!("{}", report.line());
            Ok(report)
        })?,
        false => trial(arguments.rate)?,
    };
    print!("{}", if arguments.json { report.to_json() } else { report.to_table() });
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Calls and messages go to users, whose phones the generator plays as well.
fn register_users(arguments: &Arguments, ends: &Ends, profile: &Profile) -> Result<()> {
    /// Slow enough for any server, since this is not what is measured.
    const RATE: f64 = 500.0;
    let mut traffic = Traffic::new(profile.registering());
    let pace = drive::Pace { attempts: arguments.users as u64, ..arguments.pace(RATE) };
    drive::drive(ends, &mut traffic, &pace, false)?;
    let failed = traffic.attempts() - traffic.succeeded();
    let reasons = traffic.reasons();
    (failed == 0).then_some(()).with_context(|| {
        format!(
            "{failed} of {} users could not be registered ({reasons}); see --users, --domain and --auth",
            arguments.users
        )
    })
}
