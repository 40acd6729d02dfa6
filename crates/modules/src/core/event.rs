//! Events of the server itself.

use module_api::Event;

pub(super) static ALL: [Event; 4] = [
    Event { name: "core:worker-one-init", doc: "Once, when the server has begun to serve. The message is made up." },
    Event { name: "core:msg-received", doc: "For each message, before anything is made of it; drop ends it there." },
    Event {
        name: "core:pre-routing",
        doc: "For each request that the request route is about to see; drop keeps it from it.",
    },
    Event { name: "tcp:closed", doc: "When a connection is gone; $si and $sp are the peer's. The message is made up." },
];
