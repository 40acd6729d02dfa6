//! Names of the simulated network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use engine::Names;
use sip_proto::resolve::{Known, Lookup, Question, RecordKind, Records};

/// Addresses by name. Only addresses: that there are no SRV and NAPTR records is part of the simulation.
#[derive(Default)]
pub(crate) struct Hosts {
    known: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    /// Whether a name that nobody gave an address gets one.
    makes_up: bool,
}

impl Hosts {
    /// Names that were given, and with `makes_up` an address for every other.
    ///
    /// # Errors
    /// When an address is none.
    pub(crate) fn new(given: &[(String, String)], makes_up: bool) -> Result<Hosts> {
        let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (name, address) in given {
            let address = address.parse().with_context(|| format!("host {name}: `{address}` is no IP address"))?;
            known.entry(name.to_ascii_lowercase()).or_default().push(address);
        }
        Ok(Hosts { known: Mutex::new(known), makes_up })
    }

    /// The name that has this address.
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(_, addresses)| addresses.contains(&address)).map(|(name, _)| name.clone())
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(addresses) = known.get(&name) {
            return addresses.clone();
        }
        if !self.makes_up {
            return Vec::new();
        }
        // One of 198.18.1.0/24, beside the server's own (RFC 2544).
        let number = (known.len() % 250 + 1) as u8;
        let made = vec![IpAddr::V4(Ipv4Addr::new(198, 18, 1, number))];
        known.insert(name, made.clone());
        made
    }
}

impl Known for Hosts {
    fn lookup(&self, question: &Question) -> Lookup {
        let wants_v4 = match question.kind {
            RecordKind::A => true,
            RecordKind::Aaaa => false,
            RecordKind::Srv | RecordKind::Naptr => return Lookup::Records(Arc::new(Records::NoSuch)),
        };
        let mut addresses = self.addresses(&question.name);
        addresses.retain(|address| address.is_ipv4() == wants_v4);
        let records = if addresses.is_empty() { Records::NoSuch } else { Records::Addresses(addresses) };
        Lookup::Records(Arc::new(records))
    }
}

impl Names for Hosts {
    fn ask(&self, _: Vec<Question>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
