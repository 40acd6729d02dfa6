//! Webhooks: each event is posted to a URL, signed, and again until it is taken or has been tried often enough.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use module_api::{Counter, Level, Statistics};
use sha2::Sha256;

use super::{Bus, Delivery, Filter};
use crate::ground::{Say, Task};
use crate::http_client::{Connect, Url, post};

/// Where events are posted to.
#[derive(Clone)]
pub struct WebhookSettings {
    /// The URL.
    pub url: Url,
    /// What is posted.
    pub filter: Filter,
    /// What signs it.
    pub secret: Option<Arc<[u8]>>,
}

/// A webhook that is served until this is dropped.
pub struct Webhook(#[expect(dead_code, reason = "it is only dropped")] Task);

/// How often an event is tried.
const TRIES: u32 = 8;
/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Webhook {
    /// Posts events from now on. None when as many listen as may.
    pub fn start(
        bus: &Bus,
        settings: WebhookSettings,
        connect: Connect,
        statistics: &Statistics,
        log: Arc<Say>,
    ) -> Option<Webhook> {
        let subscription = bus.subscribe(format!("webhook {}", settings.url), settings.filter.clone())?;
        let counter = |name, doc| statistics.counter("webhook", name, doc);
        let poster = Poster {
            settings,
            connect,
            delivered: counter("delivered", "Events that a webhook has taken."),
            retried: counter("retried", "Attempts of webhooks that failed and were repeated."),
            given_up: counter("given_up", "Events that a webhook did not take."),
            log,
        };
        let task = tokio::spawn(async move {
            loop {
                let delivery = subscription.next().await;
                poster.deliver(&delivery).await;
            }
        });
        Some(Webhook(Task(task.abort_handle())))
    }
}

struct Poster {
    settings: WebhookSettings,
    connect: Connect,
    delivered: Counter,
    retried: Counter,
    given_up: Counter,
    log: Arc<Say>,
}

/// What came of one attempt.
enum Attempt {
    Taken,
    /// It may be taken later.
    Again(String),
    /// It never will.
    Never(String),
}

impl Poster {
    async fn deliver(&self, delivery: &Delivery) {
        let body = delivery.json();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let why = match self.attempt(delivery, &body).await {
                Attempt::Taken => return self.delivered.increment(),
                Attempt::Never(why) => return self.give_up(&why),
                Attempt::Again(why) if attempt == TRIES => return self.give_up(&why),
                Attempt::Again(why) => why,
            };
            self.retried.increment();
            if attempt == 1 {
                let text = format!("webhook {}: {why}; trying again", self.settings.url);
                (self.log)(Level::Warning, &text);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn give_up(&self, why: &str) {
        self.given_up.increment();
        (self.log)(Level::Error, &format!("webhook {}: {why}; an event is given up", self.settings.url));
    }

    async fn attempt(&self, delivery: &Delivery, body: &str) -> Attempt {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (id, kind) = match delivery {
            Delivery::Event(told) => (told.id, told.event.kind.name()),
            Delivery::Lost(_) => (0, "lost"),
        };
        let mut headers = vec![("X-SER-Event", kind.to_owned()), ("X-SER-Delivery", id.to_string())];
        if let Some(secret) = &self.settings.secret {
            headers.push(("X-SER-Signature", signature(secret, now, body)));
        }
        match post(&self.connect, &self.settings.url, &headers, body.to_owned().into(), PATIENCE).await {
            Ok(status) if status.is_success() => Attempt::Taken,
            // A receiver that says 4xx does not want this one, except for those that mean "later".
            Ok(status) if status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429) => {
                Attempt::Never(format!("it answered {status}"))
            }
            Ok(status) => Attempt::Again(format!("it answered {status}")),
            Err(why) => Attempt::Again(why),
        }
    }
}

/// `t=TIME,v1=HMAC`: HMAC-SHA256 (RFC 2104) in hexadecimal of the time, a full stop and the body. The time lets a
/// receiver refuse what somebody has kept and sends again.
fn signature(secret: &[u8], time: u64, body: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{time}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_together_with_the_time() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", 1_700_000_000, "{}"),
            "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}
