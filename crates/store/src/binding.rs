//! Rows of a location table.

/// One contact of one address of record, as a row of `location` holds it.
///
/// Field names are the column names of Kamailio's table, version 9. `ruid` identifies the row.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBinding {
    /// Record's unique id, chosen by the registrar; never two rows with the same.
    pub ruid: String,
    /// User part of the address of record.
    pub username: String,
    /// Domain of the address of record; absent when the registrar ignores domains.
    pub domain: Option<String>,
    /// Contact URI without angle brackets.
    pub contact: String,
    /// Where the REGISTER came from, as a URI, when that differs from the contact (behind NAT).
    pub received: Option<String>,
    /// Path values (RFC 3327), joined by commas.
    pub path: Option<String>,
    /// Wall-clock second since 1970 at which the binding ends; 0 is never.
    pub expires: i64,
    /// Preference, 0.0 to 1.0; Kamailio stores -1.0 for a contact without `q`.
    pub q: f64,
    /// Call-ID of the REGISTER that made it.
    pub callid: String,
    /// CSeq number of the REGISTER that made it.
    pub cseq: u32,
    /// Wall-clock second since 1970 of the last change.
    pub last_modified: i64,
    /// Message flags that the script set.
    pub flags: u32,
    /// Branch flags that the script set.
    pub cflags: u32,
    /// `User-Agent` of the REGISTER.
    pub user_agent: String,
    /// Local socket that received it, `udp:192.0.2.1:5060`.
    pub socket: Option<String>,
    /// Bit mask of the methods in `Allow`; absent when unknown.
    pub methods: Option<i64>,
    /// `+sip.instance` (RFC 5626 section 4.1).
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626 section 4.2); 0 when absent.
    pub reg_id: i64,
    /// Which node of a cluster owns the connection.
    pub server_id: i64,
    /// Stream connection that the REGISTER came over; 0 or -1 when none.
    pub connection_id: i64,
    /// Whether keep-alives are sent to the contact.
    pub keepalive: bool,
    /// Share of the keep-alive work that the row belongs to.
    pub partition: i64,
}

/// One change to a location table. Applying it twice equals applying it once, which is what makes retries safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Writes the row, in place of the row with the same `ruid` if there is one.
    Put(Box<StoredBinding>),
    /// Removes the row; no error when there is none.
    Delete {
        /// Identifies the row.
        ruid: String,
    },
}
