//! What the editor has open, and the files beside it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use lsp_types::Url;
use script::{LoadOptions, Loaded, Reader};

use crate::load::Files;

/// The texts that the editor has open, by their address.
#[derive(Default)]
pub(super) struct Documents(HashMap<Url, String>);

impl Documents {
    /// Takes a text in place of an earlier one.
    pub(super) fn open(&mut self, uri: Url, text: String) {
        self.0.insert(uri, text);
    }

    /// Forgets a text; the file counts again.
    pub(super) fn close(&mut self, uri: &Url) {
        self.0.remove(uri);
    }

    /// The text of a document, from the editor or from disk.
    pub(super) fn text(&self, uri: &Url) -> Option<String> {
        self.0.get(uri).cloned().or_else(|| Files.read(&path_of(uri)).ok())
    }

    /// Loads the script that a document is, with what it includes.
    pub(super) fn load(&self, uri: &Url) -> Loaded {
        let options = LoadOptions { defines: Vec::new(), catalog: modules::catalog(), reader: self };
        script::load(&path_of(uri), &options)
    }
}

impl Reader for Documents {
    fn read(&self, path: &str) -> io::Result<String> {
        let open = uri_of(path).and_then(|uri| self.0.get(&uri));
        open.map_or_else(|| Files.read(path), |text| Ok(text.clone()))
    }

    fn environment(&self, name: &str) -> Option<String> {
        Files.environment(name)
    }

    /// Names are not looked up while somebody types.
    fn resolve(&self, _: &str) -> Vec<IpAddr> {
        vec![IpAddr::from([198, 18, 0, 2])]
    }
}

/// The path of a document.
pub(super) fn path_of(uri: &Url) -> String {
    uri.to_file_path().map_or_else(|()| uri.path().to_owned(), |path| path.to_string_lossy().into_owned())
}

/// The address of a file.
pub(super) fn uri_of(path: &str) -> Option<Url> {
    let path = Path::new(path);
    let absolute = if path.is_absolute() { path.to_owned() } else { std::env::current_dir().ok()?.join(path) };
    Url::from_file_path(absolute).ok()
}
