//! Requests to web servers that no SIP request waits for.

use std::sync::{Arc, Weak};

use module_api::{Host, RouteKind, Server, SpawnWork, WebExchange, made_up_context};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::query::Came;

/// Takes exchanges with web servers, and runs a route with each answer.
pub(super) struct Work(Option<mpsc::Sender<(WebExchange, String)>>);

/// Most exchanges that go on at once, and that wait to begin.
const MOST: usize = 1000;

/// Begins to take exchanges, for as long as the module's state is in use.
pub(super) fn start(spawn: &SpawnWork<'_>, server: &Arc<dyn Server>) -> Work {
    let (sender, exchanges) = mpsc::channel(MOST);
    spawn(Box::pin(take(exchanges, Arc::downgrade(server))));
    Work(Some(sender))
}

impl Work {
    /// Takes nothing.
    #[cfg(test)]
    pub(super) fn nowhere() -> Work {
        Work(None)
    }

    /// Begins an exchange. False when too many are under way.
    pub(super) fn begin(&self, exchange: WebExchange, route: String) -> bool {
        self.0.as_ref().is_some_and(|sender| sender.try_send((exchange, route)).is_ok())
    }
}

async fn take(mut exchanges: mpsc::Receiver<(WebExchange, String)>, server: Weak<dyn Server>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            next = exchanges.recv(), if running.len() < MOST => match next {
                Some((exchange, route)) => drop(running.spawn(async move { (exchange.await, route) })),
                // The state is gone; what is under way is of no use any more.
                None => return,
            },
            Some(ended) = running.join_next() => {
                let (Ok((answer, route)), Some(server)) = (ended, server.upgrade()) else { continue };
                let job = move |host: &mut dyn Host| {
                    if let Some(id) = host.find_route(None, RouteKind::Request, &route) {
                        let mut context = made_up_context(host);
                        context.set_note(Came(answer));
                        host.start_route(id, context);
                    }
                };
                // A full mailbox means overload, and nobody waits for this.
                let _ = server.post(b"http_async_client", Box::new(job));
            }
        }
    }
}
