//! What an option of `ser` costs: the same server with it and without, turn by turn under the same load.
//!
//! Prints the processor time that the kernel charged for each REGISTER and each call, and by how much the option makes it
//! dearer: the median of all pairs of turns, with the range of the middle half. Two turns of a pair follow each other
//! closely and change places from pair to pair, so that whatever else the machine does meets both alike.
#![forbid(unsafe_code)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bench::accounting::{self, Meter};
use bench::load::{self, Ends, Pace, Report, calls::Calls, registers::Registers};

const PAIRS: usize = 16;
const USERS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(2);
const START_DEADLINE: Duration = Duration::from_secs(15);
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Ended transactions stay for 32 seconds (RFC 3261 timers D and J, RFC 6026 timer L).
const LINGER: Duration = Duration::from_secs(33);
const USAGE: &str = "usage: option_cost [--rounds N] [--seconds N] [--workers N] [--program SER] [OPTIONS OF ser...]
without OPTIONS: --trace-memory 4";

/// What to run.
struct Plan {
    rounds: usize,
    /// How long a turn is.
    seconds: f64,
    workers: u32,
    program: PathBuf,
    options: Vec<String>,
}

impl Plan {
    fn from_arguments(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Plan> {
        let beside = std::env::current_exe()?.with_file_name("ser");
        let mut plan = Plan { rounds: 40, seconds: 2.0, workers: 1, program: beside, options: Vec::new() };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{name} needs a value\n{USAGE}"));
            match name.as_str() {
                "--rounds" => plan.rounds = value()?.parse().context(USAGE)?,
                "--seconds" => plan.seconds = value()?.parse().context(USAGE)?,
                "--workers" => plan.workers = value()?.parse().context(USAGE)?,
                "--program" => plan.program = value()?.into(),
                _ => {
                    plan.options = std::iter::once(name).chain(arguments.by_ref()).collect();
                }
            }
        }
        if plan.options.is_empty() {
            plan.options = ["--trace-memory", "4"].map(str::to_owned).into();
        }
        anyhow::ensure!(plan.rounds > 0 && plan.seconds > 0.0, "nothing to run\n{USAGE}");
        Ok(plan)
    }
}

/// What a unit of load is.
struct Load {
    name: &'static str,
    per_second: f64,
    /// How long both servers rest after the first turns, which are not counted.
    rest: Duration,
    run: fn(&Server, Pace, usize, u32) -> anyhow::Result<Report>,
}

const LOADS: [Load; 2] = [
    Load {
        name: "REGISTER, refreshed",
        per_second: 3000.0,
        rest: Duration::ZERO,
        run: |server, pace, total, run| {
            let mut registers = Registers::new(USERS, run);
            load::drive(&server.ends, &mut registers, pace, total, PATIENCE)?;
            Ok(registers.into_report())
        },
    },
    Load {
        name: "call",
        per_second: 800.0,
        rest: LINGER,
        run: |server, pace, total, run| {
            let mut calls = Calls::new(USERS, run);
            load::drive(&server.ends, &mut calls, pace, total, PATIENCE)?;
            Ok(calls.into_report())
        },
    },
];

fn main() -> anyhow::Result<()> {
    let plan = Plan::from_arguments(std::env::args().skip(1))?;
    println!(
        "`ser {}` beside `ser`, {} workers each; {} pairs of turns of {} s, alternating; {}, Linux {}, load average {}",
        plan.options.join(" "),
        plan.workers,
        plan.rounds,
        plan.seconds,
        accounting::processor_name(),
        accounting::kernel_release(),
        accounting::load_average()
    );
    for load in &LOADS {
        compare(&plan, load).with_context(|| load.name)?;
    }
    Ok(())
}

fn compare(plan: &Plan, load: &Load) -> anyhow::Result<()> {
    let servers = [Server::start(plan, &[])?, Server::start(plan, &plan.options)?];
    let total = (plan.seconds * load.per_second) as usize;
    for server in &servers {
        let mut registers = Registers::new(USERS, 1);
        load::drive(&server.ends, &mut registers, Pace::Window(64), USERS, PATIENCE)?;
        // As many as turns will keep alive at once, so that none pays for fresh memory.
        (load.run)(server, Pace::Window(64), 2 * total, 2)?;
    }
    thread::sleep(load.rest);
    let (mut costs, mut failures) = ([Vec::new(), Vec::new()], 0);
    for round in 0..plan.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let server = &servers[which];
            let meter = Meter::of_process_tree(server.child.id())?;
            let before = meter.read();
            let report = (load.run)(server, Pace::Rate(load.per_second), total, round as u32 + 3)?;
            costs[which].push((meter.read() - before).as_secs_f64() * 1e6 / total as f64);
            failures += report.failures();
        }
    }
    let ratios: Vec<f64> =
        costs[0].iter().zip(&costs[1]).map(|(without, with)| (with / without - 1.0) * 100.0).collect();
    let [without, with, ratio] = [&costs[0], &costs[1], &ratios].map(|figures| quartiles(figures));
    println!(
        "{}: {:.2} us without ({:.2} to {:.2}), {:.2} us with ({:.2} to {:.2}); dearer by {:+.1} % ({:+.1} to {:+.1}); {failures} failed",
        load.name, without[1], without[0], without[2], with[1], with[0], with[2], ratio[1], ratio[0], ratio[2]
    );
    Ok(())
}

/// The bounds of the middle half, and the median between them.
fn quartiles(figures: &[f64]) -> [f64; 3] {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// A server that runs until this is dropped.
struct Server {
    ends: Ends,
    child: Child,
    folder: PathBuf,
}

impl Server {
    fn start(plan: &Plan, options: &[String]) -> anyhow::Result<Server> {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let folder = std::env::temp_dir().join(format!("ser-option-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new(&plan.program)
            .args(["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bench.cfg"), "-l", &format!("udp:{address}")])
            .args(["--workers", &plan.workers.to_string(), "--data-dir"])
            .arg(&folder)
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", plan.program.display()))?;
        let mut server = Server { ends: Ends::open(address, PAIRS)?, child, folder };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_DEADLINE {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once ({status}):\n{}", log());
            }
            // Run 0 comes before all others; repeated, it is a retransmission.
            let mut one = Registers::new(1, 0);
            load::drive(&self.ends, &mut one, Pace::Window(1), 1, Duration::from_millis(100))?;
            if one.into_report().completed == 1 {
                return Ok(());
            }
        }
        bail!("the server did not answer within {START_DEADLINE:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < STOP_DEADLINE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        // Both fail only when the program has ended or its folder has gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_server_come_last_and_have_a_default() {
        let plan = |words: &[&str]| Plan::from_arguments(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(plan(&[]).unwrap().options, ["--trace-memory", "4"]);
        let chosen = plan(&["--rounds", "7", "--http", "127.0.0.1:0", "--rounds"]).unwrap();
        assert_eq!(
            (chosen.rounds, chosen.options),
            (7, ["--http", "127.0.0.1:0", "--rounds"].map(str::to_owned).into())
        );
        assert!(plan(&["--rounds", "0"]).is_err());
    }

    #[test]
    fn the_middle_half_leaves_out_what_was_disturbed() {
        assert_eq!(quartiles(&[9.0, 1.0, 2.0, 3.0, 100.0]), [2.0, 3.0, 9.0]);
    }
}
