//! RADIUS servers of modules: which there are, how they are asked, and what was counted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use module_api::{Call, Level, Parameter, Setup, SetupError, State, Statistic, StatisticKind};
use radius::attribute::{NAS_IDENTIFIER, NAS_IP_ADDRESS, NAS_IPV6_ADDRESS, NAS_PORT, SERVICE_TYPE};
use radius::{Attributes, Client, Configuration, Dictionary, Error, Figures, Packet, Service, Settings};

use crate::named_variable::{self, NamedVariable};
use crate::setting::{list, number, text};

/// Settings that each module with RADIUS servers has, in front of its own.
pub(crate) const PARAMETERS: [Parameter; 9] = [
    text(
        "radius_config",
        "",
        "A file of radiusclient-ng (or radcli), which names servers, the file with their secrets, and a dictionary.",
    ),
    list(
        "server",
        "A server, instead of radius_config: \"host=radius.example.com; secret=WORD\". More pairs: port, acct_port, \
         secret_file; for RadSec transport=tls, ca, cert, key (files in PEM). Given several times, the first is preferred.",
    ),
    text(
        "dictionary",
        "",
        "A dictionary in the format of radiusclient-ng or FreeRADIUS, read besides what is built in.",
    ),
    number(
        "timeout",
        "1000",
        "How long an answer is waited for before the question is sent once more, in milliseconds.",
    ),
    number("tries", "2", "How often a question is sent to one server before the next is asked."),
    number("dead_time", "10", "How long a server that did not answer is left alone, in seconds; 0: not at all."),
    number(
        "require_message_authenticator",
        "1",
        "0 believes answers without Message-Authenticator, which whoever is between can forge (CVE-2024-3596).",
    ),
    text(
        "nas_identifier",
        "",
        "What this server calls itself (NAS-Identifier); by default it tells its address alone.",
    ),
    text("source_address", "", "The own address from which servers are asked; by default what the system chooses."),
];

/// The statistics of each such module.
pub(crate) const fn statistics(group: &'static str) -> [Statistic; 8] {
    [
        counter(group, "requests", "Questions to RADIUS servers."),
        counter(group, "answers", "Answers of RADIUS servers that were believed."),
        counter(group, "retransmissions", "Questions to RADIUS servers that were sent once more."),
        counter(group, "forged", "Answers that do not prove that they are of the server, and were passed over."),
        counter(group, "late", "Answers of RADIUS servers to nothing that waits, and so passed over."),
        counter(group, "malformed", "Packets from RADIUS servers that are none, and were passed over."),
        counter(group, "silences", "Times that a RADIUS server did not answer a question."),
        counter(group, "unanswered", "Questions that no RADIUS server answered."),
    ]
}

const fn counter(group: &'static str, name: &'static str, doc: &'static str) -> Statistic {
    Statistic { group, name, kind: StatisticKind::Counter, doc }
}

/// The servers of a module, and the names in their packets.
pub(crate) struct Servers {
    pub(crate) client: Client,
    pub(crate) dictionary: Dictionary,
    nas_identifier: String,
}

impl Servers {
    /// Reads the settings of [`PARAMETERS`].
    pub(crate) fn open(setup: &Setup<'_>, service: Service) -> Result<Servers, SetupError> {
        let (mut settings, mut dictionary) = configured(setup, service)?;
        let path = setup.text("dictionary");
        if !path.is_empty() {
            dictionary.read(Path::new(&path)).map_err(|error| bad("dictionary", &error))?;
        }
        let whole =
            |name: &'static str| u32::try_from(setup.int(name)).map_err(|_| bad(name, &"must not be less than zero"));
        if setup.is_set("timeout") {
            settings.timeout = Duration::from_millis(whole("timeout")?.into());
        }
        if setup.is_set("tries") {
            settings.tries = whole("tries")?;
        }
        if setup.is_set("dead_time") {
            settings.dead_time = Duration::from_secs(whole("dead_time")?.into());
        }
        let source = setup.text("source_address");
        if !source.is_empty() {
            settings.bind =
                Some(source.parse().map_err(|_| bad("source_address", &"must be an address of this host"))?);
        }
        settings.must_be_signed = setup.int("require_message_authenticator") != 0;
        let log = Arc::clone(setup.log);
        let report: radius::Report = Arc::new(move |line| log(Level::Error, line));
        let client = Client::new(settings, report).map_err(|error| bad("server", &error))?;
        Ok(Servers { client, dictionary, nas_identifier: setup.text("nas_identifier") })
    }

    /// What was counted.
    pub(crate) fn figures(&self) -> Figures {
        self.client.figures()
    }

    /// The number of a service type: what the setting says, else what the dictionary has under that name.
    pub(crate) fn service_type(&self, setup: &Setup<'_>, setting: &'static str, name: &str) -> Result<u32, SetupError> {
        let number = setup.int(setting);
        if number >= 0 {
            return u32::try_from(number).map_err(|_| bad(setting, &"is a number of 32 bits"));
        }
        let found = self.dictionary.value("Service-Type", name);
        found.ok_or_else(|| bad(setting, &format!("the dictionary has no VALUE Service-Type {name}")))
    }

    /// Attributes for a question about a service: its type, and who asks (RFC 2865 section 4.1).
    pub(crate) fn question(&self, call: &Call<'_>, service_type: u32) -> Attributes {
        let mut attributes = Attributes::new();
        attributes.push_int(SERVICE_TYPE, service_type);
        let socket = call.host.sockets().first().map(|socket| socket.address);
        let address = socket.filter(|address| !address.ip().is_unspecified());
        match address {
            Some(address) => attributes.push_address(NAS_IP_ADDRESS, NAS_IPV6_ADDRESS, address.ip()),
            None if self.nas_identifier.is_empty() => attributes.push_clipped(NAS_IDENTIFIER, b"ser"),
            None => {}
        }
        if !self.nas_identifier.is_empty() {
            attributes.push_clipped(NAS_IDENTIFIER, self.nas_identifier.as_bytes());
        }
        if let Some(address) = socket {
            attributes.push_int(NAS_PORT, address.port().into());
        }
        attributes
    }

    /// The attributes that a setting such as `auth_extra` adds: `Attribute-Name=$variable;...`.
    pub(crate) fn extra(
        &self,
        setup: &Setup<'_>,
        name: &'static str,
    ) -> Result<Vec<(String, NamedVariable)>, SetupError> {
        let pairs = named_variable::pairs(&setup.text(name), setup).map_err(|cause| bad(name, &cause))?;
        match pairs.iter().find(|(attribute, _)| self.dictionary.attribute(attribute).is_none()) {
            Some((attribute, _)) => Err(bad(name, &format!("the dictionary has no ATTRIBUTE {attribute}"))),
            None => Ok(pairs),
        }
    }

    /// Adds the values of such a setting. What is undefined, or no value of its attribute, is left out.
    pub(crate) fn add_extra(&self, call: &mut Call<'_>, extra: &[(String, NamedVariable)], to: &mut Attributes) {
        for (name, variable) in extra {
            let value = variable.read(call);
            if value == module_api::Value::Null {
                continue;
            }
            if let Some((id, octets)) = self.dictionary.encode(name, &value.to_bytes()) {
                to.push_clipped(id, &octets);
            }
        }
    }

    /// Asks on behalf of a request, which can wait for so long and no longer.
    pub(crate) fn ask(&self, attributes: Attributes) -> impl Future<Output = Result<Packet, Error>> + Send + 'static {
        let client = self.client.clone();
        async move {
            let answer = tokio::time::timeout(PATIENCE, client.ask(attributes)).await;
            answer.unwrap_or_else(|_| Err(Error::Silent(format!("none in {} s", PATIENCE.as_secs()))))
        }
    }
}

/// Below the time after which the server gives a parked request up: a defined answer comes first.
const PATIENCE: Duration = Duration::from_secs(4);

fn configured(setup: &Setup<'_>, service: Service) -> Result<(Settings, Dictionary), SetupError> {
    let (path, servers) = (setup.text("radius_config"), setup.list("server"));
    if servers.is_empty() && path.is_empty() {
        let cause = "name a RADIUS server: modparam(\"MODULE\", \"server\", \"host=radius.example.com; secret=WORD\"), \
                     or a file of radiusclient-ng with radius_config";
        return Err(bad("server", &cause));
    }
    if !servers.is_empty() {
        let read = |text: &bytes::Bytes| radius::server(&String::from_utf8_lossy(text), service);
        let servers = servers.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|error| bad("server", &error))?;
        return Ok((Settings::new(service, servers), Dictionary::builtin()));
    }
    let read = Configuration::read(Path::new(&path)).map_err(|error| bad("radius_config", &error))?;
    let settings = match service {
        Service::Access => read.access,
        Service::Accounting => read.accounting,
    };
    if settings.servers.is_empty() {
        let word = if service == Service::Access { "authserver" } else { "acctserver" };
        return Err(bad("radius_config", &format!("{path} has no line `{word} HOST:PORT`")));
    }
    Ok((settings, read.dictionary))
}

pub(crate) fn bad(name: &'static str, cause: &dyn std::fmt::Display) -> SetupError {
    SetupError::Setting { name, cause: cause.to_string() }
}

/// Shows what the servers of a module's state were asked and answered.
pub(crate) fn show<T: State>(setup: &Setup<'_>, state: &Arc<T>, all: [fn(&T) -> i64; 8]) {
    for (statistic, read) in statistics("").iter().zip(all) {
        setup.show(statistic.name, state, read);
    }
}

/// What [`show`] reads, in the order of [`statistics`], from a state with a field `servers`.
macro_rules! figures {
    () => {
        [
            |state| state.servers.figures().requests as i64,
            |state| state.servers.figures().answers as i64,
            |state| state.servers.figures().retransmissions as i64,
            |state| state.servers.figures().forged as i64,
            |state| state.servers.figures().late as i64,
            |state| state.servers.figures().malformed as i64,
            |state| state.servers.figures().silences as i64,
            |state| state.servers.figures().unanswered as i64,
        ]
    };
}
pub(crate) use figures;

/// Gives the script what an answer says in SIP-AVP attributes: `name:text`, `name#number`, `#id:text`, `#id#number`.
pub(crate) fn take_attributes(call: &mut Call<'_>, answer: &Packet, dictionary: &Dictionary) {
    let Some((id, _)) = dictionary.attribute("SIP-AVP") else { return };
    for text in answer.attributes.all(id) {
        if let Some((name, value)) = attribute(text) {
            call.context.avps.push(name, value);
        }
    }
}

fn attribute(text: &[u8]) -> Option<(bytes::Bytes, module_api::Value)> {
    // An attribute of a number is called by it.
    let text = text.strip_prefix(b"#").unwrap_or(text);
    let end = text.iter().position(|octet| matches!(octet, b':' | b'#')).filter(|end| *end > 0)?;
    let (name, value) = (bytes::Bytes::copy_from_slice(&text[..end]), &text[end + 1..]);
    let value = match text[end] {
        b':' => module_api::Value::Str(bytes::Bytes::copy_from_slice(value)),
        _ => module_api::Value::Int(std::str::from_utf8(value).ok()?.trim().parse().ok()?),
    };
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use module_api::Value;

    #[test]
    fn an_attribute_of_an_answer_is_text_or_a_number() {
        let text = |text: &'static str| Value::Str(bytes::Bytes::from_static(text.as_bytes()));
        for (given, expected) in [
            ("email:joe@example.com", Some(("email", text("joe@example.com")))),
            ("credit#15", Some(("credit", Value::Int(15)))),
            ("#14:a:b#c", Some(("14", text("a:b#c")))),
            ("#14#7", Some(("14", Value::Int(7)))),
            ("empty:", Some(("empty", text("")))),
            ("credit#many", None),
            ("nothing", None),
            (":x", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, value)| (bytes::Bytes::from_static(name.as_bytes()), value));
            assert_eq!(attribute(given.as_bytes()), expected, "{given}");
        }
    }
}
