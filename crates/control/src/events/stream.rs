//! Server-sent events: a response whose body goes on for as long as the client listens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Delivery, Subscription};

/// The body of a response that never ends by itself.
pub(crate) struct EventStream {
    next: Pin<Box<dyn Future<Output = (Subscription, Delivery)> + Send>>,
    beat: Interval,
}

/// How often a stream without news shows that it lives; a client that is gone is found by it.
const BEAT: Duration = Duration::from_secs(15);

impl EventStream {
    pub(crate) fn new(subscription: Subscription) -> EventStream {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        EventStream { next: wait(subscription), beat }
    }
}

fn wait(subscription: Subscription) -> Pin<Box<dyn Future<Output = (Subscription, Delivery)> + Send>> {
    Box::pin(async move {
        let delivery = subscription.next().await;
        (subscription, delivery)
    })
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready((subscription, delivery)) = self.next.as_mut().poll(cx) {
            self.next = wait(subscription);
            return Poll::Ready(Some(Ok(Frame::data(text(&delivery).into()))));
        }
        // The first beat comes at once, so that a client knows that it is listened to.
        self.beat.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b": listening\n\n")))))
    }
}

fn text(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(told) => format!("id: {}\nevent: {}\ndata: {}\n\n", told.id, told.event.kind.name(), told.json),
        Delivery::Lost(_) => format!("event: lost\ndata: {}\n\n", delivery.json()),
    }
}
