//! `cfg_select()`, `cfg_reset()`: which instance of a group of settings a request reads.

use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, SelectedInstances};

pub(super) const SELECT: Function = Function {
    name: "cfg_select",
    params: &[Param::required("group", ParamKind::Format), Param::required("id", ParamKind::Int)],
    routes: Routes::ANY,
    doc: "Has this request read the settings that the script gives as group[id].name; those without an instance of that \
          number stay as they are.",
    example: "cfg_select(\"pstn\", 2);",
    run: |call| {
        let (group, id) = (call.text(0), call.int(1).unwrap_or(0));
        let mut selected = others(call);
        selected.0.push((group, id));
        call.context.set_note(selected);
        Outcome::TRUE
    },
};

pub(super) const RESET: Function = Function {
    name: "cfg_reset",
    params: &[Param::required("group", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Has this request read the plain settings of the group again.",
    example: "cfg_reset(\"pstn\");",
    run: |call| {
        let selected = others(call);
        call.context.set_note(selected);
        Outcome::TRUE
    },
};

/// What is selected of other groups than that of the first argument.
fn others(call: &Call<'_>) -> SelectedInstances {
    let group = call.text(0);
    let mut selected = call.context.note::<SelectedInstances>().cloned().unwrap_or_default();
    selected.0.retain(|(other, _)| *other != group);
    selected
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn one_instance_of_a_group_is_selected_at_a_time() {
        let mut bench = Bench::invite();
        bench.run(&MODULE, "cfg_select", &["pstn", "1"]);
        bench.run(&MODULE, "cfg_select", &["other", "3"]);
        bench.run(&MODULE, "cfg_select", &["pstn", "2"]);
        let selected = |bench: &Bench| bench.context.note::<SelectedInstances>().unwrap().0.clone();
        assert_eq!(selected(&bench), [("other".into(), 3), ("pstn".into(), 2)]);
        bench.run(&MODULE, "cfg_reset", &["pstn"]);
        assert_eq!(selected(&bench), [("other".into(), 3)]);
    }
}
