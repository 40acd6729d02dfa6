//! The tables of Kamailio's schema (5.6), once for all kinds of databases.

use super::statement::Syntax;
use super::{Database, Kind};
use crate::{Cell, ColumnName, Condition, Error, Select, TableName, Write};

/// A table of the schema.
pub struct SchemaTable {
    /// Its name.
    pub name: &'static str,
    /// Its version in the table `version`.
    pub version: i64,
    /// Its columns behind `id`: `name type` with `?` behind the type where NULL may stand, separated by commas.
    columns: &'static str,
    /// Columns that are unique together.
    unique: &'static str,
    /// Columns that rows are looked up by.
    index: &'static str,
}

/// Every table, in the order of making. Column types: a number is a text of so many characters; `int`, `big`, `real`,
/// `time`, `blob`.
pub static SCHEMA: [SchemaTable; 32] = [
    table("subscriber", 7, "username 64,domain 64,password 64,ha1 128,ha1b 128", "username,domain", "username"),
    table("location", 9, LOCATION, "ruid", "username,domain,contact"),
    table("aliases", 8, LOCATION, "ruid", "username,domain,contact"),
    table("dbaliases", 1, "alias_username 64,alias_domain 64,username 64,domain 64", "", "alias_username,alias_domain"),
    table("domain", 2, "domain 64,did 64?,last_modified time", "domain", ""),
    table("domain_attrs", 1, "did 64,name 32,type int,value 255,last_modified time", "", "did,name"),
    table("grp", 2, "username 64,domain 64,grp 64,last_modified time", "username,domain,grp", ""),
    table("re_grp", 1, "reg_exp 128,group_id int", "", "group_id"),
    table("uri", 1, "username 64,domain 64,uri_user 64,last_modified time", "username,domain,uri_user", ""),
    table(
        "speed_dial",
        2,
        "username 64,domain 64,sd_username 64,sd_domain 64,new_uri 255,fname 64,lname 64,description 64",
        "username,domain,sd_domain,sd_username",
        "",
    ),
    table(
        "usr_preferences",
        2,
        "uuid 64,username 255,domain 64,attribute 32,type int,value 128,last_modified time",
        "",
        "uuid,attribute",
    ),
    table("acc", 5, ACC, "", "callid"),
    table("acc_cdrs", 2, "start_time time,end_time time,duration real=0", "", "start_time"),
    table("missed_calls", 4, ACC, "", "callid"),
    table("address", 6, "grp int=1,ip_addr 50,mask int=32,port int,tag 64?", "", "grp"),
    table("trusted", 6, "src_ip 50,proto 4,from_pattern 64?,ruri_pattern 64?,tag 64?,priority int", "", "src_ip"),
    table("dispatcher", 4, "setid int,destination 192,flags int,priority int,attrs 128,description 64", "", "setid"),
    table("htable", 2, "key_name 64,key_type int,value_type int,key_value 128,expires int", "", "key_name"),
    table(
        "dialplan",
        2,
        "dpid int,pr int,match_op int,match_exp 64,match_len int,subst_exp 64,repl_exp 256,attrs 64",
        "",
        "dpid",
    ),
    table("mtree", 1, "tprefix 32,tvalue 128", "tprefix", ""),
    table("mtrees", 2, "tname 128,tprefix 32,tvalue 128", "tname,tprefix,tvalue", ""),
    table("pl_pipes", 1, "pipeid 64,algorithm 32,plimit int", "", ""),
    table("dialog", 7, DIALOG, "", "hash_entry,hash_id"),
    table("dialog_vars", 1, "hash_entry int,hash_id int,dialog_key 128,dialog_value 512", "", "hash_entry,hash_id"),
    table("uacreg", 5, UACREG, "l_uuid", ""),
    table("pdt", 1, "sdomain 255,prefix 32,domain 255", "sdomain,prefix", ""),
    table(
        "silo",
        8,
        "src_addr 255,dst_addr 255,username 64,domain 64,inc_time int,exp_time int,snd_time int,ctype 32,body blob?,extra_hdrs 1024,callid 128,status int",
        "",
        "username,domain",
    ),
    table("sip_trace", 4, SIP_TRACE, "", "callid"),
    table(
        "lcr_gw",
        3,
        "lcr_id int,gw_name 128?,ip_addr 50?,hostname 64?,port int?,params 64?,uri_scheme int?,transport int?,strip int?,\
         prefix 16?,tag 64?,flags int,defunct int?",
        "",
        "lcr_id",
    ),
    table(
        "lcr_rule_target",
        1,
        "lcr_id int,rule_id int,gw_id int,priority int,weight int=1",
        "rule_id,gw_id",
        "lcr_id",
    ),
    table(
        "lcr_rule",
        3,
        "lcr_id int,prefix 16?,from_uri 64?,request_uri 64?,mt_tvalue 128?,stopper int,enabled int=1",
        "lcr_id,prefix,from_uri",
        "",
    ),
    table("userblocklist", 1, "username 64,domain 64,prefix 64,allowlist int", "", "username,domain,prefix"),
];

const LOCATION: &str = "ruid 64,username 64,domain 64?,contact 512,received 128?,path 512?,expires time,q real,callid 255,cseq int,\
    last_modified time,flags int,cflags int,user_agent 255,socket 64?,methods int?,instance 255?,reg_id int,\
    server_id int,connection_id int,keepalive int,partition int";
const ACC: &str = "method 16,from_tag 128,to_tag 128,callid 255,sip_code 3,sip_reason 128,time time";

const DIALOG: &str = "hash_entry int,hash_id int,callid 255,from_uri 255,from_tag 128,to_uri 255,to_tag 128,\
    caller_cseq 20,callee_cseq 20,caller_route_set 512?,callee_route_set 512?,caller_contact 255,callee_contact 255,\
    caller_sock 64,callee_sock 64,state int,start_time int,timeout int,sflags int,iflags int,toroute_name 32?,\
    req_uri 255,xdata 512?";
const SIP_TRACE: &str = "time_stamp time,time_us int,callid 255,traced_user 255,msg blob,method 50,status 255,fromip 64,\
    toip 64,fromtag 128,totag 128,direction 4";
const UACREG: &str = "l_uuid 64,l_username 64,l_domain 64,r_username 64,r_domain 64,realm 64,auth_username 64,\
    auth_password 64,auth_ha1 128,auth_proxy 255,expires int,flags int,reg_delay int,contact_addr 255,socket 128";

const fn table(
    name: &'static str,
    version: i64,
    columns: &'static str,
    unique: &'static str,
    index: &'static str,
) -> SchemaTable {
    SchemaTable { name, version, columns, unique, index }
}

/// What [`Database::make_schema`] did with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The table.
    pub table: String,
    /// What was done.
    pub how: How,
}

/// See [`Made`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was not there and was made.
    New,
    /// It is there, in our version.
    Kept,
    /// It is there, in another version, and was left alone.
    Other(i64),
    /// It is there without a version, which was written down.
    Versioned,
    /// It was of an older version, and has the columns of ours now.
    Upgraded(i64),
}

impl Database {
    /// Makes every table of the schema that is not there. What is there is left as it is.
    pub async fn make_schema(&self) -> Result<Vec<Made>, Error> {
        self.make_version_table().await?;
        let mut made = Vec::new();
        for table in &SCHEMA {
            made.push(self.make_schema_table(table, table.name).await?);
        }
        Ok(made)
    }

    /// Makes one table of the schema under a name of its own, where it is not there.
    pub async fn make_table_like(&self, pattern: &str, name: &TableName) -> Result<Made, Error> {
        self.make_version_table().await?;
        let table = SCHEMA.iter().find(|table| table.name == pattern);
        let table = table.ok_or_else(|| Error::Misfit { detail: format!("the schema has no table {pattern}") })?;
        self.make_schema_table(table, name.as_str()).await
    }

    async fn make_version_table(&self) -> Result<(), Error> {
        let header = "id(int,auto) table_name(string,key) table_version(int)\n";
        let statement = "CREATE TABLE IF NOT EXISTS version (table_name VARCHAR(32) NOT NULL, \
                         table_version INTEGER DEFAULT 0 NOT NULL, CONSTRAINT version_table_name_idx UNIQUE (table_name))";
        self.make_table(&name("version"), statement, header).await
    }

    async fn make_schema_table(&self, table: &SchemaTable, called: &str) -> Result<Made, Error> {
        let done = |how| Ok(Made { table: called.to_owned(), how });
        let called_name = TableName::new(called)?;
        let is_there = match self.select(&probe(&called_name)).await {
            Ok(_) => true,
            Err(Error::Misfit { .. }) => false,
            Err(error) => return Err(error),
        };
        if is_there {
            return match self.version(&called_name).await? {
                Some(version) if version == table.version => done(How::Kept),
                Some(version) => done(How::Other(version)),
                None => {
                    self.note_version(called, table.version).await?;
                    done(How::Versioned)
                }
            };
        }
        match self.sql() {
            Some(sql) => {
                for statement in table.statements(sql, called) {
                    self.query(&statement).await?;
                }
            }
            None => self.make_table(&called_name, "", &table.header()).await?,
        }
        self.note_version(called, table.version).await?;
        done(How::New)
    }

    pub(super) async fn note_version(&self, table: &str, version: i64) -> Result<(), Error> {
        let filter = vec![Condition::equal(&name("table_name"), table)];
        let row = vec![(name("table_name"), Cell::from(table)), (name("table_version"), Cell::Int(version))];
        let writes = [Write::Delete { table: name("version"), filter }, Write::Insert { table: name("version"), row }];
        self.write(&writes).await.map(drop)
    }

    pub(super) fn sql(&self) -> Option<Syntax> {
        match self.kind() {
            Kind::Sqlite => Some(Syntax::Sqlite),
            Kind::Postgres => Some(Syntax::Postgres),
            Kind::MySql => Some(Syntax::MySql),
            Kind::Text => None,
        }
    }
}

/// Asks for one row, to see whether there is a table.
pub(super) fn probe(table: &TableName) -> Select {
    let first = SCHEMA.iter().find(|entry| entry.name == table.as_str());
    let column = first.and_then(|table| table.columns().next()).map_or("ruid", |column| column.name);
    Select { table: table.clone(), columns: vec![name(column)], filter: Vec::new(), order: Vec::new(), limit: 1 }
}

pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    kind: &'a str,
    may_be_null: bool,
    default: Option<&'a str>,
}

impl SchemaTable {
    /// Names of its columns but `id`.
    pub fn column_names(&self) -> Vec<ColumnName> {
        self.columns().map(|column| name(column.name)).collect()
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        self.columns.split(',').map(|text| {
            let (name, kind) = text.trim().split_once(' ').expect("a column has a name and a type");
            let (kind, default) = kind.split_once('=').map_or((kind, None), |(kind, default)| (kind, Some(default)));
            Column { name, kind: kind.trim_end_matches('?'), may_be_null: kind.ends_with('?'), default }
        })
    }

    fn statements(&self, sql: Syntax, called: &str) -> Vec<String> {
        let id = match sql {
            Syntax::Sqlite => "id INTEGER PRIMARY KEY NOT NULL",
            Syntax::Postgres => "id SERIAL PRIMARY KEY NOT NULL",
            Syntax::MySql => "id INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL",
        };
        let columns: String = self.columns().map(|column| format!(", {}", column.definition(sql))).collect();
        let list = |names: &str| names.split(',').map(|column| sql.name(&name(column))).collect::<Vec<_>>().join(", ");
        let unique = match self.unique {
            "" => String::new(),
            names => format!(", CONSTRAINT {called}_unique_idx UNIQUE ({})", list(names)),
        };
        let called_name = sql.name(&name(called));
        let mut statements = vec![format!("CREATE TABLE {called_name} ({id}{columns}{unique})")];
        // MySQL's keys are short; three columns of the longest are too long for one.
        if !self.index.is_empty() {
            let names =
                if sql == Syntax::MySql { self.index.split(',').next().unwrap_or_default() } else { self.index };
            statements.push(format!("CREATE INDEX {called}_lookup_idx ON {called_name} ({})", list(names)));
        }
        statements
    }

    fn header(&self) -> String {
        let mut header = "id(int,auto)".to_owned();
        for column in self.columns() {
            header.push(' ');
            header.push_str(&column.header());
        }
        header.push('\n');
        header
    }
}

impl<'a> Column<'a> {
    /// A text that may be NULL, of up to `length` characters.
    pub(super) fn text(name: &'a str, length: &'a str) -> Column<'a> {
        Column { name, kind: length, may_be_null: true, default: None }
    }

    /// As the first line of a text file has it.
    pub(super) fn header(&self) -> String {
        let kind = match self.kind {
            "int" | "big" => "int",
            "real" => "double",
            _ => "string",
        };
        format!("{}({kind}{})", self.name, if self.may_be_null { ",null" } else { "" })
    }

    /// As a table is made with it.
    pub(super) fn definition(&self, sql: Syntax) -> String {
        let kind = match (self.kind, sql) {
            ("int", _) => "INTEGER".to_owned(),
            ("big", _) => "BIGINT".to_owned(),
            ("real", Syntax::Postgres) => "DOUBLE PRECISION".to_owned(),
            ("real", Syntax::MySql) => "DOUBLE".to_owned(),
            ("real", Syntax::Sqlite) => "REAL".to_owned(),
            ("time", Syntax::MySql) => "DATETIME".to_owned(),
            ("time", _) => "TIMESTAMP WITHOUT TIME ZONE".to_owned(),
            ("blob", Syntax::Postgres) => "BYTEA".to_owned(),
            ("blob", _) => "BLOB".to_owned(),
            (length, _) => format!("VARCHAR({length})"),
        };
        let default = match (self.default, self.kind, self.may_be_null) {
            (Some(default), ..) => default.to_owned(),
            (None, _, true) => "NULL".to_owned(),
            (None, "int" | "big", _) => "0".to_owned(),
            (None, "real", _) => "1.0".to_owned(),
            (None, "time", _) => "'2000-01-01 00:00:01'".to_owned(),
            (None, ..) => "''".to_owned(),
        };
        let null = if self.may_be_null { "" } else { " NOT NULL" };
        format!("{} {kind} DEFAULT {default}{null}", sql.name(&name(self.name)))
    }
}

pub(super) fn name(text: &str) -> ColumnName {
    TableName::new(text).expect("the schema's names are names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_made_in_each_kind_of_sql() {
        let address = SCHEMA.iter().find(|table| table.name == "address").expect("it is in the schema");
        assert_eq!(
            address.statements(Syntax::Postgres, "address"),
            [
                "CREATE TABLE address (id SERIAL PRIMARY KEY NOT NULL, grp INTEGER DEFAULT 1 NOT NULL, \
                 ip_addr VARCHAR(50) DEFAULT '' NOT NULL, mask INTEGER DEFAULT 32 NOT NULL, \
                 port INTEGER DEFAULT 0 NOT NULL, tag VARCHAR(64) DEFAULT NULL)",
                "CREATE INDEX address_lookup_idx ON address (grp)",
            ]
        );
        assert_eq!(address.header(), "id(int,auto) grp(int) ip_addr(string) mask(int) port(int) tag(string,null)\n");
    }

    #[tokio::test]
    async fn what_is_there_is_left_alone() {
        let settings = crate::Settings::default();
        let database = Database::open(":memory:", &settings, std::sync::Arc::new(|_| {})).await.expect("it opens");
        database.query("CREATE TABLE grp (username VARCHAR(64))").await.expect("it is made");
        let made = database.make_schema().await.expect("it is made");
        let of = |table: &str| made.iter().find(|made| made.table == table).map(|made| made.how);
        assert_eq!((of("grp"), of("acc")), (Some(How::Versioned), Some(How::New)));
        let again = database.make_schema().await.expect("it is made");
        assert!(again.iter().all(|made| made.how == How::Kept), "{again:?}");
    }
}
