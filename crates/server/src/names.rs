//! DNS as the engine asks for it (RFC 3263), over the resolver of the network crate.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::Names;
use module_api::{DnsAnswer, DnsKind, DnsPointer, DnsRecords, DnsService};
use net::dns::{Cached, DnsSettings, Kind, Resolver, SetupError};
use sip_proto::resolve::{self, Known, Lookup, Question, RecordKind};
use tokio::runtime::Handle;

/// Names known from DNS.
pub(crate) struct Dns {
    resolver: Arc<Resolver>,
}

impl Dns {
    /// Asks the servers of `settings`.
    ///
    /// # Errors
    /// When those of the system are meant and cannot be read.
    pub(crate) fn start(runtime: &Handle, settings: DnsSettings) -> Result<Dns, SetupError> {
        let resolver = Resolver::new(runtime.clone(), settings)?;
        Ok(Dns { resolver: Arc::new(resolver) })
    }
}

impl Known for Dns {
    fn lookup(&self, question: &Question) -> Lookup {
        match self.resolver.get(&question.name, kind(question.kind)) {
            Cached::Known(records) => Lookup::Records(Arc::new(converted(&records))),
            Cached::Failed => Lookup::Failed,
            Cached::Unknown => Lookup::Unknown,
        }
    }
}

impl Names for Dns {
    fn ask(&self, questions: Vec<Question>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let mut lookups = tokio::task::JoinSet::new();
            for question in questions {
                let resolver = Arc::clone(&resolver);
                lookups.spawn(async move {
                    // The answer lies in the cache then, and so does the news that there is none.
                    let _ = resolver.lookup(&question.name, kind(question.kind)).await;
                });
            }
            while lookups.join_next().await.is_some() {}
        })
    }
}

impl module_api::Dns for Dns {
    fn ask(&self, name: String, kind: DnsKind, kept: Option<Duration>) -> DnsAnswer {
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let asked = |kind: Kind| resolver.lookup_kept(&name, kind, kept);
            if kind != DnsKind::Addresses {
                let kind = match kind {
                    DnsKind::Services => Kind::Srv,
                    DnsKind::Pointers => Kind::Naptr,
                    DnsKind::Names | DnsKind::Addresses => Kind::Ptr,
                };
                return asked(kind).await.ok().and_then(|records| shown(&records));
            }
            let (v4, v6) = tokio::join!(asked(Kind::A), asked(Kind::Aaaa));
            let mut addresses = Vec::new();
            for found in [v4, v6].iter().flatten() {
                if let net::dns::Records::Addresses(found) = &**found {
                    addresses.extend_from_slice(found);
                }
            }
            (!addresses.is_empty()).then_some(DnsRecords::Addresses(addresses))
        })
    }
}

/// From what the resolver knows to what a module reads.
fn shown(records: &net::dns::Records) -> Option<DnsRecords> {
    Some(match records {
        net::dns::Records::Addresses(addresses) => DnsRecords::Addresses(addresses.clone()),
        net::dns::Records::Srv(servers) => {
            let server = |srv: &net::dns::Srv| DnsService {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            };
            DnsRecords::Services(servers.iter().map(server).collect())
        }
        net::dns::Records::Naptr(pointers) => {
            let pointer = |naptr: &net::dns::Naptr| DnsPointer {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.to_string(),
                services: naptr.service.to_string(),
                regexp: naptr.regexp.to_string(),
                replacement: naptr.replacement.to_string(),
            };
            DnsRecords::Pointers(pointers.iter().map(pointer).collect())
        }
        net::dns::Records::Names(names) => DnsRecords::Names(names.iter().map(ToString::to_string).collect()),
        net::dns::Records::NoSuch => return None,
    })
}

fn kind(kind: RecordKind) -> Kind {
    match kind {
        RecordKind::A => Kind::A,
        RecordKind::Aaaa => Kind::Aaaa,
        RecordKind::Srv => Kind::Srv,
        RecordKind::Naptr => Kind::Naptr,
    }
}

/// From what the resolver knows to what the plan reads: neither crate knows the other's types.
fn converted(records: &net::dns::Records) -> resolve::Records {
    match records {
        net::dns::Records::Addresses(addresses) => resolve::Records::Addresses(addresses.clone()),
        net::dns::Records::Srv(servers) => resolve::Records::Srv(servers.iter().map(server).collect()),
        net::dns::Records::Naptr(pointers) => resolve::Records::Naptr(pointers.iter().map(pointer).collect()),
        net::dns::Records::Names(_) | net::dns::Records::NoSuch => resolve::Records::NoSuch,
    }
}

fn server(srv: &net::dns::Srv) -> resolve::Srv {
    resolve::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_string().into() }
}

fn pointer(naptr: &net::dns::Naptr) -> resolve::Naptr {
    resolve::Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: naptr.flags.to_string().into(),
        services: naptr.service.to_string().into(),
        replacement: naptr.replacement.to_string().into(),
    }
}
