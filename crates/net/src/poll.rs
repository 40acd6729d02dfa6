//! Waiting for sockets and for other threads: epoll, and an eventfd that is written only when
//! the worker may be asleep.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// One worker's epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: Arc<Wake>,
}

/// Wakes a worker from any thread. Cheap while the worker is awake or has been woken already.
#[derive(Clone, Debug)]
pub struct Waker {
    wake: Arc<Wake>,
}

/// What happened to one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// As given to [`Poller::add`].
    pub token: u64,
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// An error waits; for UDP see [`crate::udp::UdpSocket::take_errors`].
    pub failed: bool,
}

/// Events of one wait, and the memory for the next.
pub struct Events {
    raw: Box<[libc::epoll_event]>,
    filled: usize,
}

#[derive(Debug)]
struct Wake {
    event: OwnedFd,
    state: AtomicU8,
}

impl Poller {
    /// An empty set of sockets.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: the calls take no pointers; their results are checked before use.
        let (epoll, event) = unsafe {
            (libc::epoll_create1(libc::EPOLL_CLOEXEC), libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))
        };
        let (epoll, event) = (owned(epoll)?, owned(event)?);
        let poller = Poller { epoll, wake: Arc::new(Wake { event, state: AtomicU8::new(AWAKE) }) };
        // Edge-triggered: nobody reads the eventfd, each write is news.
        poller.control(
            libc::EPOLL_CTL_ADD,
            poller.wake.event.as_raw_fd(),
            WAKE_TOKEN,
            libc::EPOLLIN | libc::EPOLLET,
        )?;
        Ok(poller)
    }

    /// What other threads wake this worker with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { wake: Arc::clone(&self.wake) }
    }

    /// Watches `socket` for something to read. `token` comes back in events and is not
    /// `u64::MAX`, which is taken.
    ///
    /// # Errors
    /// What the kernel says, as when the socket is watched already.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        let fd = socket.as_fd().as_raw_fd();
        self.control(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLIN)
    }

    /// Watches a socket that was added also for room to write, or no longer.
    ///
    /// # Errors
    /// What the kernel says, as when the socket was not added.
    pub fn watch_writable(&self, socket: &impl AsFd, token: u64, writable: bool) -> io::Result<()> {
        let fd = socket.as_fd().as_raw_fd();
        let interest = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Watches `socket` no longer.
    ///
    /// # Errors
    /// What the kernel says, as when the socket was not added.
    pub fn remove(&self, socket: &impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, socket.as_fd().as_raw_fd(), 0, 0)
    }

    /// Waits until a socket has news, somebody wakes, or `timeout` passes (`None`: for ever).
    ///
    /// Returns at once when somebody woke since the last wait ended. `timeout` counts in whole
    /// milliseconds, rounded up so that a timer which is due soon does not spin.
    ///
    /// # Errors
    /// What the kernel says; an interrupting signal is no error, it ends the wait.
    pub fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        events.filled = 0;
        let may_sleep = self.wake.fall_asleep();
        let timeout = if may_sleep { milliseconds(timeout) } else { 0 };
        // SAFETY: the pointer and the length describe `raw`, held exclusively.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.raw.as_mut_ptr(), events.raw.len() as libc::c_int, timeout)
        };
        let error = io::Error::last_os_error();
        self.wake.wake_up();
        match usize::try_from(count) {
            Ok(count) => events.filled = count,
            Err(_) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(error),
        }
        Ok(())
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: `event` outlives the call, which copies it.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Waker {
    /// Ends the worker's wait, or keeps it from starting the next.
    ///
    /// Publish the work before this call: the worker sees it once its wait has returned.
    pub fn wake(&self) {
        if self.wake.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP {
            let one = 1_u64;
            // SAFETY: the pointer and the length describe `one`. A full counter fails the write,
            // and then the wake-up is pending anyway.
            unsafe {
                libc::write(self.wake.event.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8);
            }
        }
    }
}

impl Wake {
    /// False when somebody has woken since `wake_up`: their work may have come after the worker
    /// looked for it.
    fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn wake_up(&self) {
        // A swap, not a store: it reads the wakers' writes, and so sees what they published.
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}

impl Default for Events {
    fn default() -> Self {
        Events::new()
    }
}

impl Events {
    /// Room for 256 events a wait; further ones come with the next.
    #[must_use]
    pub fn new() -> Events {
        Events { raw: vec![libc::epoll_event { events: 0, u64: 0 }; 256].into_boxed_slice(), filled: 0 }
    }

    /// What happened to the sockets; wake-ups are not among it.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.raw[..self.filled].iter().filter(|raw| raw.u64 != WAKE_TOKEN).map(|raw| {
            let happened = raw.events as i32;
            Event {
                token: raw.u64,
                readable: happened & libc::EPOLLIN != 0,
                writable: happened & libc::EPOLLOUT != 0,
                failed: happened & libc::EPOLLERR != 0,
            }
        })
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened the descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |timeout| {
        let rounded_up = timeout.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(rounded_up).unwrap_or(libc::c_int::MAX)
    })
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

const WAKE_TOKEN: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::thread;

    #[test]
    fn a_wake_before_the_wait_ends_it_at_once() {
        let poller = Poller::new().unwrap();
        poller.waker().wake();
        poller.wait(None, &mut Events::new()).unwrap();
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        let mut events = Events::new();
        thread::scope(|scope| {
            scope.spawn(move || waker.wake());
            poller.wait(None, &mut events).unwrap();
        });
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn wakes_are_worth_one_return() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        for _ in 0..3 {
            waker.wake();
        }
        poller.wait(None, &mut Events::new()).unwrap();
        assert!(poller.wake.fall_asleep());
    }

    #[test]
    fn a_datagram_makes_its_socket_readable() {
        let poller = Poller::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        poller.add(&socket, 7).unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let mut events = Events::new();
        poller.wait(Some(Duration::from_secs(10)), &mut events).unwrap();
        let tokens: Vec<_> = events.iter().map(|e| (e.token, e.readable)).collect();
        assert_eq!(tokens, [(7, true)]);
    }

    #[test]
    fn timeouts_round_up() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_micros(1))), 1);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }
}
