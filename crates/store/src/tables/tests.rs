//! The battery of stores on text files; on servers it runs where they are started.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::battery::Fixture;
use crate::{Database, Settings, Store};

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn fresh() -> Fixture<impl Sized> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("ser-text-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let scratch = Scratch(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&scratch.0).expect("a directory can be made");
    let address = format!("text://{}", scratch.0.display());
    let database = Database::open(&address, &Settings::default(), Arc::new(|_| {})).await.expect("it opens");
    database.make_schema().await.expect("it is made");
    Fixture { store: Store::open(&address).await.expect("it opens"), _guard: scratch }
}

crate::battery::battery!(super::tests::fresh);
