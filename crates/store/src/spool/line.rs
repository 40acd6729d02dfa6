//! A row as one line of JSON: `["acc",[["method","INVITE"],["time",[1767225600]]]]`.

use serde_json::{Value, json};

use crate::{Cell, ColumnName, TableName, Write};

/// With its line end.
pub(super) fn write(table: &TableName, row: &[(ColumnName, Cell)]) -> Vec<u8> {
    let pairs: Vec<Value> = row.iter().map(|(column, cell)| json!([column.as_str(), value(cell)])).collect();
    let mut line = json!([table.as_str(), pairs]).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// None when it is no such line.
pub(super) fn read(line: &[u8]) -> Option<Write> {
    let Value::Array(parts) = serde_json::from_slice(line).ok()? else { return None };
    let [Value::String(table), Value::Array(pairs)] = parts.as_slice() else { return None };
    let row = pairs
        .iter()
        .map(|pair| {
            let [Value::String(column), value] = pair.as_array()?.as_slice() else { return None };
            Some((ColumnName::new(column).ok()?, cell(value)?))
        })
        .collect::<Option<_>>()?;
    Some(Write::Insert { table: TableName::new(table).ok()?, row })
}

/// A time is a list of one number, which nothing else is.
fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
        Cell::Bytes(octets) => json!(Cell::text(octets).to_text()),
        Cell::Time(moment) => json!([moment]),
    }
}

fn cell(value: &Value) -> Option<Cell> {
    Some(match value {
        Value::Null => Cell::Null,
        Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Cell::Null, Cell::Real), Cell::Int)
        }
        Value::String(text) => Cell::Text(text.clone()),
        Value::Array(one) => Cell::Time(one.first()?.as_i64()?),
        Value::Bool(_) | Value::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let name = |text| TableName::new(text).expect("a literal name");
        let row = vec![
            (name("a"), Cell::from("x\n\"';\u{0}")),
            (name("b"), Cell::Int(-3)),
            (name("c"), Cell::Null),
            (name("d"), Cell::Time(1_767_225_600)),
            (name("e"), Cell::Real(0.5)),
        ];
        let line = write(&name("acc"), &row);
        assert_eq!(line.iter().filter(|octet| **octet == b'\n').count(), 1);
        assert_eq!(read(&line), Some(Write::Insert { table: name("acc"), row }));
        assert_eq!(read(b"[\"acc\",[[\"method\",\"INV"), None);
    }
}
