//! Profiles: how many dialogs there are of a kind, for limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use module_api::{Call, Function, Outcome, Param, ParamKind, Routes, Value};

use super::call::Dialog;
use super::{Dialogs, current};

/// Counts of dialogs by profile and value; the empty value counts those of a profile without values.
pub(super) struct Profiles {
    with_value: Vec<String>,
    without_value: Vec<String>,
    counts: Mutex<HashMap<Bytes, HashMap<Bytes, i64>>>,
}

/// Most profiles of one dialog.
const MOST_OF_ONE: usize = 64;

impl Profiles {
    /// The profiles of the two lists of names, separated by semicolons.
    pub(super) fn new(with_value: &str, without_value: &str) -> Profiles {
        let names = |list: &str| {
            let names = list.split(';').map(|name| name.split('/').next().unwrap_or_default().trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        Profiles { with_value: names(with_value), without_value: names(without_value), counts: Mutex::default() }
    }

    /// Whether there is such a profile that takes a value, or takes none.
    fn check(&self, name: &str, has_value: bool) -> Result<(), String> {
        let list = if has_value { &self.with_value } else { &self.without_value };
        if list.iter().any(|known| known == name) {
            return Ok(());
        }
        let parameter = if has_value { "profiles_with_value" } else { "profiles_no_value" };
        Err(format!("there is no profile `{name}` in {parameter} ({})", list.join("; ")))
    }

    /// Whether a profile of that name takes a value.
    fn takes_value(&self, name: &str) -> bool {
        self.with_value.iter().any(|known| known == name)
    }

    fn add(&self, name: &Bytes, value: &Bytes, n: i64) {
        let mut counts = self.lock();
        let values = counts.entry(name.clone()).or_default();
        let count = values.entry(value.clone()).or_default();
        *count += n;
        if *count <= 0 {
            values.remove(value);
        }
    }

    /// The profiles of a dialog of before the start, as its row has them; it counts in them again.
    pub(super) fn restored(&self, text: &str) -> Vec<(Bytes, Bytes)> {
        let row: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let pairs = row["profiles"].as_array().into_iter().flatten().take(MOST_OF_ONE);
        let mut profiles = Vec::new();
        for pair in pairs {
            let part = |n: usize| Bytes::copy_from_slice(pair[n].as_str().unwrap_or_default().as_bytes());
            let (name, value) = (part(0), part(1));
            // The script may have another list of profiles now.
            if self.check(&String::from_utf8_lossy(&name), !value.is_empty()).is_ok() {
                self.add(&name, &value, 1);
                profiles.push((name, value));
            }
        }
        profiles
    }

    /// How many dialogs are in it, with that value or with any.
    pub(super) fn size(&self, name: &[u8], value: Option<&[u8]>) -> i64 {
        let counts = self.lock();
        let Some(values) = counts.get(name) else { return 0 };
        match value {
            Some(value) => values.get(value).copied().unwrap_or(0),
            None => values.values().sum(),
        }
    }

    /// Has a dialog that is over count no longer.
    pub(super) fn leave_all(&self, dialog: &Dialog) {
        let profiles = std::mem::take(&mut dialog.facts().profiles);
        for (name, value) in profiles {
            self.add(&name, &value, -1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, HashMap<Bytes, i64>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PROFILE: &[Param] = &[Param::required("profile", ParamKind::Format), Param::optional("value", ParamKind::Format)];

pub(super) const SET: Function = Function {
    name: "set_dlg_profile",
    params: PROFILE,
    routes: Routes::ANY,
    doc: "Puts the dialog into a profile of profiles_no_value, or with a value into one of profiles_with_value. It counts \
          there until the dialog is over.",
    example: "set_dlg_profile(\"caller\", \"$fu\");",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        change(call, &dialog, true)
    },
};

pub(super) const UNSET: Function = Function {
    name: "unset_dlg_profile",
    params: PROFILE,
    routes: Routes::ANY,
    doc: "Takes the dialog out of a profile.",
    example: "unset_dlg_profile(\"caller\", \"$fu\");",
    run: |call| {
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        change(call, &dialog, false)
    },
};

pub(super) const IS_IN: Function = Function {
    name: "is_in_profile",
    params: PROFILE,
    routes: Routes::ANY,
    doc: "True when the dialog is in a profile, with that value where one is given.",
    example: "if (is_in_profile(\"premium\")) setflag(5);",
    run: |call| {
        let (name, value) = (call.text(0), call.text(1));
        let has_value = call.arg_count() > 1;
        let Some(dialog) = current(call) else { return Outcome::FALSE };
        let facts = dialog.facts();
        facts.profiles.iter().any(|(own, with)| *own == name && (!has_value || *with == value)).into()
    },
};

pub(super) const SIZE: Function = Function {
    name: "get_profile_size",
    params: &[Param::required("profile", ParamKind::Format), Param::required("size", ParamKind::Output)],
    routes: Routes::ANY,
    doc: "Writes how many dialogs are in a profile, whatever their value.",
    example: "get_profile_size(\"caller\", \"$var(size)\");",
    run: |call| {
        let name = call.text(0);
        let size = call.state::<Dialogs>().profiles.size(&name, None);
        write(call, 1, size)
    },
};

pub(super) const SIZE_OF_VALUE: Function = Function {
    name: "get_profile_size",
    params: &[
        Param::required("profile", ParamKind::Format),
        Param::required("value", ParamKind::Format),
        Param::required("size", ParamKind::Output),
    ],
    routes: Routes::ANY,
    doc: "Writes how many dialogs are in a profile with that value.",
    example: "get_profile_size(\"caller\", \"$fu\", \"$var(size)\");",
    run: |call| {
        let (name, value) = (call.text(0), call.text(1));
        let size = call.state::<Dialogs>().profiles.size(&name, Some(&value));
        write(call, 2, size)
    },
};

fn write(call: &mut Call<'_>, n: usize, size: i64) -> Outcome {
    match call.write_output(n, Value::Int(size)) {
        Ok(()) => Outcome::TRUE,
        Err(fault) => Outcome::Fail(fault),
    }
}

fn change(call: &mut Call<'_>, dialog: &Arc<Dialog>, is_in: bool) -> Outcome {
    let (name, value) = (call.text(0), call.text(1));
    let profiles = &call.state::<Dialogs>().profiles;
    if let Err(cause) = profiles.check(&String::from_utf8_lossy(&name), call.arg_count() > 1) {
        return Outcome::fail(cause);
    }
    let mut facts = dialog.facts();
    let place = facts.profiles.iter().position(|(own, with)| *own == name && *with == value);
    match (place, is_in) {
        (Some(_), true) => {}
        (None, false) => return Outcome::FALSE,
        (Some(place), false) => {
            facts.profiles.remove(place);
            profiles.add(&name, &value, -1);
        }
        (None, true) if facts.profiles.len() >= MOST_OF_ONE => {
            return Outcome::fail("the dialog is in too many profiles");
        }
        (None, true) => {
            facts.profiles.push((name.clone(), value.clone()));
            profiles.add(&name, &value, 1);
        }
    }
    drop(facts);
    call.state::<Dialogs>().touch(dialog);
    Outcome::TRUE
}

pub(super) const SET_TIMEOUT_BY_PROFILE: Function = Function {
    name: "dlg_set_timeout_by_profile",
    params: &[
        Param::required("profile", ParamKind::Format),
        Param::required("value", ParamKind::Format),
        Param::required("seconds", ParamKind::Int),
    ],
    routes: Routes::ANY,
    doc: "Gives each dialog that is in a profile with that value so many seconds from now; the empty value means a profile \
          without values.",
    example: "dlg_set_timeout_by_profile(\"caller\", \"$fu\", 60);",
    run: |call| {
        let (name, value) = (call.text(0), call.text(1));
        let Some(seconds) = call.int(2).and_then(|seconds| u64::try_from(seconds).ok()) else { return Outcome::FALSE };
        let state = call.shared_state::<Dialogs>();
        let any_value = value.is_empty() && !state.profiles.takes_value(&String::from_utf8_lossy(&name));
        for dialog in state.table.all() {
            let is_in = dialog.facts().profiles.iter().any(|(own, with)| *own == name && (any_value || *with == value));
            if is_in {
                super::track::set_lifetime(&state, &dialog, std::time::Duration::from_secs(seconds), call.host);
            }
        }
        Outcome::TRUE
    },
};
