//! Unique identifiers (RFC 9562): `$uuid`.

use module_api::{Call, KeyRule, Module, Routes, Selector, Value, Variable};

/// Unique identifiers.
pub static MODULE: Module = Module {
    name: "uuid",
    doc: "Makes identifiers that are unique in the world (RFC 9562).",
    variables: &[UUID],
    ..Module::EMPTY
};

const UUID: Variable = Variable {
    name: "uuid",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "A new unique identifier, another at each reading: $uuid(g) and $uuid(r) are made of chance (version 4), $uuid(t) and \
          $uuid(s) of the time and chance (version 7). Computers do not show their hardware addresses, as version 1 would.",
    example: "append_hf(\"X-Call: $uuid(g)\\r\\n\");",
    read: |call, selector| read(call, selector),
    write: None,
};

fn read(call: &mut Call<'_>, selector: &Selector<'_>) -> Value {
    let mut bits = u128::from(call.host.random()) << 64 | u128::from(call.host.random());
    let version = match selector.key() {
        b"g" | b"r" => 4,
        b"t" | b"s" => {
            // The first 48 bits are milliseconds since 1970 (RFC 9562 section 5.7).
            let now = call.host.unix_time().as_millis() & ((1 << 48) - 1);
            bits = bits & ((1 << 80) - 1) | now << 80;
            7
        }
        _ => return Value::Null,
    };
    // Version and variant (RFC 9562 sections 4.1 and 4.2).
    bits = bits & !(0xf << 76) | version << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let part = |from: u32, digits: u32| (bits >> from) & ((1_u128 << (4 * digits)) - 1);
    let text =
        format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
    Value::Str(text.into())
}

#[cfg(test)]
mod tests {
    use super::MODULE;
    use crate::testing::Bench;
    use module_api::Value;

    #[test]
    fn identifiers_name_their_version_and_are_never_the_same() {
        let mut bench = Bench::invite();
        let mut read =
            |key: &str| String::from_utf8(bench.read(&MODULE, "uuid", Some(key)).to_bytes().to_vec()).unwrap();
        let (one, other) = (read("g"), read("r"));
        // The fake server's chance counts.
        assert_eq!(one, "00000000-0000-4001-8000-000000000002");
        assert_ne!(one, other);
        // 1,700,000,000,000 milliseconds.
        assert!(read("t").starts_with("018bcfe5-6800-7"), "{}", read("t"));
        assert_eq!(bench.read(&MODULE, "uuid", Some("x")), Value::Null);
    }
}
