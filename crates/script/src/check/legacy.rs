//! What modules, parameters and functions were called in earlier years.

/// Modules that were renamed, or whose functions moved: the name in the script, and what it needs now.
const MODULES: &[(&str, &[&str])] = &[
    ("tm_mod", &["tm"]),
    ("db_mysql", &["mysql"]),
    ("db_postgres", &["postgres"]),
    ("db_text", &["dbtext"]),
    ("uri", &["uri_db", "siputils"]),
    ("options", &["siputils"]),
    ("cpl-c", &["cplc"]),
    ("flatstore", &["db_flatstore"]),
    ("vm", &["voicemail"]),
    ("group_radius", &["misc_radius"]),
    ("uri_radius", &["misc_radius"]),
    ("radius_acc", &["acc_radius"]),
];

/// Names under which a module that `name` stands for may be found, the best first.
pub(super) fn names_of(name: &str) -> impl Iterator<Item = &str> {
    let newer = MODULES.iter().filter(move |(old, _)| *old == name).map(|(_, new)| new[0]);
    let older = MODULES.iter().filter(move |(_, new)| new[0] == name).map(|(old, _)| *old);
    std::iter::once(name).chain(newer).chain(older)
}

/// Modules that hold a part of what `name` once held.
pub(super) fn companions(name: &str) -> &'static [&'static str] {
    let renamed = MODULES.iter().find(|(old, _)| *old == name).map_or(&[][..], |(_, new)| &new[1..]);
    // The module of 2003 held what is in two since.
    if name == "auth" { &["siputils"] } else { renamed }
}

/// Parameters that moved or were renamed: module and name in the script, and where they are now.
/// An empty name: what it set is no longer there to be set.
const PARAMETERS: &[(&str, &str, &str, &str)] = &[
    ("acc", "acc_flag", "acc", "log_flag"),
    ("acc", "missed_flag", "acc", "log_missed_flag"),
    ("usrloc", "use_database", "usrloc", "db_mode"),
    ("usrloc", "flush_interval", "usrloc", "timer_interval"),
    ("usrloc", "table", "usrloc", ""),
    ("registrar", "use_domain", "usrloc", "use_domain"),
    ("auth", "db_url", "auth_db", "db_url"),
    ("auth", "user_column", "auth_db", "user_column"),
    ("auth", "domain_column", "auth_db", "domain_column"),
    ("auth", "password_column", "auth_db", "password_column"),
    ("auth", "password_column_2", "auth_db", "password_column_2"),
    ("auth", "calculate_ha1", "auth_db", "calculate_ha1"),
    ("auth", "table", "auth_db", ""),
    ("auth", "group_table", "auth_db", ""),
    ("auth", "retry_count", "auth", ""),
    ("auth_db", "plain_password_column", "auth_db", "password_column"),
    ("nathelper", "natping_method", "nathelper", "sipping_method"),
];

/// Parameters that later years took away: module, name, and what became of what they set.
const GONE: &[(&str, &str, &str)] = &[
    ("auth", "challenge_attr", "a challenge goes out as it is made"),
    ("auth", "proxy_challenge_header", "the name of the header is that of RFC 3261"),
    ("auth", "www_challenge_header", "the name of the header is that of RFC 3261"),
    ("dispatcher", "attrs_avp", IN_RECORDS),
    ("dispatcher", "cnt_avp", IN_RECORDS),
    ("dispatcher", "dst_avp", IN_RECORDS),
    ("dispatcher", "dstid_avp", IN_RECORDS),
    ("dispatcher", "grp_avp", IN_RECORDS),
    ("dispatcher", "sock_avp", IN_RECORDS),
    ("domain", "load_domain_attrs", "`lookup_domain()` loads the attributes of a domain"),
    ("nathelper", "natping_crlf", "the method of pings decides"),
    ("registrar", "load_nat_flag", "`nat_flag` names the flag for both ways"),
    ("registrar", "save_nat_flag", "`nat_flag` names the flag for both ways"),
    ("rr", "cookie_filter", "no attributes are kept in Record-Route"),
    ("rr", "cookie_secret", "no attributes are kept in Record-Route"),
];

const IN_RECORDS: &str = "the gateways are kept in the `$xavp` that `xavp_dst` names";

/// What became of what a parameter set that is no longer there.
pub(super) fn gone(module: &str, name: &str) -> Option<&'static str> {
    GONE.iter().find(|(old, parameter, _)| *old == module && *parameter == name).map(|(.., fate)| *fate)
}

/// Where a parameter of old is now.
pub(super) fn parameter(module: &str, name: &str) -> Option<(&'static str, &'static str)> {
    let found = PARAMETERS.iter().find(|(old, parameter, ..)| *old == module && *parameter == name)?;
    Some((found.2, found.3))
}

/// Functions that go by another name now.
const FUNCTIONS: &[(&str, &str)] = &[
    ("addRecordRoute", "record_route"),
    ("rewriteFromRoute", "loose_route"),
    ("lookup_contact", "lookup"),
    ("lookup_contacts", "lookup"),
    ("lookup_user", "lookup"),
    ("save_contact", "save"),
    ("save_contacts", "save"),
    ("t_on_negative", "t_on_failure"),
    ("t_add_transaction", "t_newtran"),
    ("t_forward", "t_forward_nonack"),
    ("t_forward_uri", "t_forward_nonack_uri"),
    ("t_fork_to_uri", "append_branch"),
    ("t_relay_udp", "t_relay_to_udp"),
    ("t_setflag", "setflag"),
    ("sl_reply", "sl_send_reply"),
    ("authorize", "www_authorize"),
    ("challenge", "www_challenge"),
    ("subscribe", "handle_subscription"),
    ("radius_authorize", "radius_www_authorize"),
    ("tcp_alias", "force_tcp_alias"),
];

/// What a function is called now.
pub(super) fn function(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

/// Functions that Kamailio advises against, and what it advises.
const ADVICE: &[(&str, &str)] = &[
    ("avp_printf", "assign: `$avp(x) = ...`"),
    ("pv_printf", "assign: `$var(x) = ...`"),
    ("force_rtp_proxy", "call `rtpproxy_manage()`"),
    ("unforce_rtp_proxy", "call `rtpproxy_destroy()`"),
    ("save_noreply", "call `save(\"location\", \"0x02\")`"),
    ("sl_filter_ACK", "remove it: such an ACK never reaches the script"),
    ("t_unref", "remove it: nothing has to be given back"),
    ("len_gt", "compare: `msg:len > 4096`"),
    ("print", "call `xlog()`"),
];

/// What to do instead of calling a function.
pub(super) fn advice(name: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(known, _)| *known == name).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_was_taken_away_is_known() {
        assert!(gone("dispatcher", "dst_avp").is_some());
        assert_eq!(gone("dispatcher", "list_file"), None);
        assert_eq!(parameter("auth_db", "plain_password_column"), Some(("auth_db", "password_column")));
    }

    #[test]
    fn a_module_is_found_under_its_names_of_all_ages() {
        assert_eq!(names_of("uri").collect::<Vec<_>>(), ["uri", "uri_db"]);
        assert_eq!(names_of("mysql").collect::<Vec<_>>(), ["mysql", "db_mysql"]);
        assert_eq!(names_of("tm").collect::<Vec<_>>(), ["tm", "tm_mod"]);
        assert_eq!(companions("uri"), ["siputils"]);
    }
}
