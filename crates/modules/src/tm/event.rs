//! Events of transactions.

use module_api::Event;

pub(super) static ALL: [Event; 2] = [
    Event {
        name: "tm:local-request",
        doc: "When the server sends a request of its own: to change it, or with drop to keep it from leaving.",
    },
    Event {
        name: "tm:local-response-sent",
        doc: "When a reply made here has gone out through a transaction. The message is the request.",
    },
];
