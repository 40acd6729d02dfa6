//! One binding, packed for the table and unpacked for use.

use bytes::Bytes;
use sip_proto::registrar;
use store::StoredBinding;

/// A binding with all that the server knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// What RFC 3261 section 10.3 works on.
    pub binding: registrar::Binding,
    /// Where the REGISTER came from, as a URI, for contacts behind NAT; empty for others.
    pub received: Bytes,
    /// The User-Agent of the REGISTER.
    pub user_agent: Bytes,
    /// Identifies the binding, also in the database.
    pub ruid: Bytes,
    /// Wall-clock second of the last change.
    pub modified: u64,
    /// Message flags that the script had set and that the registrar keeps.
    pub flags: u32,
    /// Branch flags that the script had set.
    pub branch_flags: u32,
    /// Methods of the Allow header as bits, see [`method_bit`]; all when it had none.
    pub methods: u32,
    /// The socket at which the REGISTER arrived; none after a restart.
    pub socket: Option<u16>,
    /// The connection over which it came; none after a restart, and over UDP.
    pub connection: Option<u64>,
}

impl AsRef<registrar::Binding> for Contact {
    fn as_ref(&self) -> &registrar::Binding {
        &self.binding
    }
}

/// The bit of a method in [`Contact::methods`]; methods unknown here share none and are always let through.
pub fn method_bit(method: sip_message::Method) -> u32 {
    match method {
        sip_message::Method::Other => 0,
        known => 1 << known as u32,
    }
}

/// A binding as the table holds it: one block of text and the numbers.
///
/// A million of these is the size that counts, so each text costs two bytes beside its own and no
/// allocation, and times are 32-bit seconds (good until 2106).
#[derive(Debug, Clone)]
pub(super) struct Packed {
    texts: Box<[u8]>,
    ends: [u16; TEXTS],
    q: u16,
    socket: u16,
    reg_id: u32,
    cseq: u32,
    expires: u32,
    modified: u32,
    flags: u32,
    branch_flags: u32,
    methods: u32,
    connection: u64,
}

const TEXTS: usize = 8;
/// Longest name of a client that is kept.
const USER_AGENT: usize = 128;
const NO_SOCKET: u16 = u16::MAX;
const NO_Q: u16 = u16::MAX;
/// A time that never comes.
const NEVER: u32 = u32::MAX;

impl Packed {
    /// What it takes of memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Packed>() + self.texts.len()
    }

    /// None when the texts are longer than a binding may be.
    pub(super) fn new(contact: &Contact) -> Option<Packed> {
        let parts = contact.texts();
        let mut ends = [0; TEXTS];
        let mut length = 0usize;
        for (end, part) in ends.iter_mut().zip(parts) {
            length += part.len();
            *end = u16::try_from(length).ok()?;
        }
        let texts = parts.concat().into_boxed_slice();
        Some(Packed::with_texts(texts, ends, contact))
    }

    /// Takes `contact` in place of what it holds; false when the texts differ, and then nothing has changed.
    ///
    /// A refreshed registration differs in numbers alone, and most REGISTERs refresh.
    pub(super) fn refresh(&mut self, contact: &Contact) -> bool {
        let mut rest = &*self.texts;
        for part in contact.texts() {
            let Some(after) = rest.strip_prefix(part) else { return false };
            rest = after;
        }
        let is_same = |(end, length): (&u16, usize)| usize::from(*end) == length;
        let lengths = contact.texts().map(<[u8]>::len).into_iter().scan(0, |sum, length| {
            *sum += length;
            Some(*sum)
        });
        if !rest.is_empty() || !self.ends.iter().zip(lengths).all(is_same) {
            return false;
        }
        let texts = std::mem::take(&mut self.texts);
        *self = Packed::with_texts(texts, self.ends, contact);
        true
    }

    fn with_texts(texts: Box<[u8]>, ends: [u16; TEXTS], contact: &Contact) -> Packed {
        let binding = &contact.binding;
        Packed {
            texts,
            ends,
            q: binding.q.unwrap_or(NO_Q),
            socket: contact.socket.unwrap_or(NO_SOCKET),
            reg_id: binding.reg_id,
            cseq: binding.cseq,
            expires: u32::try_from(binding.expires).unwrap_or(NEVER),
            modified: u32::try_from(contact.modified).unwrap_or(NEVER),
            flags: contact.flags,
            branch_flags: contact.branch_flags,
            methods: contact.methods,
            connection: contact.connection.unwrap_or(0),
        }
    }

    pub(super) fn unpack(&self) -> Contact {
        let texts = Bytes::copy_from_slice(&self.texts);
        let text = |n: usize| texts.slice(self.start(n)..usize::from(self.ends[n]));
        Contact {
            binding: registrar::Binding {
                uri: text(0),
                expires: self.expires.into(),
                q: Some(self.q).filter(|q| *q != NO_Q),
                call_id: text(3),
                cseq: self.cseq,
                path: text(2),
                instance: text(4),
                reg_id: self.reg_id,
                params: text(5),
            },
            received: text(1),
            user_agent: text(6),
            ruid: text(7),
            modified: self.modified.into(),
            flags: self.flags,
            branch_flags: self.branch_flags,
            methods: self.methods,
            socket: Some(self.socket).filter(|socket| *socket != NO_SOCKET),
            connection: Some(self.connection).filter(|connection| *connection != 0),
        }
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        u64::from(self.expires) <= now
    }

    fn start(&self, n: usize) -> usize {
        n.checked_sub(1).map_or(0, |before| usize::from(self.ends[before]))
    }
}

impl Contact {
    /// Whether its texts are short enough for a table.
    pub(crate) fn fits(&self) -> bool {
        let length: usize = self.texts().iter().map(|text| text.len()).sum();
        length <= usize::from(u16::MAX)
    }

    fn texts(&self) -> [&[u8]; TEXTS] {
        let binding = &self.binding;
        [
            &binding.uri,
            &self.received,
            &binding.path,
            &binding.call_id,
            &binding.instance,
            &binding.params,
            &self.user_agent[..self.user_agent.len().min(USER_AGENT)],
            &self.ruid,
        ]
    }

    /// As a row for the database.
    pub(crate) fn to_row(&self, username: &Bytes, domain: Option<&Bytes>, socket: Option<String>) -> StoredBinding {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let filled = |bytes: &Bytes| (!bytes.is_empty()).then(|| text(bytes));
        StoredBinding {
            ruid: text(&self.ruid),
            username: text(username),
            domain: domain.map(text),
            contact: text(&self.binding.uri),
            received: filled(&self.received),
            path: filled(&self.binding.path),
            expires: i64::try_from(self.binding.expires).unwrap_or(0),
            // Kamailio's mark for a contact without preference.
            q: self.binding.q.map_or(-1.0, |q| f64::from(q) / 1000.0),
            callid: text(&self.binding.call_id),
            cseq: self.binding.cseq,
            last_modified: i64::try_from(self.modified).unwrap_or(0),
            flags: self.flags,
            cflags: self.branch_flags,
            user_agent: text(&self.user_agent),
            socket,
            methods: (self.methods != u32::MAX).then_some(self.methods.into()),
            instance: filled(&self.binding.instance),
            reg_id: self.binding.reg_id.into(),
            server_id: 0,
            connection_id: 0,
            keepalive: false,
            partition: 0,
        }
    }

    /// From a row of the database. Sockets and connections of an earlier life mean nothing now.
    pub(super) fn of_row(row: &StoredBinding) -> Contact {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let optional = |text: &Option<String>| bytes(text.as_deref().unwrap_or_default());
        let instance = optional(&row.instance);
        let mut params = Vec::new();
        if !instance.is_empty() {
            params.extend_from_slice(&[b";+sip.instance=", &instance[..]].concat());
        }
        if row.reg_id > 0 {
            params.extend_from_slice(format!(";reg-id={}", row.reg_id).as_bytes());
        }
        Contact {
            binding: registrar::Binding {
                uri: bytes(&row.contact),
                // 0 is "never" in the database.
                expires: u64::try_from(row.expires).ok().filter(|expires| *expires > 0).unwrap_or(NEVER.into()),
                q: (0.0..=1.0).contains(&row.q).then(|| (row.q * 1000.0).round() as u16),
                call_id: bytes(&row.callid),
                cseq: row.cseq,
                path: optional(&row.path),
                instance,
                reg_id: u32::try_from(row.reg_id).unwrap_or(0),
                params: params.into(),
            },
            received: optional(&row.received),
            user_agent: bytes(&row.user_agent),
            ruid: bytes(&row.ruid),
            modified: u64::try_from(row.last_modified).unwrap_or(0),
            flags: row.flags,
            branch_flags: row.cflags,
            methods: row.methods.and_then(|methods| u32::try_from(methods).ok()).unwrap_or(u32::MAX),
            socket: None,
            connection: None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn contact(uri: &str, ruid: &str, expires: u64) -> Contact {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Contact {
            binding: registrar::Binding {
                uri: bytes(uri),
                expires,
                q: Some(500),
                call_id: bytes("call@198.51.100.7"),
                cseq: 7,
                path: bytes("<sip:edge.example.com;lr>"),
                instance: bytes("\"<urn:uuid:1>\""),
                reg_id: 1,
                params: bytes(";+sip.instance=\"<urn:uuid:1>\";reg-id=1"),
            },
            received: bytes("sip:198.51.100.7:5070"),
            user_agent: bytes("phone/1.0"),
            ruid: bytes(ruid),
            modified: 100,
            flags: 32,
            branch_flags: 64,
            methods: 0b1011,
            socket: Some(2),
            connection: Some(99),
        }
    }

    #[test]
    fn nothing_is_lost_by_packing() {
        let contact = contact("sip:a@h", "r1", 1000);
        assert_eq!(Packed::new(&contact).unwrap().unpack(), contact);
    }

    #[test]
    fn a_refreshed_binding_keeps_its_texts_and_takes_the_numbers() {
        let contact = contact("sip:a@h", "r1", 1000);
        let mut packed = Packed::new(&contact).unwrap();
        let mut later = contact.clone();
        (later.binding.expires, later.binding.cseq, later.modified, later.flags) = (2000, 8, 200, 0);
        assert!(packed.refresh(&later));
        assert_eq!(packed.unpack(), later);
    }

    #[test]
    fn a_binding_with_other_texts_is_no_refreshed_one() {
        let contact = contact("sip:a@h", "r1", 1000);
        let mut packed = Packed::new(&contact).unwrap();
        let mut other = contact.clone();
        other.binding.call_id = "other".into();
        assert!(!packed.refresh(&other));
        // The same letters at other places.
        let mut moved = contact.clone();
        moved.binding.uri = "sip:a@hsip:".into();
        moved.received = "198.51.100.7:5070".into();
        assert!(!packed.refresh(&moved));
        assert_eq!(packed.unpack(), contact);
    }

    #[test]
    fn texts_longer_than_a_binding_may_be_are_refused() {
        let mut contact = contact("sip:a@h", "r1", 1000);
        contact.binding.path = vec![b'x'; 70_000].into();
        assert!(Packed::new(&contact).is_none());
    }

    #[test]
    fn a_row_of_the_database_gives_the_binding_back() {
        let contact = contact("sip:a@h", "r1", 1000);
        let again = Contact::of_row(&contact.to_row(&"a".into(), None, None));
        assert_eq!(again, Contact { socket: None, connection: None, ..contact });
    }

    #[test]
    fn a_row_without_end_never_ends() {
        let mut row = contact("sip:a@h", "r1", 1000).to_row(&"a".into(), None, None);
        row.expires = 0;
        assert!(!Packed::new(&Contact::of_row(&row)).unwrap().is_over(4_000_000_000));
    }
}
