//! What is there before the first message: users with passwords, and phones that have registered.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use modules::usrloc::{Contact, Locations};
use sip_message::Uri;
use sip_proto::registrar::Binding;
use store::Store;
use tokio::runtime::Runtime;

use crate::data;
use crate::start_modules::Started;

/// A phone that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    /// The address-of-record, as a URI.
    pub(crate) aor: String,
    /// The contact, as a URI.
    pub(crate) contact: String,
}

/// Adds users to the database in `directory`.
pub(super) fn users(users: &[(String, String)], directory: &Path, runtime: &Runtime) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let database = data::database(directory);
    runtime.block_on(async {
        let store = Store::open(&database.to_string_lossy()).await?;
        for (user, password) in users {
            let (name, domain) = user.split_once('@').with_context(|| format!("`{user}` must be user@domain"))?;
            if !store.add_subscriber(name, domain, password).await? {
                bail!("user {user} is there twice");
            }
        }
        store.close().await;
        Ok(())
    })
}

/// Registers phones in the table `location`, for a day.
pub(super) fn registrations(
    registrations: &[Registration],
    begin: Duration,
    started: &Started,
    runtime: &Runtime,
) -> Result<()> {
    if registrations.is_empty() {
        return Ok(());
    }
    let locations = started.of::<Locations>("usrloc");
    let locations = locations.context("nobody can be registered: the script does not load module \"usrloc\"")?;
    let table = runtime.block_on(locations.open("location".into())).map_err(anyhow::Error::msg)?;
    for registration in registrations {
        let aor = Uri::parse(registration.aor.as_bytes()).ok();
        let aor = aor.filter(|uri| uri.user.is_some());
        let aor = aor.with_context(|| format!("`{}` is no URI of a user", registration.aor))?;
        if Uri::parse(registration.contact.as_bytes()).is_err() {
            bail!("`{}` is no URI to reach a user at", registration.contact);
        }
        let key = locations.aor(&Bytes::copy_from_slice(aor.user.unwrap_or_default()), aor.host_text);
        let contact = contact(registration, begin.as_secs(), locations.new_ruid());
        table.bindings.update(&key, |mut bindings| {
            bindings.push(contact);
            (Some(bindings), ())
        });
    }
    Ok(())
}

fn contact(registration: &Registration, now: u64, ruid: Bytes) -> Contact {
    const DAY: u64 = 86_400;
    Contact {
        binding: Binding {
            uri: Bytes::from(registration.contact.clone()),
            expires: now + DAY,
            q: None,
            call_id: Bytes::from_static(b"registered-before"),
            cseq: 1,
            path: Bytes::new(),
            instance: Bytes::new(),
            reg_id: 0,
            params: Bytes::new(),
        },
        received: Bytes::new(),
        user_agent: Bytes::from_static(b"simulated"),
        ruid,
        modified: now,
        flags: 0,
        branch_flags: 0,
        methods: u32::MAX,
        socket: None,
        connection: None,
    }
}
