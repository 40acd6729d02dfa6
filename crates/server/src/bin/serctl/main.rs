//! `serctl`: manages a SER server: what it has stored, and what it does.
#![forbid(unsafe_code)]

mod arguments;
mod client;
#[path = "../../data.rs"]
mod data;
mod events;
mod live;
mod rights;
mod schema;
mod show;
mod stored;
mod top;
mod trace;
mod words;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use arguments::{Arguments, DomainCommand, UserLocation, Verb};
use client::Client;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    // The monitor of 2003 never ended by itself.
    if matches!(arguments.verb, Verb::Top) {
        return runtime.block_on(execute(arguments));
    }
    let every = arguments.watch.or(matches!(arguments.verb, Verb::Moni).then_some(Duration::from_secs(2)));
    let Some(every) = every else { return runtime.block_on(execute(arguments)) };
    loop {
        if std::io::stdout().is_terminal() {
            print!("\x1b[H\x1b[2J");
        }
        runtime.block_on(execute(arguments))?;
        std::io::stdout().flush().context("cannot print")?;
        std::thread::sleep(every);
    }
}

async fn execute(arguments: &Arguments) -> Result<()> {
    let directory = data::directory(arguments.data_dir.as_deref());
    let client = Client::new(arguments.socket.clone().unwrap_or_else(|| data::control_socket(&directory)));
    let stored_at = || data::database(&directory).to_string_lossy().into_owned();
    let json = arguments.json;
    match &arguments.verb {
        Verb::Ul(UserLocation::Show { user }) => {
            let address = arguments.db.clone().or_else(|| (!client.is_served()).then(stored_at));
            match address {
                Some(address) => stored::show_locations(&address, user.as_deref(), json).await,
                None => live::show_locations(&client, user.as_deref(), json),
            }
        }
        Verb::Ul(UserLocation::Add { user, contact, expires }) => live::add_location(&client, user, contact, *expires),
        Verb::Ul(UserLocation::Rm { user, contact }) => live::remove_location(&client, user, contact.as_deref()),
        Verb::Online => live::online(&client, json),
        Verb::Trace(options) => trace::run(options, client, json),
        Verb::Top => top::run(&client, json, arguments.watch),
        Verb::Domain(DomainCommand::Reload) => live::call(&client, &["domain.reload".to_owned()], json),
        Verb::Events { kinds, user, address } => {
            events::run(&client, &events::filter(kinds, user.as_deref(), address.as_deref()), json)
        }
        Verb::Stats { which } => live::call(&client, &[&["stats.get_statistics".to_owned()][..], which].concat(), json),
        Verb::Ps => live::call(&client, &["core.psx".to_owned()], json),
        Verb::Moni => live::figures(&client, json),
        Verb::Fifo { command, arguments } => {
            live::call(&client, &[std::slice::from_ref(command), arguments].concat(), json)
        }
        Verb::Other(words) => live::call(&client, &words::command(words)?, json),
        Verb::Start { options } => {
            // The server that is started must be the one that is asked afterwards.
            let here = arguments.data_dir.iter().flat_map(|dir| ["--data-dir".to_owned(), dir.display().to_string()]);
            live::start(&client, &here.chain(options.iter().cloned()).collect::<Vec<_>>())
        }
        Verb::Stop => live::stop(&client),
        Verb::Upgrade => live::upgrade(&client),
        Verb::Restart => live::restart(&client),
        Verb::Man => {
            let page = clap_mangen::Man::new(Arguments::command()).section("8");
            page.render(&mut std::io::stdout()).context("cannot print")
        }
        Verb::Completion { shell } => {
            clap_complete::generate(*shell, &mut Arguments::command(), "serctl", &mut std::io::stdout());
            Ok(())
        }
        Verb::Db(command) => schema::execute(&arguments.db.clone().unwrap_or_else(stored_at), command, json).await,
        verb @ (Verb::Acl(_) | Verb::Rpid(_) | Verb::Mail { .. }) => {
            rights::execute(&arguments.db.clone().unwrap_or_else(stored_at), verb, json).await
        }
        verb => stored::execute(&arguments.db.clone().unwrap_or_else(stored_at), verb, json).await,
    }
}
