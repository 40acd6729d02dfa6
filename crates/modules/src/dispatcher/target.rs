//! Gateways, and the sets that they form.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Transport, Uri};

/// It takes no calls.
pub(super) const INACTIVE: u8 = 1;
/// It has failed, and takes calls until it has failed often enough.
pub(super) const TRYING: u8 = 2;
/// The operator has taken it out.
pub(super) const DISABLED: u8 = 4;
/// It is asked whether it is alive.
pub(super) const PROBING: u8 = 8;

/// A gateway.
pub(super) struct Target {
    pub(super) set: i64,
    pub(super) uri: Bytes,
    pub(super) host: Bytes,
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) priority: i64,
    pub(super) attrs: Attrs,
    state: AtomicU8,
    failures: AtomicU32,
    successes: AtomicU32,
    /// Calls that algorithm 10 counts.
    pub(super) load: AtomicU64,
    /// Addresses of a host that is a name, as DNS last said.
    addresses: Mutex<Vec<IpAddr>>,
    latency: Mutex<Latency>,
}

/// What the last column of a list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub(super) text: Bytes,
    pub(super) weight: u32,
    pub(super) relative_weight: u32,
    pub(super) max_load: u64,
    pub(super) id: Bytes,
    pub(super) socket: Bytes,
    pub(super) ping_from: Bytes,
    pub(super) outbound_proxy: Bytes,
}

/// How quickly it answers when it is asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) average: f64,
    pub(super) max: f64,
    pub(super) estimate: f64,
    pub(super) count: u32,
    pub(super) timeouts: u32,
}

/// Gateways that can stand in for each other, by priority and then as listed.
#[derive(Default)]
pub(super) struct Set {
    pub(super) targets: Vec<Arc<Target>>,
    /// Whose turn it is.
    pub(super) next: AtomicUsize,
}

/// All sets.
#[derive(Default)]
pub(super) struct Sets(pub(super) HashMap<i64, Set>);

impl Target {
    /// A gateway at `uri`. None when it is no SIP URI.
    pub(super) fn new(set: i64, uri: Bytes, flags: u8, priority: i64, attrs: Attrs) -> Option<Target> {
        let parsed = Uri::parse(&uri).ok().filter(Uri::is_sip)?;
        let transport = parsed.transport().unwrap_or(Transport::Udp);
        Some(Target {
            set,
            host: Bytes::copy_from_slice(parsed.host_text),
            port: parsed.port.unwrap_or_else(|| transport.default_port()),
            transport,
            priority,
            attrs,
            state: AtomicU8::new(flags),
            failures: AtomicU32::new(0),
            successes: AtomicU32::new(0),
            load: AtomicU64::new(0),
            addresses: Mutex::new(parsed.host.address().into_iter().collect()),
            latency: Mutex::new(Latency::default()),
            uri,
        })
    }

    pub(super) fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Whether it takes calls.
    pub(super) fn is_active(&self) -> bool {
        self.state() & (INACTIVE | DISABLED) == 0
    }

    /// Sets the state as an operator or a script says.
    pub(super) fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.successes.store(0, Ordering::Relaxed);
    }

    /// It has failed once more; `threshold` failures in a row make it inactive. Says whether it has just become so.
    pub(super) fn on_failure(&self, threshold: u32, probing: u8) -> bool {
        self.successes.store(0, Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.state();
        if before & (INACTIVE | DISABLED) != 0 {
            return false;
        }
        let is_over = failures >= threshold;
        let state = if is_over { INACTIVE | PROBING } else { TRYING | (before & PROBING) | probing };
        self.state.store(state, Ordering::Relaxed);
        is_over
    }

    /// It has answered once more; `threshold` answers in a row make it active. Says whether it has just become so.
    pub(super) fn on_success(&self, threshold: u32, probing: u8) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        let before = self.state();
        if before & DISABLED != 0 {
            return false;
        }
        if before & INACTIVE == 0 {
            self.state.store(probing, Ordering::Relaxed);
            return false;
        }
        let successes = self.successes.fetch_add(1, Ordering::Relaxed) + 1;
        let is_over = successes >= threshold;
        if is_over {
            self.set_state(probing);
        }
        is_over
    }

    /// Takes over what is known of the same gateway from the list before.
    pub(super) fn inherit(&self, before: &Target) {
        let own = self.state();
        // What the list says holds where it says that the gateway is out.
        if own & (INACTIVE | DISABLED) == 0 {
            self.state.store(before.state() & !DISABLED | own, Ordering::Relaxed);
        }
        let copy = |from: &AtomicU32, to: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&before.failures, &self.failures);
        copy(&before.successes, &self.successes);
        self.load.store(before.load.load(Ordering::Relaxed), Ordering::Relaxed);
        self.set_addresses(before.addresses());
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = before.latency();
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_addresses(&self, addresses: Vec<IpAddr>) {
        // A name that cannot be looked up at the moment keeps the addresses that it had.
        if !addresses.is_empty() {
            *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        }
    }

    /// Whether its host is a name that DNS keeps.
    pub(super) fn is_name(&self) -> bool {
        sip_message::Host::parse(&self.host).is_some_and(|host| host.address().is_none())
    }

    pub(super) fn latency(&self) -> Latency {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down how long an answer took; none: it did not come. `alpha` is the weight of the new one in a thousand.
    pub(super) fn note_latency(&self, took: Option<Duration>, alpha: u32) {
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(took) = took else {
            latency.timeouts = latency.timeouts.saturating_add(1);
            return;
        };
        let ms = took.as_secs_f64() * 1000.0;
        latency.count = latency.count.saturating_add(1);
        latency.average += (ms - latency.average) / f64::from(latency.count);
        latency.max = latency.max.max(ms);
        let alpha = f64::from(alpha.min(1000)) / 1000.0;
        latency.estimate = if latency.count == 1 { ms } else { latency.estimate + alpha * (ms - latency.estimate) };
    }

    /// The state in letters, as Kamailio shows it: active, inactive, trying or disabled, and whether it is probed.
    pub(super) fn state_letters(&self) -> &'static str {
        let state = self.state();
        let is_probed = state & PROBING != 0;
        match state & (INACTIVE | TRYING | DISABLED) {
            state if state & DISABLED != 0 => ["DX", "DP"][usize::from(is_probed)],
            state if state & INACTIVE != 0 => ["IX", "IP"][usize::from(is_probed)],
            state if state & TRYING != 0 => ["TX", "TP"][usize::from(is_probed)],
            _ => ["AX", "AP"][usize::from(is_probed)],
        }
    }
}

/// A state as scripts and commands write it: `i`, `ip`, `a`, `t`, `d` and so on; the empty text is `i`.
pub(super) fn read_state(text: &[u8]) -> Option<u8> {
    let mut state = if text.is_empty() { INACTIVE } else { 0 };
    for letter in text {
        state |= match letter.to_ascii_lowercase() {
            b'a' | b'x' => 0,
            b'i' => INACTIVE,
            b't' => TRYING,
            b'd' => DISABLED,
            b'p' => PROBING,
            _ => return None,
        };
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::new(1, Bytes::from_static(b"sip:192.0.2.7:5080"), 0, 0, Attrs::default()).expect("a SIP URI")
    }

    #[test]
    fn failures_in_a_row_take_a_gateway_out_and_answers_bring_it_back() {
        let target = target();
        assert!(!target.on_failure(3, 0));
        assert_eq!(target.state_letters(), "TX");
        // An answer in between begins the count anew.
        target.on_success(1, 0);
        assert_eq!(target.state_letters(), "AX");
        assert!(!target.on_failure(2, 0));
        assert!(target.on_failure(2, 0));
        assert_eq!(target.state_letters(), "IP");
        assert!(!target.is_active());
        assert!(!target.on_success(2, PROBING));
        assert!(target.on_success(2, PROBING));
        assert_eq!(target.state_letters(), "AP");
    }

    #[test]
    fn what_the_operator_has_taken_out_stays_out() {
        let target = target();
        target.set_state(DISABLED);
        assert!(!target.on_success(1, 0));
        assert!(!target.on_failure(1, 0));
        assert_eq!(target.state_letters(), "DX");
    }

    #[test]
    fn states_are_read_from_letters() {
        for (text, state) in
            [("", Some(1)), ("ip", Some(9)), ("A", Some(0)), ("tp", Some(10)), ("d", Some(4)), ("q", None)]
        {
            assert_eq!(read_state(text.as_bytes()), state, "{text}");
        }
    }
}
