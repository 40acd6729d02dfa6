//! How busy the processor is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use module_api::Setup;

/// How busy the processor was in the last interval, in percent.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicU32);

impl Load {
    /// Measures for as long as somebody holds what this returns.
    pub(super) fn measured(setup: &Setup<'_>, interval: Duration) -> Arc<Load> {
        let load = Arc::new(Load::default());
        (setup.spawn)(Box::pin(measure(Arc::downgrade(&load), interval)));
        load
    }

    /// The latest measurement; 0 before there is one, and where the system does not tell.
    pub(super) fn percent(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn measure(load: Weak<Load>, interval: Duration) {
    let mut before = times();
    loop {
        tokio::time::sleep(interval).await;
        let Some(load) = load.upgrade() else { return };
        let now = times();
        if let (Some(before), Some(now)) = (before, now) {
            load.0.store(percent(before, now), Ordering::Relaxed);
        }
        before = now;
    }
}

/// Ticks of work, and of all time, since the system began. The kernel writes this file on the spot: no disk is read.
fn times() -> Option<(u64, u64)> {
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// The first line: user, nice, system, idle, waiting for disks, and what else is work.
fn parse(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let all: u64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
    Some((all - idle, all))
}

fn percent(before: (u64, u64), now: (u64, u64)) -> u32 {
    let (work, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
    (work * 100).checked_div(all).unwrap_or(0).min(100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_share_of_ticks_with_work() {
        let text = |user: u64, idle: u64| format!("cpu  {user} 0 10 {idle} 5 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let (before, now) = (parse(&text(100, 900)).unwrap(), parse(&text(130, 970)).unwrap());
        assert_eq!((before, now), ((110, 1015), (140, 1115)));
        assert_eq!(percent(before, now), 30);
        assert_eq!(percent(now, now), 0);
        assert_eq!(parse("intr 5"), None);
    }
}
