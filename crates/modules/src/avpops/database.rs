//! Loading and storing attributes of users, and queries whose rows become attributes.

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};
use sip_message::Uri;
use store::{Cell, Rows};

use super::name::Which;
use super::preferences::{Owner, Place, Preferences};
use super::text_of;
use crate::text_variable::TextVariable;

const SOURCE: &[Param] = &[Param::required("owner", ParamKind::Str), Param::required("name", ParamKind::Str)];

pub(super) const LOAD: Function = Function {
    name: "avp_db_load",
    params: SOURCE,
    routes: Routes::ANY,
    doc: "Loads attributes of a user from the database. The owner is a variable or a text, with /username, /domain, /uri or \
          /uuid behind it; without one a URI ($ru, $fu, $tu, $ou) means its user, all else a uuid. The name is an attribute, \
          or a letter: i those named by a number, s the others, a all; another table or $SCHEME may follow behind a slash. \
          False when nothing was loaded.",
    example: "avp_db_load(\"$fu\", \"$avp(forward)\");",
    run: |call| {
        let request = match Request::of(call) {
            Ok(Some(request)) => request,
            Ok(None) => return Outcome::FALSE,
            Err(cause) => return Outcome::fail(format!("avp_db_load: {cause}")),
        };
        let preferences = call.shared_state::<Preferences>();
        let wanted = request.which.clone().one();
        let asked = preferences
            .database()
            .and_then(|database| Ok((database, preferences.select(&request.owner, &request.place, wanted.as_ref())?)));
        let (database, select) = match asked {
            Ok(asked) => asked,
            Err(cause) => return Outcome::fail(format!("avp_db_load: {cause}")),
        };
        Outcome::wait(async move { database.select(&select).await }, move |call, found| match found {
            Ok(found) => keep(call, &request, wanted.as_ref(), &found),
            Err(error) => Outcome::fail(format!("avp_db_load: {error}")),
        })
    },
};

fn keep(call: &mut Call<'_>, request: &Request, wanted: Option<&Bytes>, found: &Rows) -> Outcome {
    let preferences = call.shared_state::<Preferences>();
    let read = |row: &Vec<Cell>| preferences.attribute(&request.place, row, wanted);
    let mut loaded = 0;
    // The last row is pushed first, so that the first is read first.
    for (name, value) in found.rows.iter().rev().filter_map(read).filter(|(name, _)| request.which.fits(name)) {
        if !call.context.avps.push(name, value) {
            return Outcome::fail("avp_db_load: there are too many attributes");
        }
        loaded += 1;
    }
    (loaded > 0).into()
}

pub(super) const STORE: Function = Function {
    name: "avp_db_store",
    params: SOURCE,
    routes: Routes::ANY,
    doc: "Writes every value of an attribute to the database, beside what is there. Arguments are those of avp_db_load(). \
          False when there is no value.",
    example: "avp_db_store(\"$tu/username\", \"$avp(email)\");",
    run: |call| {
        let request = match Request::of(call) {
            Ok(Some(request)) => request,
            Ok(None) => return Outcome::FALSE,
            Err(cause) => return Outcome::fail(format!("avp_db_store: {cause}")),
        };
        let avps = &call.context.avps;
        let attributes: Vec<(Bytes, Value)> =
            request.which.of(avps).map(|(name, value)| (name.clone(), value.clone())).collect();
        if attributes.is_empty() {
            return Outcome::FALSE;
        }
        let preferences = call.state::<Preferences>();
        let asked = preferences.database().and_then(|database| {
            preferences.inserts(&request.owner, &request.place, &attributes).map(|writes| (database, writes))
        });
        write(asked, "avp_db_store")
    },
};

pub(super) const DELETE: Function = Function {
    name: "avp_db_delete",
    params: SOURCE,
    routes: Routes::ANY,
    doc: "Removes an attribute of a user from the database. Arguments are those of avp_db_load(); the attributes of the request \
          stay.",
    example: "avp_db_delete(\"$fu\", \"$avp(forward)\");",
    run: |call| {
        let request = match Request::of(call) {
            Ok(Some(request)) => request,
            Ok(None) => return Outcome::FALSE,
            Err(cause) => return Outcome::fail(format!("avp_db_delete: {cause}")),
        };
        let preferences = call.state::<Preferences>();
        let wanted = request.which.one();
        let asked = preferences.database().and_then(|database| {
            preferences.delete(&request.owner, &request.place, wanted.as_ref()).map(|write| (database, vec![write]))
        });
        write(asked, "avp_db_delete")
    },
};

fn write(asked: Result<(store::Database, Vec<store::Write>), String>, function: &'static str) -> Outcome {
    let (database, writes) = match asked {
        Ok(asked) => asked,
        Err(cause) => return Outcome::fail(format!("{function}: {cause}")),
    };
    Outcome::wait(async move { database.write(&writes).await }, move |_, done| match done {
        Ok(_) => Outcome::TRUE,
        Err(error) => Outcome::fail(format!("{function}: {error}")),
    })
}

pub(super) const QUERY: Function = Function {
    name: "avp_db_query",
    params: &[Param::required("query", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Runs SQL and makes attributes of its rows: $avp(i:1) for the first column and so on. 1 with rows, -2 without, -1 when \
          it failed. Variables are pasted as they are: what came from a message must be written $(var{sql.val.str}), which \
          brings its own quotes, or '$(var{s.escape.common})'.",
    example: "avp_db_query(\"select ha1 from subscriber where username=$(fU{sql.val.str})\");",
    run: |call| query(call, Vec::new()),
};

pub(super) const QUERY_INTO: Function = Function {
    name: "avp_db_query",
    params: &[Param::required("query", ParamKind::Format), Param::required("attributes", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "As avp_db_query(query), with names for the columns: $avp(a);$avp(b).",
    example: "avp_db_query(\"select ha1, domain from subscriber where username=$(fU{sql.val.str})\", \"$avp(ha1);$avp(domain)\");",
    run: |call| {
        let text = text_of(call, 1);
        let names: Option<Vec<Bytes>> = text
            .split(';')
            .filter(|name| !name.trim().is_empty())
            .map(|name| Which::parse(name).and_then(Which::one))
            .collect();
        match names {
            Some(names) => query(call, names),
            None => Outcome::fail(format!("avp_db_query: {}", super::no_attribute(&text))),
        }
    },
};

fn query(call: &mut Call<'_>, names: Vec<Bytes>) -> Outcome {
    let Ok(statement) = String::from_utf8(call.text(0).to_vec()) else {
        return Outcome::fail("avp_db_query: the query is not UTF-8");
    };
    let database = match call.state::<Preferences>().database() {
        Ok(database) => database,
        Err(cause) => return Outcome::fail(format!("avp_db_query: {cause}")),
    };
    let statement = crate::database::portable(database.kind(), &statement).into_owned();
    Outcome::wait(async move { database.query(&statement).await }, move |call, found| match found {
        Ok(found) => rows(call, &names, &found),
        Err(error) => Outcome::fail(format!("avp_db_query: {error}")),
    })
}

fn rows(call: &mut Call<'_>, names: &[Bytes], found: &Rows) -> Outcome {
    if found.rows.is_empty() {
        return Outcome::Value(-2);
    }
    for row in found.rows.iter().rev() {
        for (at, cell) in row.iter().enumerate() {
            let name = match names.get(at) {
                Some(name) => name.clone(),
                None if names.is_empty() => Bytes::from(format!("i:{}", at + 1)),
                None => continue,
            };
            let value = match cell {
                Cell::Null => continue,
                Cell::Int(number) => Value::Int(*number),
                other => Value::Str(Bytes::from(other.to_text().unwrap_or_default())),
            };
            if !call.context.avps.push(name, value) {
                return Outcome::fail("avp_db_query: there are too many attributes");
            }
        }
    }
    Outcome::TRUE
}

/// What the two arguments ask for.
struct Request {
    owner: Owner,
    which: Which,
    place: Place,
}

impl Request {
    /// None when the owner has no name.
    fn of(call: &mut Call<'_>) -> Result<Option<Request>, String> {
        let (owner, name) = (text_of(call, 0), text_of(call, 1));
        let (which, place) = name.split_once('/').map_or((name.as_str(), ""), |(which, place)| (which, place));
        let place = match place.strip_prefix('$') {
            Some(scheme) => Place::Scheme(scheme.to_owned()),
            None if place.is_empty() => Place::Usual,
            None => Place::Table(place.to_owned()),
        };
        let which = Which::parse(which).ok_or_else(|| super::no_attribute(&name))?;
        if matches!((&place, &which), (Place::Scheme(_), which) if !matches!(which, Which::One(_))) {
            return Err("a scheme needs the name of an attribute".to_owned());
        }
        Ok(owner_of(call, &owner)?.map(|owner| Request { owner, which, place }))
    }
}

fn owner_of(call: &mut Call<'_>, text: &str) -> Result<Option<Owner>, String> {
    let (what, part) = text.rsplit_once('/').filter(|_| text.starts_with('$')).unwrap_or((text, ""));
    let value = match what.starts_with('$') {
        true => TextVariable::parse(what)?.read(call).to_bytes(),
        false => Bytes::copy_from_slice(what.as_bytes()),
    };
    let part = match part {
        "" if matches!(what, "$ru" | "$fu" | "$tu" | "$ou") => "uri",
        "" => "uuid",
        part => part,
    };
    if value.is_empty() {
        return Ok(None);
    }
    if part == "uuid" {
        return Ok(Some(Owner { uuid: Some(value), ..Owner::default() }));
    }
    let uri = Uri::parse(&value).map_err(|_| format!("the value of {what} is no URI"))?;
    let user = uri.user.map(|user| Bytes::from(sip_message::unescape(user).into_owned()));
    let domain = Bytes::copy_from_slice(uri.host_text);
    let uses_domain = call.state::<Preferences>().uses_domain;
    match (part, user) {
        ("domain", _) => Ok(Some(Owner { user: Some(Bytes::new()), domain: Some(domain), uuid: None })),
        ("uri" | "username", Some(user)) => {
            Ok(Some(Owner { user: Some(user), domain: uses_domain.then_some(domain), uuid: None }))
        }
        ("uri" | "username", None) => Ok(None),
        (other, _) => Err(format!("`{other}` is none of username, domain, uri and uuid")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::{Bench, INVITE, Tables, text};

    struct World {
        tables: Tables,
        bench: Bench,
    }

    impl World {
        fn new(settings: &[(&str, Value)]) -> World {
            let tables = Tables::new();
            let state = tables.make_with(&MODULE, settings).expect("the module starts");
            World { bench: Bench::with_state(INVITE, state), tables }
        }

        fn run(&mut self, function: &str, arguments: &[&str]) -> i64 {
            self.bench.run_waiting(&MODULE, function, arguments, &self.tables.runtime)
        }

        fn all(&self, name: &str) -> Vec<Value> {
            self.bench.context.avps.all(name.as_bytes()).cloned().collect()
        }
    }

    #[test]
    fn attributes_of_a_user_are_loaded() {
        let mut world = World::new(&[]);
        world.tables.sql(
            "INSERT INTO usr_preferences (uuid, username, domain, attribute, type, value) VALUES \
             ('', 'alice', 'example.com', 'fwd', 0, 'sip:a@b'), ('', 'alice', 'example.com', 'fwd', 0, 'sip:c@d'), \
             ('', 'alice', 'other', '7', 3, '42'), ('', '', 'example.com', 'plan', 0, 'gold'), ('u-1', '', '', 'x', 1, '5')",
        );
        assert_eq!(world.run("avp_db_load", &["$fu", "$avp(fwd)"]), 1);
        assert_eq!(world.all("fwd"), [text("sip:a@b"), text("sip:c@d")]);
        assert_eq!(world.run("avp_db_load", &["$fu", "i"]), 1);
        assert_eq!(world.all("i:7"), [Value::Int(42)]);
        assert_eq!(world.run("avp_db_load", &["$fu/domain", "a"]), 1);
        assert_eq!(world.all("plan"), [text("gold")]);
        assert_eq!(world.run("avp_db_load", &["u-1", "$avp(s:x)"]), 1);
        assert_eq!(world.all("x"), [Value::Int(5)]);
        assert_eq!(world.run("avp_db_load", &["$tu", "$avp(fwd)"]), -1);
        assert_eq!(world.run("avp_db_load", &["$fu", "$avp(fwd)/nothing"]), -1);
    }

    #[test]
    fn with_use_domain_a_namesake_is_another() {
        let mut world = World::new(&[("use_domain", Value::Int(1))]);
        world.tables.sql(
            "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES ('alice', 'other', 'a', 'x')",
        );
        assert_eq!(world.run("avp_db_load", &["$fu", "$avp(a)"]), -1);
    }

    #[test]
    fn attributes_are_stored_and_deleted_whatever_they_hold() {
        let mut world = World::new(&[]);
        let hostile = "'; DROP TABLE usr_preferences; --";
        for value in [text(hostile), Value::Int(7)] {
            world.bench.context.avps.push("mine".into(), value);
        }
        world.bench.context.avps.push("id".into(), text(hostile));
        assert_eq!(world.run("avp_db_store", &["$avp(id)", "$avp(mine)"]), 1);
        assert_eq!(world.run("avp_db_store", &["$fu", "$avp(mine)"]), 1);
        assert_eq!(world.tables.sql("SELECT value FROM usr_preferences ORDER BY id"), ["7", hostile, "7", hostile]);
        world.bench.context.avps.remove(b"mine");
        assert_eq!(world.run("avp_db_load", &["$avp(id)", "$avp(mine)"]), 1);
        assert_eq!(world.all("mine"), [Value::Int(7), text(hostile)]);
        assert_eq!(world.run("avp_db_delete", &["$avp(id)", "$avp(mine)"]), 1);
        assert_eq!(world.tables.sql("SELECT count(*) FROM usr_preferences"), ["2"]);
        assert_eq!(world.run("avp_db_store", &["$fu", "$avp(none)"]), -1);
    }

    #[test]
    fn a_scheme_reads_another_table() {
        let scheme = "plan:table=speed_dial;username_col=username;value_col=new_uri";
        let mut world = World::new(&[("db_scheme", text(scheme))]);
        world.tables.sql("INSERT INTO speed_dial (username, new_uri) VALUES ('alice', 'sip:x@y')");
        assert_eq!(world.run("avp_db_load", &["$fu", "$avp(p)/$plan"]), 1);
        assert_eq!(world.all("p"), [text("sip:x@y")]);
        assert_eq!(world.run("avp_db_load", &["$fu", "a/$plan"]), -1);
        assert_eq!(world.run("avp_db_load", &["$fu", "$avp(p)/$none"]), -1);
    }

    #[test]
    fn rows_of_a_query_become_attributes() {
        let mut world = World::new(&[]);
        world.tables.sql(
            "INSERT INTO mtree (tprefix, tvalue) VALUES ('49', 'de'), ('33', 'it\\'s fr')"
                .replace("\\'", "''")
                .as_str(),
        );
        assert_eq!(world.run("avp_db_query", &["select tvalue, 7 from mtree order by id", "$avp(v);$avp(n)"]), 1);
        assert_eq!((world.all("v"), world.all("n").len()), (vec![text("de"), text("it's fr")], 2));
        // As `{s.escape.common}` writes it, which is MySQL's way.
        assert_eq!(world.run("avp_db_query", &["select tprefix from mtree where tvalue = 'it\\'s fr'"]), 1);
        assert_eq!(world.all("i:1"), [text("33")]);
        assert_eq!(world.run("avp_db_query", &["select 1 from mtree where tvalue = 'x\\' OR 1=1 --'"]), -2);
        assert_eq!(world.run("avp_db_query", &["no sql"]), -1);
    }
}
