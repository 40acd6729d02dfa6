//! The subcommands of `ser`: tools for whoever writes scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::arguments::Arguments;
use crate::{check, explain, fmt, lsp, script_test};

/// What `ser` can do besides serving.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Check scripts: whatever passes starts
    ///
    /// Does what a start does, short of opening sockets: reads the script and what it includes, checks it, looks
    /// up the addresses and names to listen on, reads certificates, and starts every module. Modules start on an
    /// empty scratch database in place of the one of their db_url, so that nothing of yours is read or changed; text files
    /// of modules that only read theirs are read.
    Check(CheckArguments),
    /// Show the way of one message through a script
    ///
    /// Runs the message, from the options or from standard input, through the script on the real engine, with a
    /// virtual clock and without sockets, and prints each statement reached, the values and conditions that led
    /// there, the edits made, and what would have been sent where. Names are not looked up: give their addresses
    /// with --host, or one is made up.
    Explain(Box<explain::ExplainArguments>),
    /// Run the tests of scripts
    ///
    /// Runs test files (docs/script-tests.md) on the real engine, with a virtual clock and a simulated network.
    Test(script_test::TestArguments),
    /// Format scripts of both dialects
    ///
    /// Lays scripts out in one way; comments, preprocessor lines and blank lines stay (docs/editors.md).
    Fmt(fmt::FmtArguments),
    /// Make load for a SIP server and measure what becomes of it
    ///
    /// Begins attempts at random moments whatever the server does, and counts each delay from the moment at which the
    /// attempt was to begin (docs/bench.md). It works with any SIP server, and must only be used with your own.
    Bench(Box<::load::Arguments>),
    /// Serve an editor over standard input and output (Language Server Protocol)
    Lsp,
}

/// What every command needs to load a script.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ScriptArguments {
    /// Define a preprocessor name: ID or ID=VALUE; repeatable
    #[arg(short = 'A', value_name = "ID[=VALUE]")]
    pub(crate) define: Vec<String>,
    /// Listen here instead of where the script says: [PROTO:]HOST[:PORT]; repeatable
    #[arg(short = 'l', long = "listen", value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Further name that counts as this server; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub(crate) format: String,
}

impl ScriptArguments {
    /// As the command line of a server that runs `file`.
    pub(crate) fn for_file(&self, file: Option<PathBuf>) -> Arguments {
        Arguments {
            file,
            define: self.define.clone(),
            listen: self.listen.clone(),
            alias: self.alias.clone(),
            format: self.format.clone(),
            ..Arguments::none()
        }
    }

    /// Whether the result is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.format == "json"
    }
}

/// Options of `ser check`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArguments {
    /// Scripts to check
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) script: ScriptArguments,
    /// Certificate chain for TLS and secure WebSocket (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// Runs a subcommand and says how it ended: 0 for well, 1 for errors found.
///
/// # Errors
/// What kept it from doing its work.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Test(arguments) => script_test::run(arguments),
        Command::Fmt(arguments) => fmt::run(arguments),
        Command::Bench(arguments) => ::load::run(arguments),
        Command::Lsp => lsp::run(),
    }
}
