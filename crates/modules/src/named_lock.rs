//! Locks that scripts take by name: one request at a time gets past, the others wait without a thread.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use module_api::{Call, Outcome};
use tokio::sync::oneshot;

/// Locks by name. What a request holds is released when the script unlocks it, and at the latest
/// when the request is over, so that a route that ends early blocks nobody.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<Bytes, Entry>>);

struct Entry {
    owner: Arc<()>,
    /// How often the owner took it.
    depth: u32,
    waiting: VecDeque<(Arc<()>, oneshot::Sender<Guard>)>,
}

/// One hold of a lock; dropping it gives the lock to who waits longest.
struct Guard {
    locks: Arc<Locks>,
    name: Bytes,
}

impl Drop for Guard {
    fn drop(&mut self) {
        Locks::release(&self.locks, &self.name);
    }
}

/// What a request holds, noted on it.
#[derive(Default)]
struct Holder {
    token: Arc<()>,
    held: Vec<Guard>,
}

/// Names come from messages, so their number is bounded: about 200 bytes each.
const MOST_LOCKS: usize = 65_536;
/// Requests that wait for one lock.
const MOST_WAITING: usize = 1024;

enum Taken {
    Yes(Guard),
    Wait(oneshot::Receiver<Guard>),
    Busy,
}

/// Takes the lock, waiting for it where another request holds it. A request may take a lock again that it holds.
pub(crate) fn lock(call: &mut Call<'_>, locks: Arc<Locks>, name: &[u8]) -> Outcome {
    match Locks::take(&locks, name, &token(call), true) {
        Taken::Yes(guard) => hold(call, guard),
        Taken::Busy => Outcome::fail("too many requests wait for locks"),
        Taken::Wait(turn) => Outcome::wait(turn, |call, turn| match turn {
            Ok(guard) => hold(call, guard),
            Err(_) => Outcome::fail("the lock is gone"),
        }),
    }
}

/// Takes the lock if no other request holds it.
pub(crate) fn try_lock(call: &mut Call<'_>, locks: Arc<Locks>, name: &[u8]) -> Outcome {
    match Locks::take(&locks, name, &token(call), false) {
        Taken::Yes(guard) => hold(call, guard),
        Taken::Busy | Taken::Wait(_) => Outcome::FALSE,
    }
}

/// Gives a lock back. False when the request does not hold it.
pub(crate) fn unlock(call: &mut Call<'_>, locks: &Arc<Locks>, name: &[u8]) -> Outcome {
    let Some(mut holder) = take_holder(call) else { return Outcome::FALSE };
    let at = holder.held.iter().rposition(|guard| guard.name == name && Arc::ptr_eq(&guard.locks, locks));
    let guard = at.map(|at| holder.held.remove(at));
    call.context.set_note(holder);
    guard.is_some().into()
}

fn token(call: &mut Call<'_>) -> Arc<()> {
    if let Some(holder) = call.context.note::<Holder>() {
        return Arc::clone(&holder.token);
    }
    let holder = Holder::default();
    let token = Arc::clone(&holder.token);
    call.context.set_note(holder);
    token
}

fn hold(call: &mut Call<'_>, guard: Guard) -> Outcome {
    let mut holder = take_holder(call).unwrap_or_default();
    holder.held.push(guard);
    call.context.set_note(holder);
    Outcome::TRUE
}

/// The note leaves the request while it is changed: notes are replaced, not lent.
fn take_holder(call: &mut Call<'_>) -> Option<Holder> {
    call.context.take_note::<Holder>()
}

impl Locks {
    fn take(locks: &Arc<Locks>, name: &[u8], token: &Arc<()>, waits: bool) -> Taken {
        let mut entries = locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = entries.len();
        match entries.get_mut(name) {
            Some(entry) if Arc::ptr_eq(&entry.owner, token) => entry.depth += 1,
            Some(entry) if !waits || entry.waiting.len() >= MOST_WAITING => return Taken::Busy,
            Some(entry) => {
                let (sender, turn) = oneshot::channel();
                entry.waiting.push_back((Arc::clone(token), sender));
                return Taken::Wait(turn);
            }
            None if count >= MOST_LOCKS => return Taken::Busy,
            None => {
                let entry = Entry { owner: Arc::clone(token), depth: 1, waiting: VecDeque::new() };
                entries.insert(Bytes::copy_from_slice(name), entry);
            }
        }
        Taken::Yes(Guard { locks: Arc::clone(locks), name: Bytes::copy_from_slice(name) })
    }

    fn release(locks: &Arc<Locks>, name: &Bytes) {
        let mut entries = locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(name) else { return };
        entry.depth -= 1;
        if entry.depth > 0 {
            return;
        }
        let Some((owner, turn)) = entry.waiting.pop_front() else {
            entries.remove(name);
            return;
        };
        entry.owner = owner;
        entry.depth = 1;
        drop(entries);
        // Who no longer waits gets a guard that is dropped at once, which hands the lock on.
        let _ = turn.send(Guard { locks: Arc::clone(locks), name: name.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, FakeHost, INVITE};
    use module_api::State;

    fn bench(locks: &Arc<Locks>) -> Bench {
        Bench::with_state(INVITE, Arc::clone(locks) as Arc<dyn State>)
    }

    fn call(bench: &mut Bench, act: impl FnOnce(&mut Call<'_>) -> Outcome) -> Outcome {
        let host: &mut FakeHost = &mut bench.host;
        act(&mut Call::new(&mut bench.context, host, &[], &bench.state, bench.dialect))
    }

    fn code(outcome: Outcome) -> Option<i64> {
        match outcome {
            Outcome::Value(code) => Some(code),
            Outcome::Fail(fault) => Some(fault.code),
            _ => None,
        }
    }

    #[test]
    fn a_second_request_waits_until_the_first_unlocks() {
        let locks = Arc::new(Locks::default());
        let (mut first, mut second) = (bench(&locks), bench(&locks));
        assert_eq!(code(call(&mut first, |c| lock(c, c.shared_state(), b"k"))), Some(1));
        assert_eq!(code(call(&mut first, |c| lock(c, c.shared_state(), b"k"))), Some(1));
        assert_eq!(code(call(&mut second, |c| try_lock(c, c.shared_state(), b"k"))), Some(-1));
        let Outcome::Wait(wait) = call(&mut second, |c| lock(c, c.shared_state(), b"k")) else { panic!("no wait") };
        assert_eq!(code(call(&mut first, |c| unlock(c, &c.shared_state(), b"k"))), Some(1));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(code(call(&mut first, |c| unlock(c, &c.shared_state(), b"k"))), Some(1));
        assert_eq!(code(call(&mut first, |c| unlock(c, &c.shared_state(), b"k"))), Some(-1));
        let resume = runtime.block_on(wait.0);
        assert_eq!(code(call(&mut second, |c| resume(c))), Some(1));
        assert_eq!(code(call(&mut first, |c| try_lock(c, c.shared_state(), b"k"))), Some(-1));
    }

    #[test]
    fn a_request_that_ends_gives_up_what_it_holds() {
        let locks = Arc::new(Locks::default());
        let (mut first, mut second) = (bench(&locks), bench(&locks));
        call(&mut first, |c| lock(c, c.shared_state(), b"k"));
        // One who waited and gave up does not keep the lock either.
        drop(call(&mut second, |c| lock(c, c.shared_state(), b"k")));
        drop(first);
        assert_eq!(code(call(&mut second, |c| try_lock(c, c.shared_state(), b"k"))), Some(1));
        assert_eq!(locks.0.lock().unwrap().len(), 1);
        drop(second);
        assert!(locks.0.lock().unwrap().is_empty());
    }
}
