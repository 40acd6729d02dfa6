//! Formatting changes nothing but blanks and line ends, and does so once.
#![allow(clippy::disallowed_methods, reason = "the scripts of this repository are files")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use script::{Piece, PieceKind, format, pieces};

/// Scripts of this repository.
fn scripts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![root.join("crates/server/src/builtin.cfg")];
    for folder in std::fs::read_dir(root.join("examples")).expect("there are examples").flatten() {
        let files = std::fs::read_dir(folder.path()).into_iter().flatten().flatten().map(|file| file.path());
        found.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "cfg")));
    }
    assert!(found.len() >= 6);
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("it is text"))).collect()
}

/// What must stay: pieces in order, and whether those that make addresses touch.
fn stream(text: &str) -> Vec<(PieceKind, String, bool)> {
    let (all, diagnostics) = pieces("t", text);
    assert!(!diagnostics.has_errors(), "{}", diagnostics.render(false));
    let is_address = |piece: &Piece<'_>| match piece.kind {
        PieceKind::Word | PieceKind::Number | PieceKind::Text => true,
        _ => [".", ":", "-", "*", "/"].iter().any(|symbol| piece.is(symbol)),
    };
    let shown = all.iter().enumerate().map(|(at, piece)| {
        let touches = at > 0 && piece.is_glued && is_address(piece) && is_address(&all[at - 1]);
        (piece.kind, piece.text.trim_end().to_owned(), touches)
    });
    shown.collect()
}

fn check(name: &str, text: &str) {
    let once = format(name, text).unwrap_or_else(|diagnostics| panic!("{name}: {}", diagnostics.render(false)));
    assert_eq!(stream(&once), stream(text), "{name}:\n{once}");
    let twice = format(name, &once).expect("what was formatted can be read");
    assert_eq!(once, twice, "{name}");
}

#[test]
fn every_script_of_this_repository_keeps_its_tokens_comments_and_directives() {
    for (path, text) in scripts() {
        check(&path.to_string_lossy(), &text);
    }
}

#[test]
fn blocks_are_indented_and_braces_end_their_lines() {
    let text = "#!KAMAILIO\nlisten=udp:192.0.2.1:5060   # here\n\n\n\nroute\n{\nif(uri==myself&&!is_method( \"ACK\" ))\n{ t_relay();exit;}\nelse\n{\n# no\n\n\nswitch($var(x))\n{\ncase 1:\nexit;\ndefault:\n   drop;\n}\n}\n#!ifdef A\nif (a())\nb();\n#!endif\n};\n";
    let expected = "#!KAMAILIO\nlisten = udp:192.0.2.1:5060 # here\n\nroute {\n    if (uri == myself && !is_method(\"ACK\")) { t_relay(); exit; } else {\n        # no\n\n        switch ($var(x)) {\n            case 1:\n                exit;\n            default:\n                drop;\n        }\n    }\n#!ifdef A\n    if (a())\n        b();\n#!endif\n};\n";
    assert_eq!(format("t", text).expect("it is right"), expected);
}

#[test]
fn what_cannot_be_cut_into_tokens_is_left_alone() {
    assert!(format("t", "route { xlog(\"never closed); }").is_err());
}

proptest! {
    /// Blanks and line ends where the script has some may be any.
    #[test]
    fn however_a_script_is_spaced_it_means_the_same(seed in prop::collection::vec(0_usize..6, 64), which in 0_usize..64) {
        let all = scripts();
        let (path, text) = &all[which % all.len()];
        let (cut, _) = pieces("t", text);
        let mut mixed = String::new();
        for (at, piece) in cut.iter().enumerate() {
            let gap = [" ", "\n", "\n\n\n", "\t", "  \n ", "\r\n"][seed[at % seed.len()]];
            let ends_line = at > 0 && matches!(cut[at - 1].kind, PieceKind::LineComment | PieceKind::Directive);
            if ends_line || piece.kind == PieceKind::Directive {
                mixed.push('\n');
            } else if !piece.is_glued && at > 0 {
                mixed.push_str(gap);
            }
            mixed.push_str(piece.text);
        }
        check(&path.to_string_lossy(), &mixed);
    }
}
