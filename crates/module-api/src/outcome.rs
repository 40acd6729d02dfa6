//! What a function answers to the virtual machine.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use crate::Call;

/// How a function call ended.
pub enum Outcome {
    /// A return code: above zero is true, below is false, and zero ends the script (Kamailio) or the
    /// current list of statements (SER).
    Value(i64),
    /// It could not do its work. Counts as the code in the [`Fault`], and the cause is logged, rate-limited.
    Fail(Fault),
    /// It needs something that takes time. The request is parked and goes on with the statement after
    /// this one when the future is done.
    Wait(Wait),
    /// The script is over, whatever follows.
    Finish,
}

impl Outcome {
    /// Plain true.
    pub const TRUE: Outcome = Outcome::Value(1);
    /// Plain false.
    pub const FALSE: Outcome = Outcome::Value(-1);

    /// Waits for `work`, whose result `then` turns into the call's outcome.
    pub fn wait<T, F>(work: impl Future<Output = T> + Send + 'static, then: F) -> Outcome
    where
        T: Send + 'static,
        F: FnOnce(&mut Call<'_>, T) -> Outcome + Send + 'static,
    {
        Outcome::Wait(Wait(Box::pin(async move {
            let result = work.await;
            Box::new(move |call: &mut Call<'_>| then(call, result)) as Resume
        })))
    }

    /// Fails with code -1.
    pub fn fail(cause: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::Fail(Fault { code: -1, cause: cause.into() })
    }
}

impl From<bool> for Outcome {
    fn from(yes: bool) -> Outcome {
        if yes { Outcome::TRUE } else { Outcome::FALSE }
    }
}

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The return code that the script sees: below zero, never zero.
    pub code: i64,
    /// For the operator's log: what went wrong, in a phrase.
    pub cause: Cow<'static, str>,
}

/// Runs on the worker when the wait is over, with the request back in hand.
pub type Resume = Box<dyn FnOnce(&mut Call<'_>) -> Outcome + Send>;

/// Work that takes time, and the server's promise to bound it.
///
/// The future runs beside the workers and must not block a thread. It owns everything that it
/// needs; the request itself stays parked and is handed to the [`Resume`] that the future yields.
/// At the engine's deadline the future is dropped and the call fails with code -1.
pub struct Wait(pub Pin<Box<dyn Future<Output = Resume> + Send>>);
