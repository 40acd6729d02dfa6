//! Processor time and memory as the kernel accounts them, read from `/proc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Processor time that the scheduler has charged to one thread or to a set of processes.
///
/// The figure counts nanoseconds, user and system together; softirq work done on behalf of a
/// send over loopback is charged to the sender.
#[derive(Debug, Clone)]
pub struct Meter {
    schedstats: Vec<PathBuf>,
}

impl Meter {
    /// Meter of the calling thread, readable from any other.
    pub fn of_this_thread() -> io::Result<Meter> {
        let thread = Path::new("/proc").join(fs::read_link("/proc/thread-self")?);
        Ok(Meter { schedstats: vec![thread.join("schedstat")] })
    }

    /// Meter of `root`, its threads, and all its descendants with theirs, as they are now.
    pub fn of_process_tree(root: u32) -> io::Result<Meter> {
        let mut schedstats = Vec::new();
        for process in process_tree(root)? {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                schedstats.push(task?.path().join("schedstat"));
            }
        }
        Ok(Meter { schedstats })
    }

    /// Time charged so far; threads that have ended count nothing.
    pub fn read(&self) -> Duration {
        let nanoseconds = self.schedstats.iter().filter_map(|path| on_processor(path)).sum();
        Duration::from_nanos(nanoseconds)
    }

    /// Time charged so far to each thread, in the order of their identifiers.
    pub fn read_each(&self) -> Vec<Duration> {
        let each = self.schedstats.iter().map(|path| on_processor(path).unwrap_or(0));
        each.map(Duration::from_nanos).collect()
    }
}

/// Private and anonymous shared memory of a process tree in bytes, each page counted once.
///
/// This is the sum of `Pss`: a page that Kamailio's children share counts once, not once a child.
pub fn resident_bytes(root: u32) -> io::Result<u64> {
    let mut total = 0;
    for process in process_tree(root)? {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        total += kilobytes.ok_or(io::ErrorKind::InvalidData)? * 1024;
    }
    Ok(total)
}

/// Name of the processor, for the head of a table.
pub fn processor_name() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or("unknown processor").to_owned()
}

/// Release of the running kernel.
pub fn kernel_release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Processes that wanted a processor in the last minute, on average.
pub fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn process_tree(root: u32) -> io::Result<Vec<u32>> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(found)
}

fn on_processor(schedstat: &Path) -> Option<u64> {
    fs::read_to_string(schedstat).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_is_charged() {
        let meter = Meter::of_this_thread().unwrap();
        let before = meter.read();
        let mut value = 1u64;
        while meter.read() == before {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        assert!(meter.read() > before);
    }

    #[test]
    fn the_process_tree_of_this_test_holds_its_own_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }
}
