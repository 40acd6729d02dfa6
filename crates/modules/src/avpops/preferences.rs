//! Where attributes of users are kept: the table usr_preferences, and others that schemes describe.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Parameter, Setup, SetupError, State, Value};
use store::{Cell, ColumnName, Condition, Database, Select, TableName, Write};

use crate::database::{self, column, named};
use crate::setting::{list, number, text};

pub(super) const PARAMETERS: &[Parameter] = &[
    text("db_url", "", "The database of attributes. Without it the functions that need one fail."),
    text("avp_table", "usr_preferences", "The table of attributes."),
    number("use_domain", "0", "1 tells users of different domains apart."),
    text("uuid_column", "uuid", "The column of the name that an attribute is kept under."),
    text("username_column", "username", "The column of the user."),
    text("domain_column", "domain", "The column of the domain."),
    text("attribute_column", "attribute", "The column of the attribute's name."),
    text("value_column", "value", "The column of its value."),
    text(
        "type_column",
        "type",
        "The column of its type: 0 name and value are texts, 1 the value is a number, 2 the name, 3 both.",
    ),
    list(
        "db_scheme",
        "Another table: NAME:table=TABLE;uuid_col=COLUMN;username_col=COLUMN;domain_col=COLUMN;value_col=COLUMN;\
         value_type=string|integer.",
    ),
];

/// The state of module avpops.
pub(super) struct Preferences {
    database: Option<Database>,
    table: TableName,
    columns: Columns,
    pub(super) uses_domain: bool,
    schemes: Vec<Scheme>,
}

struct Columns {
    uuid: ColumnName,
    username: ColumnName,
    domain: ColumnName,
    attribute: ColumnName,
    value: ColumnName,
    kind: ColumnName,
}

/// A table of the operator's own, with one value in each row.
#[derive(Debug, Clone)]
struct Scheme {
    name: String,
    table: TableName,
    uuid: ColumnName,
    username: ColumnName,
    domain: ColumnName,
    value: ColumnName,
    is_number: bool,
}

/// Whose attributes are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uuid: Option<Bytes>,
    pub(super) user: Option<Bytes>,
    pub(super) domain: Option<Bytes>,
}

/// Which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Usual,
    Table(String),
    Scheme(String),
}

/// How many values are read at most: as many as one request may hold.
const MOST: u32 = module_api::Attributes::LIMIT as u32;

const TYPE_NUMBER_VALUE: i64 = 1;
const TYPE_NUMBER_NAME: i64 = 2;

pub(super) fn make(setup: &mut Setup<'_>) -> Result<Arc<dyn State>, SetupError> {
    let columns = Columns {
        uuid: column(setup, "uuid_column")?,
        username: column(setup, "username_column")?,
        domain: column(setup, "domain_column")?,
        attribute: column(setup, "attribute_column")?,
        value: column(setup, "value_column")?,
        kind: column(setup, "type_column")?,
    };
    let mut schemes = Vec::new();
    for line in setup.list("db_scheme") {
        let line = String::from_utf8_lossy(&line).into_owned();
        schemes.push(Scheme::parse(&line, &columns)?);
    }
    let table = column(setup, "avp_table")?;
    let database = match setup.text("db_url").is_empty() {
        true => None,
        false => Some(database::open(setup, "db_url")?),
    };
    if let Some(database) = &database {
        // A scheme may be all that the operator uses; the usual table is checked where it is named.
        if schemes.is_empty() || setup.is_set("avp_table") {
            let all =
                [&columns.uuid, &columns.username, &columns.domain, &columns.attribute, &columns.kind, &columns.value];
            database::check_at_start(setup, database, &table, &all.map(Clone::clone), &[2])?;
        }
    }
    Ok(Arc::new(Preferences { database, table, columns, uses_domain: setup.int("use_domain") != 0, schemes }))
}

impl Scheme {
    fn parse(line: &str, usual: &Columns) -> Result<Scheme, SetupError> {
        let wrong = |cause: String| SetupError::Setting { name: "db_scheme", cause: format!("`{line}`: {cause}") };
        let (name, rest) =
            line.split_once(':').ok_or_else(|| wrong("write NAME:table=TABLE;value_col=COLUMN".into()))?;
        let mut table = None;
        let mut scheme = Scheme {
            name: name.trim().to_owned(),
            table: usual.uuid.clone(),
            uuid: usual.uuid.clone(),
            username: usual.username.clone(),
            domain: usual.domain.clone(),
            value: usual.value.clone(),
            is_number: false,
        };
        for (key, value) in crate::setting::pairs(rest).map_err(wrong)? {
            match (key, value) {
                ("table", value) => table = Some(named("db_scheme", value)?),
                ("uuid_col", value) => scheme.uuid = named("db_scheme", value)?,
                ("username_col", value) => scheme.username = named("db_scheme", value)?,
                ("domain_col", value) => scheme.domain = named("db_scheme", value)?,
                ("value_col", value) => scheme.value = named("db_scheme", value)?,
                ("value_type", "integer" | "string") => scheme.is_number = value == "integer",
                _ => {
                    return Err(wrong(format!(
                        "unknown {key}={value}; there are table, uuid_col, username_col, domain_col, value_col and \
                         value_type=string|integer"
                    )));
                }
            }
        }
        scheme.table = table.ok_or_else(|| wrong("table= is missing".into()))?;
        Ok(scheme)
    }
}

impl Preferences {
    /// The database.
    ///
    /// # Errors
    /// That there is none.
    pub(super) fn database(&self) -> Result<Database, String> {
        self.database.clone().ok_or_else(|| "there is no database; set db_url of module avpops".to_owned())
    }

    /// What asks for values of an owner: of one attribute or all.
    pub(super) fn select(&self, owner: &Owner, place: &Place, attribute: Option<&Bytes>) -> Result<Select, String> {
        if let Place::Scheme(_) = place {
            let scheme = self.scheme(place)?;
            let filter = owner.filter(&scheme.uuid, &scheme.username, &scheme.domain);
            let columns = vec![scheme.value.clone()];
            return Ok(Select { table: scheme.table.clone(), columns, filter, order: Vec::new(), limit: MOST });
        }
        let columns = &self.columns;
        let wanted = vec![columns.value.clone(), columns.attribute.clone(), columns.kind.clone()];
        let filter = self.filter(owner, attribute);
        Ok(Select { table: self.table(place)?, columns: wanted, filter, order: Vec::new(), limit: MOST })
    }

    /// An attribute out of a row that [`Preferences::select`] has asked for; none where it is NULL.
    pub(super) fn attribute(&self, place: &Place, row: &[Cell], wanted: Option<&Bytes>) -> Option<(Bytes, Value)> {
        let text = row.first()?.to_text()?;
        let value = |is_number: bool| match (is_number, text.trim().parse()) {
            (true, Ok(number)) => Value::Int(number),
            _ => Value::Str(Bytes::from(text.clone())),
        };
        if let Place::Scheme(_) = place {
            let scheme = self.scheme(place).ok()?;
            return Some((wanted?.clone(), value(scheme.is_number)));
        }
        let kind = row.get(2)?.to_int().unwrap_or(0);
        let name = row.get(1)?.to_text().unwrap_or_default();
        let name = match (wanted, kind & TYPE_NUMBER_NAME != 0) {
            (Some(wanted), _) => wanted.clone(),
            (None, true) => Bytes::from(format!("i:{name}")),
            (None, false) => Bytes::from(name),
        };
        Some((name, value(kind & TYPE_NUMBER_VALUE != 0)))
    }

    /// Puts values of an owner into the table, beside those that are there.
    pub(super) fn inserts(
        &self,
        owner: &Owner,
        place: &Place,
        attributes: &[(Bytes, Value)],
    ) -> Result<Vec<Write>, String> {
        let (table, columns) = (self.table(place)?, &self.columns);
        let text = |octets: &Option<Bytes>| Cell::text(octets.as_deref().unwrap_or_default());
        let insert = |(name, value): &(Bytes, Value)| {
            let is_number_name = name.starts_with(b"i:");
            let mut kind = if matches!(value, Value::Int(_)) { TYPE_NUMBER_VALUE } else { 0 };
            kind |= if is_number_name { TYPE_NUMBER_NAME } else { 0 };
            let row = vec![
                (columns.uuid.clone(), text(&owner.uuid)),
                (columns.username.clone(), text(&owner.user)),
                (columns.domain.clone(), text(&owner.domain)),
                (columns.attribute.clone(), Cell::text(bare(name))),
                (columns.kind.clone(), Cell::Int(kind)),
                (columns.value.clone(), Cell::text(&value.to_bytes())),
            ];
            Write::Insert { table: table.clone(), row }
        };
        Ok(attributes.iter().map(insert).collect())
    }

    /// Removes values of an owner: of one attribute or all.
    pub(super) fn delete(&self, owner: &Owner, place: &Place, attribute: Option<&Bytes>) -> Result<Write, String> {
        Ok(Write::Delete { table: self.table(place)?, filter: self.filter(owner, attribute) })
    }

    fn filter(&self, owner: &Owner, attribute: Option<&Bytes>) -> Vec<Condition> {
        let columns = &self.columns;
        let mut filter = owner.filter(&columns.uuid, &columns.username, &columns.domain);
        filter.extend(attribute.map(|name| Condition::equal(&columns.attribute, Cell::text(bare(name)))));
        filter
    }

    fn table(&self, place: &Place) -> Result<TableName, String> {
        match place {
            Place::Usual => Ok(self.table.clone()),
            Place::Table(name) => TableName::new(name).map_err(|error| error.to_string()),
            Place::Scheme(_) => Err("a scheme is only read".to_owned()),
        }
    }

    fn scheme(&self, place: &Place) -> Result<&Scheme, String> {
        let Place::Scheme(name) = place else { return Err("no scheme is named".to_owned()) };
        let found = self.schemes.iter().find(|scheme| scheme.name == *name);
        found.ok_or_else(|| format!("there is no db_scheme {name}"))
    }
}

impl Owner {
    fn filter(&self, uuid: &ColumnName, username: &ColumnName, domain: &ColumnName) -> Vec<Condition> {
        let of = |column: &ColumnName, value: &Option<Bytes>| {
            value.as_ref().map(|value| Condition::equal(column, Cell::text(value)))
        };
        let domain = self.domain.as_ref().map(|value| Condition::equal_folded(domain, Cell::text(value)));
        [of(uuid, &self.uuid), of(username, &self.user), domain].into_iter().flatten().collect()
    }
}

/// A name as the table has it: what is a number there is told by the type.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"i:").unwrap_or(name)
}
