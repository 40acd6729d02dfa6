//! Events of transactions.

use module_api::Event;

pub(super) static ALL: [Event; 3] = [
    Event {
        name: "tm:local-request",
        doc: "When the server sends a request of its own: to change it, or with drop to keep it from leaving.",
    },
    Event {
        name: "tm:local-response-sent",
        doc: "When a reply made here has gone out through a transaction. The message is the request.",
    },
    Event {
        name: "tm:branch-failure:",
        doc: "When a branch armed by t_on_branch_failure() has failed, before that counts. The message is the request.",
    },
];
