//! Loading a script: reading its files, checking it, saying what is wrong.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use anyhow::{Result, bail};
use module_api::{SettingKind, Value};
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

/// Has settings that name a file by a relative path mean the one in the folder of the script, where there is one: a
/// script and its lists can then be started from anywhere.
fn find_files(configuration: &mut Configuration, script: &Path) {
    let Some(folder) = script.parent() else { return };
    for loaded in &mut configuration.modules {
        let is_file = |name: &str| {
            let mut parameters = loaded.module.parameters.iter();
            parameters.any(|parameter| parameter.name == name && parameter.kind == SettingKind::File)
        };
        for setting in loaded.settings.iter_mut().filter(|setting| is_file(&setting.name)) {
            let named = String::from_utf8_lossy(&setting.value.to_bytes()).into_owned();
            let beside = folder.join(&named);
            if named.is_empty() || Path::new(&named).is_absolute() || !beside.exists() {
                continue;
            }
            if let Some(found) =
                std::path::absolute(beside).ok().and_then(|found| found.into_os_string().into_string().ok())
            {
                setting.value = Value::Str(found.into());
            }
        }
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
    let mut loaded = script::load(&path, &options);
    // What lies beside the script from here may lie nowhere under another root.
    if let (Some(configuration), None) = (&mut loaded.configuration, &arguments.chroot) {
        find_files(configuration, Path::new(&*path));
    }
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
    fn files_that_a_script_names_lie_beside_it() {
        let folder = own_folder();
        let script = folder.join("x.cfg");
        let text = "#!KAMAILIO\nloadmodule \"dispatcher.so\"\nmodparam(\"dispatcher\", \"list_file\", \"NAME\")\n\
                    loadmodule \"sl.so\"\nrequest_route { sl_send_reply(\"200\", \"OK\"); }\n";
        std::fs::write(folder.join("gateways.list"), "1 sip:192.0.2.1\n").expect("it can be written");
        let setting = |name: &str| {
            std::fs::write(&script, text.replace("NAME", name)).expect("it can be written");
            let file = script.to_str().expect("its name is text");
            let configuration = load(&Arguments::parse_from(["ser", "-f", file])).expect("the script is fine");
            let dispatcher = configuration.modules.iter().find(|loaded| loaded.module.name == "dispatcher");
            String::from_utf8_lossy(&dispatcher.expect("it is loaded").settings[0].value.to_bytes()).into_owned()
        };
        assert_eq!(setting("gateways.list"), folder.join("gateways.list").to_str().expect("text"));
        assert_eq!(setting("elsewhere.list"), "elsewhere.list");
        assert_eq!(setting("/etc/hosts"), "/etc/hosts");
        std::fs::remove_dir_all(&folder).expect("it can be removed");
    }

    /// A folder of this test alone.
    fn own_folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("ser-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
        folder
    }

    #[test]
    fn a_script_that_is_not_there_is_named() {
        let arguments = Arguments::parse_from(["ser", "-f", "/no/such/file.cfg"]);
        let error = load(&arguments).err().expect("there is no such file");
        assert!(error.to_string().contains("/no/such/file.cfg"), "{error}");
    }
}
