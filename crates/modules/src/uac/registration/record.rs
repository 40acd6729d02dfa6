//! One registration with another server, and how it stands.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use module_api::{OwnAnswer, OwnRequest, SocketId, bracketed};
use sip_message::{ContactValue, Message, NameAddr};

use super::super::auth::{Account, Request, answer};
use crate::rows::Row;

/// Columns of table uacreg, in the order of [`Plan::from_row`].
pub(super) const COLUMNS: [&str; 15] = [
    "l_uuid",
    "l_username",
    "l_domain",
    "r_username",
    "r_domain",
    "realm",
    "auth_username",
    "auth_password",
    "auth_ha1",
    "auth_proxy",
    "expires",
    "flags",
    "reg_delay",
    "contact_addr",
    "socket",
];

/// What the table says of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its name, and the user of the Contact.
    pub(super) uuid: String,
    pub(super) local_user: String,
    pub(super) local_domain: String,
    pub(super) remote_user: String,
    pub(super) remote_domain: String,
    pub(super) realm: String,
    pub(super) auth_user: String,
    pub(super) password: String,
    pub(super) ha1: String,
    /// The next hop; empty: the remote domain.
    pub(super) proxy: String,
    pub(super) expires: u32,
    pub(super) is_disabled: bool,
    pub(super) delay: u32,
    /// Host and port of the Contact; empty: those of the setting.
    pub(super) contact: String,
    pub(super) socket: String,
}

/// Flag of the table and of commands: not to be registered.
pub(super) const DISABLED: i64 = 1;
const ONGOING: i64 = 2;
const ONLINE: i64 = 4;

impl Plan {
    pub(super) fn from_row(row: &Row) -> Result<Plan, String> {
        let cell = |n: usize| row[n].as_deref().unwrap_or_default().trim().to_owned();
        let number = |n: usize| match cell(n) {
            text if text.is_empty() => Ok(0),
            text => text.parse::<u32>().map_err(|_| format!("{} `{text}` is not a number", COLUMNS[n])),
        };
        let plan = Plan {
            uuid: cell(0),
            local_user: cell(1),
            local_domain: cell(2),
            remote_user: cell(3),
            remote_domain: cell(4),
            realm: cell(5),
            auth_user: cell(6),
            password: cell(7),
            ha1: cell(8),
            proxy: cell(9),
            expires: number(10)?,
            is_disabled: i64::from(number(11)?) & DISABLED != 0,
            delay: number(12)?,
            contact: cell(13),
            socket: cell(14),
        };
        plan.check().map(|()| plan)
    }

    /// Whether a REGISTER can be made of it.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in
            [("l_uuid", &self.uuid), ("r_username", &self.remote_user), ("r_domain", &self.remote_domain)]
        {
            if value.is_empty() {
                return Err(format!("{name} is missing"));
            }
        }
        let texts = [&self.uuid, &self.remote_user, &self.remote_domain, &self.proxy, &self.contact];
        // They go into a request as they are.
        if let Some(text) =
            texts.into_iter().find(|text| text.contains(|c: char| c.is_control() || " <>\"".contains(c)))
        {
            return Err(format!("`{text}` cannot stand in a URI"));
        }
        if !self.proxy.is_empty() && sip_message::Uri::parse(self.proxy.as_bytes()).is_err() {
            return Err(format!("auth_proxy `{}` is not a URI such as sip:192.0.2.7", self.proxy));
        }
        Ok(())
    }

    /// The address that is registered.
    pub(super) fn remote_uri(&self) -> String {
        format!("sip:{}@{}", self.remote_user, self.remote_domain)
    }

    /// The user here who is reached by it.
    pub(super) fn local_uri(&self) -> String {
        format!("sip:{}@{}", self.local_user, self.local_domain)
    }

    /// The value of the column of that name, for commands that look for records.
    pub(super) fn column(&self, name: &str) -> Option<&str> {
        Some(match name {
            "l_uuid" => &self.uuid,
            "l_username" => &self.local_user,
            "r_username" => &self.remote_user,
            "auth_username" => &self.auth_user,
            _ => return None,
        })
    }

    /// Who the server is to a challenge for `realm`.
    fn account(&self, realm: &[u8]) -> Option<Account> {
        // The realm is checked where it is given: a password is for one peer.
        if !self.realm.is_empty() && self.realm.as_bytes() != realm {
            return None;
        }
        let is_ha1 = !self.ha1.is_empty();
        let secret = if is_ha1 { &self.ha1 } else { &self.password };
        let user = if self.auth_user.is_empty() { &self.remote_user } else { &self.auth_user };
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Some(Account { user: text(user), realm: Bytes::new(), password: text(secret), is_ha1 })
    }
}

/// A registration.
pub(super) struct Record {
    pub(super) plan: Plan,
    standing: Mutex<Standing>,
}

/// How a registration stands. Times are of the wall clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_disabled: bool,
    pub(super) is_ongoing: bool,
    /// Until when the peer knows us; zero: it does not.
    pub(super) until: Duration,
    /// When to register next.
    pub(super) due: Duration,
    /// How often in a row it has failed.
    pub(super) failures: u32,
    /// What the peer said last; 0: nothing.
    pub(super) code: u16,
    /// What the peer wants at least (RFC 3261 section 10.3 step 7).
    pub(super) at_least: u32,
    pub(super) cseq: u32,
}

impl Standing {
    pub(super) fn is_online(&self, now: Duration) -> bool {
        self.until > now
    }

    /// As Kamailio's commands have it.
    pub(super) fn flags(&self, now: Duration) -> i64 {
        let flag = |is_so: bool, flag: i64| if is_so { flag } else { 0 };
        flag(self.is_disabled, DISABLED) | flag(self.is_ongoing, ONGOING) | flag(self.is_online(now), ONLINE)
    }
}

/// How often a registration is refreshed and tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long before its end a registration is refreshed.
    pub(super) ahead: Duration,
    /// How long after a failure it is tried again, at first.
    pub(super) retry: Duration,
}

/// Longest between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

impl Record {
    pub(super) fn new(plan: Plan, now: Duration) -> Record {
        let standing = Standing {
            is_disabled: plan.is_disabled,
            due: now + Duration::from_secs(plan.delay.into()),
            ..Standing::default()
        };
        Record { plan, standing: Mutex::new(standing) }
    }

    /// The same registration by a new plan: what is known of it is kept.
    pub(super) fn with_standing(plan: Plan, standing: Standing) -> Record {
        let is_disabled = plan.is_disabled;
        Record { plan, standing: Mutex::new(Standing { is_disabled, is_ongoing: false, ..standing }) }
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The REGISTER (RFC 3261 section 10.2); `expires` 0 takes the registration back.
    pub(super) fn request(&self, contact: &str, expires: u32, socket: Option<SocketId>, serial: u64) -> OwnRequest {
        let plan = &self.plan;
        let contact = if plan.contact.is_empty() { contact } else { &plan.contact };
        let cseq = {
            let mut standing = self.standing();
            standing.cseq += 1;
            standing.cseq
        };
        let aor = bracketed(plan.remote_uri().as_bytes());
        let headers = format!("Contact: <sip:{}@{contact}>\r\nExpires: {expires}\r\n", plan.uuid);
        OwnRequest {
            method: Bytes::from_static(b"REGISTER"),
            uri: format!("sip:{}", plan.remote_domain).into(),
            destination: (!plan.proxy.is_empty()).then(|| plan.proxy.clone().into()),
            from: aor.clone(),
            to: aor,
            // One Call-ID for all of them (10.2.4), and one for each life of this server.
            call_id: Some(format!("{serial:016x}-{}", plan.uuid.replace('@', "-")).into()),
            cseq: Some(cseq),
            headers: headers.into(),
            socket,
            ..OwnRequest::default()
        }
    }

    /// The request once more with credentials; none when the challenge cannot be answered.
    pub(super) fn with_credentials(&self, sent: &OwnRequest, answered: &OwnAnswer, random: u64) -> Option<OwnRequest> {
        let reply = answered.reply.as_ref()?;
        let about = Request { method: &sent.method, uri: &sent.uri, random };
        let answer = answer(reply, &about, |realm| self.plan.account(realm))?;
        let line = [answer.header.as_str().as_bytes(), b": ", &answer.value, b"\r\n"].concat();
        let mut standing = self.standing();
        standing.cseq += 1;
        Some(OwnRequest {
            cseq: Some(standing.cseq),
            headers: [&sent.headers[..], &line].concat().into(),
            ..sent.clone()
        })
    }

    /// Takes down what came of a REGISTER for `wanted` seconds. True when it is worth another try at once.
    pub(super) fn note(&self, answered: &OwnAnswer, wanted: u32, pace: Pace, now: Duration) -> bool {
        let mut standing = self.standing();
        standing.is_ongoing = false;
        standing.code = answered.status;
        let reply = answered.reply.as_deref();
        if (200..300).contains(&answered.status) {
            standing.failures = 0;
            if wanted == 0 {
                standing.until = Duration::ZERO;
                standing.due = Duration::MAX;
                return false;
            }
            let granted = reply.and_then(|reply| granted(reply, &self.plan.uuid)).unwrap_or(wanted);
            let granted = Duration::from_secs(granted.into());
            standing.until = now + granted;
            // In time before its end, and not all the time where that is near.
            standing.due = now + granted.saturating_sub(pace.ahead).max(granted / 2).max(Duration::from_secs(1));
            return false;
        }
        if answered.status == 423
            && let Some(least) = reply.and_then(Message::min_expires)
            && least > wanted
        {
            standing.at_least = least;
            return true;
        }
        standing.failures = standing.failures.saturating_add(1);
        let retry = pace.retry.saturating_mul(1 << (standing.failures - 1).min(10)).min(LONGEST_RETRY);
        standing.due = now + retry.max(Duration::from_secs(1));
        false
    }
}

/// How long the peer grants our Contact, among those of the user (10.2.1.1).
fn granted(reply: &Message, uuid: &str) -> Option<u32> {
    let mut addresses = reply.contacts().flatten().filter_map(ContactValue::address);
    let is_ours = |contact: &NameAddr<'_>| contact.parsed_uri().is_ok_and(|uri| uri.user == Some(uuid.as_bytes()));
    addresses.find(is_ours).and_then(|contact| contact.expires()).or_else(|| reply.expires())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::sync::Arc;

    pub(in super::super) fn plan(uuid: &str) -> Plan {
        let cells = [uuid, "bob", "here.example", "4930", "peer.example", "", "4930", "secret", "", "", "600"];
        let row: Row =
            (0..15).map(|n| cells.get(n).map(|cell| (*cell).to_owned()).filter(|cell| !cell.is_empty())).collect();
        Plan::from_row(&row).expect("a good row")
    }

    const PACE: Pace = Pace { ahead: Duration::from_secs(90), retry: Duration::from_secs(30) };
    const NOW: Duration = Duration::from_secs(1_000_000);

    fn answered(status: &str, headers: &str) -> OwnAnswer {
        let bench = Bench::reply(&format!("{status}\r\n{headers}"));
        let code = status[..3].parse().expect("a status");
        OwnAnswer { reply: Some(Arc::clone(&bench.context.message)), ..OwnAnswer::unsent(code) }
    }

    #[test]
    fn a_registration_is_refreshed_before_the_peer_forgets_it() {
        let record = Record::new(plan("u1"), NOW);
        let reply = answered("200 OK", "Contact: <sip:x@y>;expires=10, <sip:u1@us>;q=1;expires=300");
        assert!(!record.note(&reply, 600, PACE, NOW));
        let standing = record.standing().clone();
        assert_eq!((standing.until - NOW, standing.due - NOW), (Duration::from_secs(300), Duration::from_secs(210)));
        assert_eq!(standing.flags(NOW), ONLINE);
        assert!(!record.note(&answered("200 OK", "Expires: 60"), 600, PACE, NOW));
        assert_eq!(record.standing().due - NOW, Duration::from_secs(30));
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let record = Record::new(plan("u1"), NOW);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            record.note(&OwnAnswer::unsent(408), 600, PACE, NOW);
            pauses.push((record.standing().due - NOW).as_secs());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        record.note(&answered("200 OK", "Expires: 600"), 600, PACE, NOW);
        assert_eq!(record.standing().failures, 0);
    }

    // 10.3 step 7.
    #[test]
    fn an_interval_too_brief_is_made_longer() {
        let record = Record::new(plan("u1"), NOW);
        assert!(record.note(&answered("423 Interval Too Brief", "Min-Expires: 3600"), 600, PACE, NOW));
        assert_eq!(record.standing().at_least, 3600);
        assert!(
            !record.note(&answered("423 Interval Too Brief", "Min-Expires: 60"), 3600, PACE, NOW),
            "no endless loop"
        );
    }

    #[test]
    fn requests_share_a_call_id_and_count() {
        let record = Record::new(plan("u1"), NOW);
        let (one, two) = (record.request("us:5060", 600, None, 7), record.request("us:5060", 600, None, 7));
        assert_eq!((one.cseq, two.cseq, one.call_id == two.call_id), (Some(1), Some(2), true));
        assert_eq!(one.headers, "Contact: <sip:u1@us:5060>\r\nExpires: 600\r\n");
        assert_eq!((&one.uri[..], &one.from[..]), (&b"sip:peer.example"[..], &b"<sip:4930@peer.example>"[..]));
        let challenge =
            answered("401 Unauthorized", "WWW-Authenticate: Digest realm=\"peer\", nonce=\"n\", qop=\"auth\"");
        let again = record.with_credentials(&two, &challenge, 1).expect("an answer");
        assert!(again.cseq == Some(3) && String::from_utf8_lossy(&again.headers).contains("username=\"4930\""));
    }

    #[test]
    fn a_row_that_would_break_a_request_is_refused() {
        for (n, text) in [(0, ""), (3, "a b"), (4, "x>\r\nEvil: 1"), (9, "192.0.2.7"), (10, "soon")] {
            let mut row: Row = vec![Some("1".to_owned()); 15];
            row[9] = None;
            row[n] = Some(text.to_owned());
            assert!(Plan::from_row(&row).is_err(), "{text}");
        }
    }
}
