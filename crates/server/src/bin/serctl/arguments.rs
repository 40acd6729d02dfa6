//! Command line of `serctl`: the verbs of SER's script and of `kamctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Manages a SER server: its users, its registrations, and the running server itself.
///
/// What is stored is changed in the database, whether the server runs or not. Everything else is asked of the running
/// server: any of its commands can be called by its name.
#[derive(Debug, Parser)]
#[command(name = "serctl", version, max_term_width = 100)]
#[command(after_help = "Any other word is a command of the running server, with its arguments:
  serctl which                           lists them all; `serctl help ul.lookup` explains one
  serctl core.uptime
  serctl ul.lookup location alice
  serctl stats.get_statistics core: --watch
Examples:
  serctl add alice secret                a user of the built-in set-up
  serctl add alice@example.com           asks for the password
  serctl ul show --json                  registrations, for programs
Domains: a user without one belongs to the realm \"ser\", which the built-in set-up serves without --domain.")]
#[command(disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Database: a path or URL [default: ser.db in the data directory]
    #[arg(long, global = true, value_name = "DB")]
    pub(crate) db: Option<String>,
    /// Where the server keeps its data [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Control socket of the running server [default: control.sock in the data directory]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Ask again and again, every SECONDS, until interrupted
    #[arg(long, global = true, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a user
    Add {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The password; asked for when absent
        password: Option<String>,
        /// Where mail reaches the user
        email: Option<String>,
    },
    /// Change a user's password
    Passwd {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The password; asked for when absent
        password: Option<String>,
    },
    /// Remove a user
    Rm {
        /// NAME or NAME@DOMAIN
        user: String,
    },
    /// List the users
    #[command(visible_alias = "showdb")]
    Show,
    /// User location: who is registered where
    #[command(subcommand, visible_alias = "usrloc")]
    Ul(UserLocation),
    /// Names of the users who are registered
    Online,
    /// Further names of users, kept in table dbaliases
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Domains, kept in table domain
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Tables of a database: make, upgrade, fill and look at them
    #[command(subcommand)]
    Db(DbCommand),
    /// Groups of users, kept in table grp: who may call where. A running server heeds a change with the next call
    #[command(subcommand)]
    Acl(AclCommand),
    /// What is asserted as a user's caller identity (Remote-Party-ID), kept in table subscriber
    #[command(subcommand)]
    Rpid(RpidCommand),
    /// Write mail to a user: the text is read from standard input
    #[command(after_help = "The address is that of `serctl add USER PASSWORD ADDRESS`, or set here:
  serctl mail alice --set alice@example.org
  echo 'The service will be down tonight.' | serctl mail alice --subject Maintenance")]
    Mail {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The subject
        #[arg(long, default_value = "Message from your SIP server")]
        subject: String,
        /// Set the user's address instead
        #[arg(long, value_name = "ADDRESS", conflicts_with = "show")]
        set: Option<String>,
        /// Show the user's address instead
        #[arg(long)]
        show: bool,
        /// The program that sends mail, called as `mail -s SUBJECT ADDRESS`
        #[arg(long, default_value = "mail", value_name = "PROGRAM")]
        mailer: String,
    },
    /// Show how the server is doing, live: calls, rates, latencies, memory, peers
    ///
    /// In a terminal until q is pressed, every second or as often as --watch says; elsewhere once, as a table.
    Top,
    /// Show the SIP messages that the server keeps, or of a capture file, as ladders
    Trace(crate::trace::TraceArguments),
    /// Show what happens as it happens: calls, registrations, messages, refusals, bans, reloads
    ///
    /// Until interrupted; with --json one object a line, for programs.
    Events {
        /// Kinds, such as call.* or ban; all without them (`serctl events.kinds` explains them)
        kinds: Vec<String>,
        /// Only of this user: in From or To, or the address that registers
        #[arg(long)]
        user: Option<String>,
        /// Only what comes from this IP address
        #[arg(long)]
        address: Option<String>,
    },
    /// List the server's workers and other threads
    Ps,
    /// Show statistics: all, those of a group (`core:`), or by name
    Stats {
        /// Groups and names
        which: Vec<String>,
    },
    /// Show the server's figures, again and again
    #[command(visible_alias = "monitor")]
    Moni,
    /// Call a command of the server by its name
    #[command(visible_aliases = ["rpc", "mi", "call"])]
    Fifo {
        /// The command
        command: String,
        /// Its arguments
        arguments: Vec<String>,
    },
    /// Start the server in the background; all that follows is for `ser`
    Start {
        /// Options of `ser`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Stop the server once what is open is finished
    Stop,
    /// Let a newer program take over on the same sockets: no request is lost
    Upgrade,
    /// Stop the server and start it again as it was started
    Restart,
    /// Print a completion script: `serctl completion bash > /etc/bash_completion.d/serctl`
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the manual page: `serctl man | man -l -`
    Man,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserLocation {
    /// List the registrations, of one user or all: of the running server, else of the database
    #[command(visible_alias = "dump")]
    Show {
        /// NAME or NAME@DOMAIN
        user: Option<String>,
    },
    /// Register a contact for a user
    Add {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The contact's URI
        contact: String,
        /// Seconds that it lasts; 0 for ever
        #[arg(default_value_t = 0)]
        expires: u32,
    },
    /// Remove a user's contacts, or one of them
    Rm {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The contact's URI
        contact: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Write down that ALIAS means USER
    Add {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
        /// NAME or NAME@DOMAIN
        user: String,
    },
    /// Show whom ALIAS means
    Show {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
    },
    /// Remove ALIAS
    Rm {
        /// ALIAS or ALIAS@DOMAIN
        alias: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Add a domain
    Add {
        /// Its name
        domain: String,
    },
    /// List the domains
    #[command(visible_alias = "showdb")]
    Show,
    /// Have the running server read them again
    Reload,
    /// Remove a domain
    Rm {
        /// Its name
        domain: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Make the tables of the schema that are not there, with Kamailio's names and versions
    Create,
    /// Give tables of an older version the columns that they lack, and make those that are not there
    Upgrade,
    /// Copy rows from another database into tables that are empty here
    Import {
        /// The other database: a path or URL
        from: String,
    },
    /// List the tables with their versions, or the rows of one
    Show {
        /// A table of the schema
        table: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AclCommand {
    /// List the groups of a user, or all
    Show {
        /// NAME or NAME@DOMAIN
        user: Option<String>,
    },
    /// Put a user into groups
    Grant {
        /// NAME or NAME@DOMAIN
        user: String,
        /// Groups, such as local, ld, int
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Take a user out of groups, or out of all of them
    Revoke {
        /// NAME or NAME@DOMAIN
        user: String,
        /// Groups; all when none is named
        groups: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RpidCommand {
    /// Set a user's identity
    Add {
        /// NAME or NAME@DOMAIN
        user: String,
        /// The identity, such as sip:+4930123456@example.com
        rpid: String,
    },
    /// Remove a user's identity
    Rm {
        /// NAME or NAME@DOMAIN
        user: String,
    },
    /// Show the identity of a user, or all
    Show {
        /// NAME or NAME@DOMAIN
        user: Option<String>,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0.1 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_word_that_is_no_verb_is_a_command_of_the_server() {
        let parsed = Arguments::parse_from(["serctl", "ul.lookup", "location", "alice"]);
        let Verb::Other(words) = parsed.verb else { panic!("{:?}", parsed.verb) };
        assert_eq!(words, ["ul.lookup", "location", "alice"]);
        let parsed = Arguments::parse_from(["serctl", "--watch=0.5", "ul", "show"]);
        assert_eq!(parsed.watch, Some(Duration::from_millis(500)));
    }
}
