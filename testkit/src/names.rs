//! DNS as a table.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use engine::Names;
use sip_proto::resolve::{Known, Lookup, Question, RecordKind, Records};

/// Names that a test knows. What is not in the table does not exist; what is there must be asked for once.
#[derive(Debug, Default)]
pub struct StaticNames {
    records: HashMap<Question, Arc<Records>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl StaticNames {
    /// Adds records.
    pub fn insert(&mut self, name: &str, kind: RecordKind, records: Records) {
        self.records.insert(Question { name: name.into(), kind }, Arc::new(records));
    }

    /// Adds addresses of a host.
    pub fn host(&mut self, name: &str, addresses: &[&str]) {
        let parsed: Vec<std::net::IpAddr> =
            addresses.iter().map(|address| address.parse().expect("a test gives literal addresses")).collect();
        for (kind, is_v4) in [(RecordKind::A, true), (RecordKind::Aaaa, false)] {
            let of_kind: Vec<_> = parsed.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect();
            if !of_kind.is_empty() {
                self.insert(name, kind, Records::Addresses(of_kind));
            }
        }
    }
}

impl Known for StaticNames {
    fn lookup(&self, question: &Question) -> Lookup {
        if !self.asked.lock().expect("no test panics while it holds this lock").contains(question) {
            return Lookup::Unknown;
        }
        match self.records.get(question) {
            Some(records) => Lookup::Records(Arc::clone(records)),
            None => Lookup::Records(Arc::new(Records::NoSuch)),
        }
    }
}

impl Names for StaticNames {
    fn ask(&self, questions: Vec<Question>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let asked = Arc::clone(&self.asked);
        Box::pin(async move {
            asked.lock().expect("no test panics while it holds this lock").extend(questions);
        })
    }
}
