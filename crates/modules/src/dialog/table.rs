//! The dialogs that are tracked, found by Call-ID.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use module_api::SocketId;
use sip_message::Message;

use super::call::{Dialog, Side, Stage};

/// Most dialogs that are tracked; a call beyond it goes on untracked.
pub(super) const LIMIT: usize = 1_000_000;
/// Among how many locks the table is shared, so that workers rarely meet.
const SHARDS: usize = 64;

/// Dialogs by Call-ID: forks of one INVITE share it.
pub(super) struct Table {
    shards: Vec<Mutex<HashMap<Bytes, Vec<Arc<Dialog>>>>>,
    count: AtomicUsize,
    next: AtomicU32,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            next: AtomicU32::new(1),
        }
    }
}

impl Table {
    /// Begins to track the dialog of an INVITE. None when there are too many.
    pub(super) fn begin(&self, invite: &Message, socket: SocketId) -> Option<Arc<Dialog>> {
        if self.count.load(Ordering::Relaxed) >= LIMIT {
            return None;
        }
        let number = (self.place(invite.call_id()) as u32, self.next.fetch_add(1, Ordering::Relaxed));
        let dialog = Arc::new(Dialog::new(number, invite, socket));
        self.shard(&dialog.call_id).entry(dialog.call_id.clone()).or_default().push(Arc::clone(&dialog));
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(dialog)
    }

    /// Takes in a dialog of before the start. False when there are too many, or its place is another's.
    pub(super) fn restore(&self, dialog: &Arc<Dialog>) -> bool {
        let is_placed = self.place(&dialog.call_id) as u32 == dialog.entry;
        if !is_placed || self.count.load(Ordering::Relaxed) >= LIMIT {
            return false;
        }
        self.next.fetch_max(dialog.id.wrapping_add(1), Ordering::Relaxed);
        self.shard(&dialog.call_id).entry(dialog.call_id.clone()).or_default().push(Arc::clone(dialog));
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The dialog of a request, and who sent it.
    pub(super) fn of(&self, request: &Message) -> Option<(Arc<Dialog>, Side)> {
        let shard = self.shard(request.call_id());
        let dialogs = shard.get(request.call_id())?;
        dialogs.iter().find_map(|dialog| Some((Arc::clone(dialog), dialog.sender(request)?)))
    }

    /// The dialog with that Call-ID and, where they are given, those tags in either order.
    pub(super) fn find(&self, call_id: &[u8], from_tag: &[u8], to_tag: &[u8]) -> Option<Arc<Dialog>> {
        let shard = self.shard(call_id);
        let is_it = |dialog: &&Arc<Dialog>| {
            let to = dialog.facts().to_tag.clone();
            let fits = |from: &[u8], callee: &[u8]| {
                (from.is_empty() || from == &dialog.from_tag[..])
                    && (callee.is_empty() || to.is_empty() || callee == &to[..])
            };
            fits(from_tag, to_tag) || fits(to_tag, from_tag)
        };
        shard.get(call_id)?.iter().find(is_it).cloned()
    }

    /// The dialog with those two numbers.
    pub(super) fn numbered(&self, entry: u32, id: u32) -> Option<Arc<Dialog>> {
        let shard = self.shards.get(entry as usize)?.lock().unwrap_or_else(PoisonError::into_inner);
        shard.values().flatten().find(|dialog| dialog.id == id).cloned()
    }

    /// Tracks a dialog no longer.
    pub(super) fn remove(&self, dialog: &Arc<Dialog>) {
        let mut shard = self.shard(&dialog.call_id);
        let Some(dialogs) = shard.get_mut(&dialog.call_id) else { return };
        let before = dialogs.len();
        dialogs.retain(|other| !Arc::ptr_eq(other, dialog));
        let is_gone = dialogs.len() < before;
        if dialogs.is_empty() {
            shard.remove(&dialog.call_id);
        }
        if is_gone {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Every dialog.
    pub(super) fn all(&self) -> Vec<Arc<Dialog>> {
        let of_shard = |shard: &Mutex<HashMap<Bytes, Vec<Arc<Dialog>>>>| -> Vec<Arc<Dialog>> {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().flatten().cloned().collect()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// How many are up, and how many are on their way.
    pub(super) fn by_stage(&self) -> (usize, usize) {
        let all = self.all();
        let up = all.iter().filter(|dialog| dialog.facts().stage >= Stage::Answered).count();
        (up, all.len() - up)
    }

    fn place(&self, call_id: &[u8]) -> usize {
        (crate::dispatcher::stable_hash(call_id) % SHARDS as u64) as usize
    }

    fn shard(&self, call_id: &[u8]) -> MutexGuard<'_, HashMap<Bytes, Vec<Arc<Dialog>>>> {
        self.shards[self.place(call_id)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
