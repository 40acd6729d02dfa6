//! Tests that start the server and talk to it over real sockets, most of them with peers
//! that other people wrote.
//!
//! The server under test is `ser`; `SIP_TEST_SUBJECT=kamailio` puts Debian's Kamailio in
//! its place, which shows whether a failure lies in the server or in the test.
//! A peer that is missing is a failure: `make test` installs them all.
#![forbid(unsafe_code)]

mod account;
mod accounting;
mod bench;
mod captures;
mod chain;
mod container;
mod databases;
mod editor;
mod events;
mod examples;
mod figures;
mod gateways;
mod hardening;
mod harness;
mod http_at_sip;
mod large;
mod logs;
mod names;
mod operating;
mod operators;
mod order;
mod outbound;
mod package;
mod phones;
mod radius;
mod registrations;
mod reload;
mod restart;
mod script_tools;
mod sipp_calls;
mod sipsak;
mod siptrace;
mod systemd;
mod tables;
mod top;
mod trespass;
mod web;
mod words;
