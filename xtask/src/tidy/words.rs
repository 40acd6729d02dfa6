//! Paths of the machine that a change was made on have no meaning anywhere else.

use super::Finding;

/// Put together at compile time, so that this file keeps its own rule.
const WORDS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tm", "p/w/"),
    concat!("/tm", "p/slot"),
    concat!("/tm", "p/land"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Finds paths that exist on one machine only.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let on_line = |(index, line): (usize, &str)| {
        let word = WORDS.iter().find(|word| names_root(line, word))?;
        let what = format!("`{word}` is a path of one machine");
        Some(Finding { path: path.to_owned(), line: index + 1, rule: "workplace", what })
    };
    text.lines().enumerate().filter_map(on_line).collect()
}

/// True when the path begins at the file system's root: `frame/work/` is not meant.
fn names_root(line: &str, word: &str) -> bool {
    let begins = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "._-}~)".contains(c));
    line.match_indices(word).any(|(at, _)| begins(&line[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        let found = check("a.sh", concat!("x\ncd '/wo", "rk/main'\n"));
        assert_eq!((found.len(), found[0].line, found[0].rule), (1, 2, "workplace"));
    }

    #[test]
    fn the_same_words_inside_a_longer_path_are_not() {
        assert_eq!(check("a.md", concat!("docs/wo", "rk/plan.md $HOME/wo", "rk-x")), []);
        assert_eq!(check("a.md", concat!("https://example.org/ho", "me/")), []);
    }
}
