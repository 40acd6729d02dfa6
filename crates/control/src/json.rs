//! Structured values as JSON and back.

use module_api::Data;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Shows a value as JSON, keeping the order of names.
pub struct Json<'a>(pub &'a Data);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Data::Null => serializer.serialize_unit(),
            Data::Int(number) => serializer.serialize_i64(*number),
            Data::Float(number) => serializer.serialize_f64(*number),
            Data::Str(text) => serializer.serialize_str(text),
            Data::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Json(item)))?;
                list.end()
            }
            Data::Struct(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, data)| map.serialize_entry(name.as_ref(), &Json(data)))?;
                map.end()
            }
        }
    }
}

/// The value that JSON spells. `true` and `false` count as 1 and 0, as Kamailio takes them.
pub fn of_json(value: &Value) -> Data {
    match value {
        Value::Null => Data::Null,
        Value::Bool(yes) => Data::Int(i64::from(*yes)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Data::Int(number),
            None => Data::Float(number.as_f64().unwrap_or(f64::MAX)),
        },
        Value::String(text) => Data::Str(text.clone()),
        Value::Array(items) => Data::List(items.iter().map(of_json).collect()),
        Value::Object(fields) => {
            Data::Struct(fields.iter().map(|(name, value)| (name.clone().into(), of_json(value))).collect())
        }
    }
}

/// The JSON text of a value, on one line or indented.
pub fn to_text(value: &impl Serialize, is_pretty: bool) -> Vec<u8> {
    let text = if is_pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    text.expect("values with text for names are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_may_repeat() {
        let data = Data::of([("b", 1.into()), ("a", "x\"y".into()), ("b", Data::List(vec![Data::Null, 1.5.into()]))]);
        assert_eq!(to_text(&Json(&data), false), br#"{"b":1,"a":"x\"y","b":[null,1.5]}"#);
    }

    #[test]
    fn json_is_read() {
        let value: Value = serde_json::from_str(r#"[true, -3, 2.5, "x", {"a": null}]"#).expect("it is JSON");
        let expected = vec![1.into(), (-3).into(), 2.5.into(), "x".into(), Data::of([("a", Data::Null)])];
        assert_eq!(of_json(&value), Data::List(expected));
    }
}
