//! Loading a script: reading its files, checking it, saying what is wrong.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use anyhow::{Result, bail};
use script::{Configuration, LoadOptions, Loaded, Reader};

use crate::arguments::Arguments;

/// The built-in set-up.
pub(crate) const BUILT_IN: &str = include_str!("builtin.cfg");
/// What the built-in set-up is called in diagnostics.
pub(crate) const BUILT_IN_NAME: &str = "(built-in set-up)";

/// Loads the script that the command line asks for, and prints what is wrong with it on standard error.
///
/// # Errors
/// When the script has an error; what it is has been printed then.
pub(crate) fn load(arguments: &Arguments) -> Result<Configuration> {
    let (path, loaded) = read(arguments);
    if !loaded.diagnostics.is_empty() {
        let shown = match arguments.format.as_str() {
            "json" => loaded.diagnostics.to_json(),
            _ => loaded.diagnostics.render(io::stderr().is_terminal()),
        };
        eprintln!("{}", shown.trim_end());
    }
    match loaded.configuration {
        Some(configuration) => Ok(configuration),
        None => bail!("{path}: the script has errors"),
    }
}

/// Loads the script that the command line asks for, and says what it is called.
pub(crate) fn read(arguments: &Arguments) -> (String, Loaded) {
    let path = arguments.file.as_deref().map_or_else(|| BUILT_IN_NAME.into(), Path::to_string_lossy);
    let mut defines = arguments.defines();
    if !arguments.domain.is_empty() {
        defines.push(("WITH_DOMAINS".to_owned(), None));
    }
    let options = LoadOptions { defines, catalog: modules::catalog(), reader: &Files };
    let loaded = script::load(&path, &options);
    (path.into_owned(), loaded)
}

/// Reads scripts from the file system, and the built-in one from the program.
pub(crate) struct Files;

impl Reader for Files {
    fn read(&self, path: &str) -> io::Result<String> {
        if path == BUILT_IN_NAME {
            return Ok(BUILT_IN.to_owned());
        }
        // Scripts of twenty years hold comments in any encoding; only their strings reach the wire,
        // and those bytes must not be changed silently.
        let bytes = std::fs::read(path)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| latin1(error.as_bytes())))
    }

    fn environment(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        let found = (host, 0).to_socket_addrs().into_iter().flatten();
        found.map(|address| address.ip()).collect()
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_built_in_set_up_has_neither_errors_nor_warnings() {
        let options = LoadOptions { defines: Vec::new(), catalog: modules::catalog(), reader: &Files };
        let loaded = script::load(BUILT_IN_NAME, &options);
        assert_eq!(loaded.diagnostics.render(false), "");
        assert!(loaded.configuration.is_some());
    }

    #[test]
    fn a_script_that_is_not_there_is_named() {
        let arguments = Arguments::parse_from(["ser", "-f", "/no/such/file.cfg"]);
        let error = load(&arguments).err().expect("there is no such file");
        assert!(error.to_string().contains("/no/such/file.cfg"), "{error}");
    }
}
