//! Every function that a script can call.
//!
//! One file or folder per module. A function is a table entry and its code side by side; adding one
//! touches the module's own file and nothing else. The list below is the only registration.
#![forbid(unsafe_code)]
// The futures of a database with several backends are nested deeper than the usual 128 in a release build.
#![recursion_limit = "256"]

pub mod acc;
pub mod alias_db;
pub mod auth;
pub mod auth_db;
pub mod auth_radius;
pub mod avpops;
pub mod cfgutils;
pub mod core;
pub mod corex;
pub mod counters;
pub mod debugger;
pub mod dialog;
pub mod dialplan;
pub mod dispatcher;
pub mod domain;
pub mod doors;
pub mod drouting;
pub mod exec;
pub mod group;
pub mod htable;
pub mod http;
pub mod ipops;
pub mod json;
pub mod kex;
pub mod later;
pub mod lcr;
pub mod limit;
pub mod mangler;
pub mod maxfwd;
pub mod misc_radius;
pub mod mtree;
pub mod nathelper;
pub mod outbound;
pub mod passive;
pub mod path;
pub mod pcre;
pub mod pdt;
pub mod permissions;
pub mod pike;
pub mod pv;
pub mod registrar;
pub mod rr;
pub mod rtimer;
pub mod sanity;
pub mod sdpops;
pub mod siptrace;
pub mod siputils;
pub mod sl;
pub mod speeddial;
pub mod sqlops;
pub mod textops;
pub mod textopsx;
pub mod tls;
pub mod tm;
pub mod tmrec;
pub mod tmx;
pub mod uac;
pub mod uac_redirect;
pub mod uri_db;
pub mod usrloc;
pub mod uuid;
pub mod xhttp;
pub mod xlog;

mod contact_code;
mod database;
mod flag_set;
mod glob;
mod json_rpc;
mod log_level;
mod named_lock;
mod named_variable;
mod network;
mod prefix_tree;
mod radius_servers;
#[cfg(test)]
mod radius_testing;
mod rewrite;
mod rows;
mod rpid;
mod secret;
mod setting;
mod subject;
#[cfg(test)]
mod testing;
mod text_variable;
mod walk;

use module_api::{Function, Module};

/// Every module that exists, in alphabetical order except for `core`, which is always loaded first.
pub fn catalog() -> &'static [&'static Module] {
    CATALOG
}

// A slice, so that modules added at the same time do not quarrel about a number.
static CATALOG: &[&Module] = &[
    &core::MODULE,
    &acc::MODULE,
    &acc::RADIUS,
    &alias_db::MODULE,
    &later::MODULE,
    &auth::MODULE,
    &auth_db::MODULE,
    &auth_radius::MODULE,
    &avpops::MODULE,
    &passive::CFG_RPC,
    &cfgutils::MODULE,
    &doors::CTL,
    &corex::MODULE,
    &counters::COUNTERS,
    &passive::DB_MYSQL,
    &passive::DB_POSTGRES,
    &passive::DB_SQLITE,
    &passive::DB_TEXT,
    &passive::DBTEXT,
    &doors::FIFO,
    &debugger::MODULE,
    &dialplan::MODULE,
    &exec::MODULE,
    &dialog::MODULE,
    &dispatcher::MODULE,
    &drouting::MODULE,
    &htable::MODULE,
    &http::ASYNC_CLIENT,
    &http::CLIENT,
    &ipops::MODULE,
    &doors::JSONRPCS,
    &json::JSON,
    &json::JANSSON,
    &kex::MODULE,
    &lcr::MODULE,
    &mangler::MODULE,
    &maxfwd::MODULE,
    &doors::MI_FIFO,
    &misc_radius::MODULE,
    &passive::MI_RPC,
    &passive::MI_DATAGRAM,
    &passive::MI_XMLRPC,
    &passive::MYSQL,
    &mtree::MODULE,
    &nathelper::MODULE,
    &outbound::MODULE,
    &passive::STUN,
    &path::MODULE,
    &pdt::MODULE,
    &permissions::MODULE,
    &pike::MODULE,
    &limit::PIPELIMIT,
    &passive::POSTGRES,
    &passive::PRINT,
    &pv::MODULE,
    &limit::RATELIMIT,
    &pcre::MODULE,
    &registrar::MODULE,
    &rr::MODULE,
    &rtimer::MODULE,
    &sanity::MODULE,
    &sdpops::MODULE,
    &siptrace::MODULE,
    &siputils::MODULE,
    &sl::MODULE,
    &counters::STATISTICS,
    &textops::MODULE,
    &tls::MODULE,
    &textopsx::MODULE,
    &tm::MODULE,
    &tmrec::MODULE,
    &tmx::MODULE,
    &uac::MODULE,
    &uac_redirect::MODULE,
    &usrloc::MODULE,
    &uuid::MODULE,
    &xhttp::MODULE,
    &xlog::MODULE,
    &domain::MODULE,
    &group::MODULE,
    &speeddial::MODULE,
    &sqlops::MODULE,
    &uri_db::MODULE,
    &uri_db::URI,
];

/// The same function under a name that scripts of another age use.
const fn also(name: &'static str, function: Function) -> Function {
    Function {
        name,
        params: function.params,
        routes: function.routes,
        doc: function.doc,
        example: function.example,
        run: function.run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_documented_and_shown_by_an_example() {
        for module in catalog() {
            assert!(module.doc.ends_with('.'), "{}", module.name);
            for function in module.functions {
                assert!(function.doc.ends_with('.'), "{}.{}", module.name, function.name);
                assert!(function.example.contains('('), "{}.{}", module.name, function.name);
            }
            for variable in module.variables {
                assert!(variable.doc.ends_with('.'), "{} ${}", module.name, variable.name);
                assert!(!variable.example.is_empty(), "{} ${}", module.name, variable.name);
            }
            for parameter in module.parameters {
                assert!(parameter.doc.ends_with('.'), "{} {}", module.name, parameter.name);
            }
            for command in module.commands {
                let shown = format!("{}: {}", module.name, command.name);
                assert!(command.doc.ends_with('.') && command.result.ends_with('.'), "{shown}");
                assert!(command.example.split(' ').next().is_some_and(|name| command.is_called(name)), "{shown}");
                assert!(command.params.iter().all(|param| param.doc.ends_with('.')), "{shown}");
            }
            for statistic in module.statistics {
                assert!(statistic.doc.ends_with('.'), "{}:{}", statistic.group, statistic.name);
            }
        }
    }

    #[test]
    fn no_module_has_two_entries_that_a_call_cannot_tell_apart() {
        for module in catalog() {
            for (at, one) in module.functions.iter().enumerate() {
                for other in &module.functions[at + 1..] {
                    let overlap = one.required() <= other.params.len() && other.required() <= one.params.len();
                    assert!(one.name != other.name || !overlap, "{}.{}", module.name, one.name);
                }
            }
        }
    }

    #[test]
    fn every_command_name_means_one_command() {
        let commands = catalog().iter().flat_map(|module| module.commands);
        let mut names: Vec<_> = commands.flat_map(|command| command.aliases.iter().chain([&command.name])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn module_names_are_unique() {
        let mut names: Vec<_> = catalog().iter().map(|module| module.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), catalog().len());
    }
}
