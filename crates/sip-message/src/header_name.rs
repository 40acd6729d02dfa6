//! Names of headers: known ones as a value, compact forms folded into the long one.

/// Declares the enum, its wire names and its compact forms in one table.
macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?,)*) => {
        /// Name of a header. One that has no variant is [`HeaderName::Other`]; its text stays
        /// in the message.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is the header of that name")]
        pub enum HeaderName {
            $($variant,)*
            Other,
        }

        impl HeaderName {
            /// Its long name as the RFCs write it; empty for [`HeaderName::Other`].
            pub fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other => "",
                }
            }
        }

        /// Each name and compact form with what it means.
        const SPELLINGS: &[(&str, HeaderName)] = &[
            $(($name, HeaderName::$variant), $(($compact, HeaderName::$variant),)?)*
        ];
    };
}

// RFC 3261 section 20 first, then extensions by RFC number. One-letter names are the compact
// forms of the IANA registry.
header_names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards",
    Route "Route",
    RecordRoute "Record-Route",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    ContentEncoding "Content-Encoding" "e",
    ContentDisposition "Content-Disposition",
    ContentLanguage "Content-Language",
    Expires "Expires",
    MinExpires "Min-Expires",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Supported "Supported" "k",
    Unsupported "Unsupported",
    Allow "Allow",
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    CallInfo "Call-Info",
    Date "Date",
    ErrorInfo "Error-Info",
    InReplyTo "In-Reply-To",
    MimeVersion "MIME-Version",
    Organization "Organization",
    Priority "Priority",
    ReplyTo "Reply-To",
    RetryAfter "Retry-After",
    Server "Server",
    Subject "Subject" "s",
    Timestamp "Timestamp",
    UserAgent "User-Agent",
    Warning "Warning",
    RSeq "RSeq",
    RAck "RAck",
    Event "Event" "o",
    AllowEvents "Allow-Events" "u",
    SubscriptionState "Subscription-State",
    Privacy "Privacy",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    Reason "Reason",
    Path "Path",
    SecurityClient "Security-Client",
    SecurityServer "Security-Server",
    SecurityVerify "Security-Verify",
    PAssociatedUri "P-Associated-URI",
    PCalledPartyId "P-Called-Party-ID",
    PVisitedNetworkId "P-Visited-Network-ID",
    PAccessNetworkInfo "P-Access-Network-Info",
    PChargingVector "P-Charging-Vector",
    PChargingFunctionAddresses "P-Charging-Function-Addresses",
    ReferTo "Refer-To" "r",
    ServiceRoute "Service-Route",
    RequestDisposition "Request-Disposition" "d",
    AcceptContact "Accept-Contact" "a",
    RejectContact "Reject-Contact" "j",
    Replaces "Replaces",
    ReferredBy "Referred-By" "b",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Join "Join",
    SessionExpires "Session-Expires" "x",
    MinSe "Min-SE",
    HistoryInfo "History-Info",
    Diversion "Diversion",
    TargetDialog "Target-Dialog",
    ReferSub "Refer-Sub",
    Identity "Identity" "y",
    IdentityInfo "Identity-Info" "n",
    FlowTimer "Flow-Timer",
    MaxBreadth "Max-Breadth",
    RecvInfo "Recv-Info",
    InfoPackage "Info-Package",
    RemotePartyId "Remote-Party-ID",
    SessionId "Session-ID",
    Geolocation "Geolocation",
}

impl HeaderName {
    /// The name that `token` spells, long or compact, in any case (RFC 3261 section 7.3).
    #[inline]
    pub fn from_token(token: &[u8]) -> HeaderName {
        let Some(mut slot) = slot_of(token) else {
            return HeaderName::Other;
        };
        // The table is at most a quarter full, so a probe ends soon.
        loop {
            let entry = TABLE[slot];
            if entry == EMPTY {
                return HeaderName::Other;
            }
            let (text, name) = SPELLINGS[entry as usize];
            if is_same_name(text.as_bytes(), token) {
                return name;
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

/// Whether a text is the name, in any case. Names are letters and hyphens: the bit of the case is left
/// out for each byte, which only a CR in the place of a hyphen could profit from. Without an early exit
/// the compiler compares many bytes at once.
#[inline]
fn is_same_name(name: &[u8], token: &[u8]) -> bool {
    const CASE: u8 = 0x20;
    let differ = |(a, b): (&u8, &u8)| (a ^ b) & !CASE | u8::from(*b == b'\r');
    name.len() == token.len() && name.iter().zip(token).fold(0, |different, pair| different | differ(pair)) == 0
}

/// Slots of the hash table; a power of two.
const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Open addressing, filled at compile time: no hash of attacker's choosing can make it longer.
const TABLE: [u8; SLOTS] = fill();

const fn fill() -> [u8; SLOTS] {
    assert!(SPELLINGS.len() * 4 <= SLOTS, "the table of header names is too full");
    let mut table = [EMPTY; SLOTS];
    let mut entry = 0;
    while entry < SPELLINGS.len() {
        let Some(mut slot) = slot_of(SPELLINGS[entry].0.as_bytes()) else { panic!("empty name") };
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = entry as u8;
        entry += 1;
    }
    table
}

/// Length, first, middle and last letter tell nearly all names apart.
const fn slot_of(token: &[u8]) -> Option<usize> {
    let length = token.len();
    if length == 0 {
        return None;
    }
    let first = (token[0] | 0x20) as usize;
    let middle = (token[length / 2] | 0x20) as usize;
    let last = (token[length - 1] | 0x20) as usize;
    Some((length.wrapping_mul(37) ^ first.wrapping_mul(5) ^ middle.wrapping_mul(17) ^ last.wrapping_mul(71)) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_reads_back_in_any_case() {
        for (text, name) in SPELLINGS {
            assert_eq!(HeaderName::from_token(text.as_bytes()), *name, "{text}");
            assert_eq!(HeaderName::from_token(text.to_uppercase().as_bytes()), *name, "{text}");
        }
    }

    #[test]
    fn compact_forms_mean_the_long_name() {
        assert_eq!(HeaderName::from_token(b"v"), HeaderName::Via);
        assert_eq!(HeaderName::from_token(b"L"), HeaderName::ContentLength);
        assert_eq!(HeaderName::from_token(b"m"), HeaderName::Contact);
    }

    #[test]
    fn an_unknown_name_is_other() {
        for text in ["", "z", "Vi", "Viaa", "X-Via", "Content_Length", "Content\rLength", "NewFangledHeader"] {
            assert_eq!(HeaderName::from_token(text.as_bytes()), HeaderName::Other, "{text}");
        }
    }
}
