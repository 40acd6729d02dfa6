//! What the Via of this server says on requests.

use module_api::{Call, Function, Outcome, OwnVia, Param, ParamKind, Routes};

const MODE: &[Param] = &[Param::required("mode", ParamKind::Int)];

pub(super) const ADD_SERVER_ID: Function = Function {
    name: "via_add_srvid",
    params: MODE,
    routes: Routes::ANY,
    doc: "1 has this server's Via tell core parameter server_id as srvid, where it is not 0; 0 takes that back.",
    example: "via_add_srvid(1);",
    run: |call| set(call, |via, on| via.tells_server_id = on),
};

pub(super) const ADD_PARAMS: Function = Function {
    name: "via_add_xavp_params",
    params: MODE,
    routes: Routes::ANY,
    doc: "1 makes the fields of the $xavp that core parameter xavp_via_params names parameters of this server's Via, 0 takes \
          that back. They are read when the request is relayed; what is no token is left out, and so are branch, rport, \
          received, maddr and ttl.",
    example: "$xavp(via=>site) = \"berlin\"; via_add_xavp_params(1);",
    run: |call| set(call, |via, on| via.takes_params = on),
};

pub(super) const USE_FIELDS: Function = Function {
    name: "via_use_xavp_fields",
    params: MODE,
    routes: Routes::ANY,
    doc: "1 takes host and port of this server's Via from the fields address and port of the $xavp that core parameter \
          xavp_via_fields names, 0 takes that back. They are read when the request is relayed. Replies go there, so it must \
          lead back here.",
    example: "$xavp(via=>address) = \"192.0.2.1\"; via_use_xavp_fields(1);",
    run: |call| set(call, |via, on| via.takes_fields = on),
};

fn set(call: &mut Call<'_>, change: fn(&mut OwnVia, bool)) -> Outcome {
    let on = call.int(0).is_some_and(|mode| mode != 0);
    change(call.context.own_via.get_or_insert_default(), on);
    Outcome::TRUE
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn each_wish_is_noted_and_taken_back() {
        let mut bench = Bench::invite();
        for function in ["via_add_srvid", "via_add_xavp_params", "via_use_xavp_fields"] {
            assert_eq!(bench.run(&MODULE, function, &["1"]), 1);
        }
        let wishes = |bench: &Bench| {
            let via = bench.context.own_via.as_deref().unwrap();
            [via.tells_server_id, via.takes_params, via.takes_fields]
        };
        assert_eq!(wishes(&bench), [true; 3]);
        bench.run(&MODULE, "via_add_xavp_params", &["0"]);
        assert_eq!(wishes(&bench), [true, false, true]);
    }
}
