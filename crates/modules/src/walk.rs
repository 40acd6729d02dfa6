//! Walks that a script makes step by step, by names of its own: through headers, lines, or the entries of a table.

use module_api::{Call, Outcome};

/// The walks of one kind that a request makes, by their keys; a note.
struct Walks<K, W>(Vec<(K, W)>);

/// Walks of one kind that one request may have at a time.
const MOST: usize = 16;

/// Begins a walk, in place of one with the same key. False when there are too many.
pub(crate) fn start<K: Eq + Send + 'static, W: Send + 'static>(call: &mut Call<'_>, key: K, walk: W) -> Outcome {
    let mut walks = call.context.take_note::<Walks<K, W>>().unwrap_or(Walks(Vec::new()));
    walks.0.retain(|(other, _)| *other != key);
    let has_room = walks.0.len() < MOST;
    if has_room {
        walks.0.push((key, walk));
    }
    call.context.set_note(walks);
    has_room.into()
}

/// Ends a walk. False when there is none with this key.
pub(crate) fn end<K: Eq + Send + 'static, W: Send + 'static>(call: &mut Call<'_>, key: &K) -> Outcome {
    let Some(mut walks) = call.context.take_note::<Walks<K, W>>() else { return Outcome::FALSE };
    let before = walks.0.len();
    walks.0.retain(|(other, _)| other != key);
    let is_ended = walks.0.len() < before;
    call.context.set_note(walks);
    is_ended.into()
}

/// What `act` makes of a walk; none when there is none with this key.
pub(crate) fn with<K: Eq + Send + 'static, W: Send + 'static, R>(
    call: &mut Call<'_>,
    key: &K,
    act: impl FnOnce(&mut W) -> R,
) -> Option<R> {
    let mut walks = call.context.take_note::<Walks<K, W>>()?;
    let result = walks.0.iter_mut().find(|(other, _)| other == key).map(|(_, walk)| act(walk));
    call.context.set_note(walks);
    result
}

/// The walk whose key is the one asked for.
pub(crate) fn find<'a, K: Send + 'static, W: Send + 'static>(
    call: &'a Call<'_>,
    is_it: impl Fn(&K) -> bool,
) -> Option<&'a W> {
    let walks = call.context.note::<Walks<K, W>>()?;
    walks.0.iter().find(|(key, _)| is_it(key)).map(|(_, walk)| walk)
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use crate::textopsx::MODULE;

    #[test]
    fn a_request_makes_a_bounded_number_of_walks_and_begins_one_anew_by_its_name() {
        let mut bench = Bench::invite();
        let mut start = |name: &str| bench.run(&MODULE, "hf_iterator_start", &[name]);
        let begun = (0..20).filter(|n| start(&format!("w{n}")) == 1).count();
        assert_eq!((begun, start("w0"), start("w19")), (16, 1, -1));
        assert_eq!(bench.run(&MODULE, "hf_iterator_end", &["w0"]), 1);
        assert_eq!(bench.run(&MODULE, "hf_iterator_end", &["w0"]), -1);
        assert_eq!(bench.run(&MODULE, "hf_iterator_start", &["w19"]), 1);
    }
}
