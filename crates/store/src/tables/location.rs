//! Location tables.

use super::{Tables, is, name, text};
use crate::database::time;
use crate::{Cell, Change, ColumnName, Comparison, Condition, Error, Select, StoredBinding, TableName, Write};

/// Columns in the order in which they are written and, behind `id`, read.
const COLUMNS: [&str; 22] = [
    "ruid",
    "username",
    "domain",
    "contact",
    "received",
    "path",
    "expires",
    "q",
    "callid",
    "cseq",
    "last_modified",
    "flags",
    "cflags",
    "user_agent",
    "socket",
    "methods",
    "instance",
    "reg_id",
    "server_id",
    "connection_id",
    "keepalive",
    "partition",
];

impl Tables {
    /// Applies changes in order, all or none; durable when this returns.
    pub(crate) async fn commit(&self, table: &TableName, changes: &[&Change]) -> Result<(), Error> {
        let writes: Vec<Write> = changes
            .iter()
            .map(|change| match change {
                Change::Put(binding) => Write::Put { table: table.clone(), key: name("ruid"), row: row(binding) },
                Change::Delete { ruid } => Write::Delete { table: table.clone(), filter: vec![is("ruid", ruid)] },
            })
            .collect();
        self.database.write(&writes).await.map(drop)
    }

    /// Rows after `after`, each with its id. A row that cannot be read says so in its place.
    pub(crate) async fn bindings_page(
        &self,
        table: &TableName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Result<StoredBinding, Error>)>, Error> {
        let columns: Vec<ColumnName> = std::iter::once("id").chain(COLUMNS).map(name).collect();
        let filter = match after {
            i64::MIN => Vec::new(),
            after => vec![Condition { column: name("id"), is: Comparison::Greater, value: Cell::Int(after) }],
        };
        let select = Select { table: table.clone(), columns, filter, order: vec![name("id")], limit };
        let rows = self.database.select(&select).await?.rows;
        rows.iter()
            .map(|row| {
                let id = row[0].to_int().ok_or_else(|| corrupt(table, 0, "id"))?;
                Ok((id, read(&row[1..]).map_err(|column| corrupt(table, id, column))))
            })
            .collect()
    }

    /// Removes rows whose time is over. 0 is "never".
    pub(crate) async fn delete_expired(&self, table: &TableName, now: i64) -> Result<u64, Error> {
        let expires = |is, moment| Condition { column: name("expires"), is, value: Cell::Time(moment) };
        let filter = vec![expires(Comparison::Less, now), expires(Comparison::NotEqual, 0)];
        Ok(self.database.write(&[Write::Delete { table: table.clone(), filter }]).await?[0])
    }
}

fn corrupt(table: &TableName, id: i64, column: &str) -> Error {
    Error::Corrupt { what: format!("table {table}, row {id}: column {column}") }
}

fn row(binding: &StoredBinding) -> Vec<(ColumnName, Cell)> {
    let cells = [
        Cell::from(&*binding.ruid),
        Cell::from(&*binding.username),
        Cell::from(binding.domain.clone()),
        Cell::from(&*binding.contact),
        Cell::from(binding.received.clone()),
        Cell::from(binding.path.clone()),
        Cell::Time(in_calendar(binding.expires)),
        Cell::Real(binding.q),
        Cell::from(&*binding.callid),
        signed(binding.cseq),
        Cell::Time(in_calendar(binding.last_modified)),
        signed(binding.flags),
        signed(binding.cflags),
        Cell::from(&*binding.user_agent),
        Cell::from(binding.socket.clone()),
        binding.methods.map_or(Cell::Null, |methods| signed(methods as u32)),
        Cell::from(binding.instance.clone()),
        Cell::Int(binding.reg_id),
        Cell::Int(binding.server_id),
        Cell::Int(binding.connection_id),
        Cell::Int(binding.keepalive.into()),
        Cell::Int(binding.partition),
    ];
    COLUMNS.into_iter().map(name).zip(cells).collect()
}

/// The columns hold 32 bits with a sign, and Kamailio writes larger values as negative ones.
fn signed(value: u32) -> Cell {
    Cell::Int((value as i32).into())
}

/// The last moment that every database's calendar has.
fn in_calendar(seconds: i64) -> i64 {
    seconds.clamp(0, 253_402_300_799)
}

/// `Err` names the column that cannot be read.
fn read(row: &[Cell]) -> Result<StoredBinding, &'static str> {
    let int = |n: usize| row[n].to_int().ok_or(COLUMNS[n]);
    let word = |n: usize| Ok::<u32, &'static str>((int(n)? & 0xffff_ffff) as u32);
    Ok(StoredBinding {
        ruid: text(&row[0]),
        username: text(&row[1]),
        domain: row[2].to_text(),
        contact: text(&row[3]),
        received: row[4].to_text(),
        path: row[5].to_text(),
        expires: moment(&row[6]).ok_or(COLUMNS[6])?,
        q: real(&row[7]).ok_or(COLUMNS[7])?,
        callid: text(&row[8]),
        cseq: word(9)?,
        last_modified: moment(&row[10]).ok_or(COLUMNS[10])?,
        flags: word(11)?,
        cflags: word(12)?,
        user_agent: text(&row[13]),
        socket: row[14].to_text(),
        methods: row[15].to_int().map(|methods| methods & 0xffff_ffff),
        instance: row[16].to_text(),
        reg_id: int(17)?,
        server_id: int(18)?,
        connection_id: int(19)?,
        keepalive: int(20)? != 0,
        partition: int(21)?,
    })
}

fn moment(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Text(text) => time::seconds(text).or_else(|| text.parse().ok()),
        other => other.to_int(),
    }
}

fn real(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Real(number) => Some(*number),
        Cell::Int(number) => Some(*number as f64),
        Cell::Text(text) => text.parse().ok(),
        Cell::Null | Cell::Bytes(_) | Cell::Time(_) => None,
    }
}
