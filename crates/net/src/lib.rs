//! Sockets: UDP in batches, TCP, TLS, WebSocket, DNS.
