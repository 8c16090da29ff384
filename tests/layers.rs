//! What the layout of the crate promises: imports point down, the protocol is free of I/O, panics unwind, files stay short.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top to the bottom. `limits` and `error` are for all.
const LAYERS: [&str; 13] = [
    "cli",
    "daemon",
    "settings",
    "actors",
    "supervision",
    "extend",
    "observe",
    "policy",
    "store",
    "net",
    "chaos",
    "transfer",
    "wire",
];
const FOR_ALL: [&str; 2] = ["limits", "error"];

/// Lines that a file may have.
const LINES_MAX: usize = 450;

/// What the protocol's layers may use besides `std`.
const PROTOCOL_CRATES: [&str; 3] = ["bytes", "smallvec", "thiserror"];

/// What of `std` has no place in them: they are told the time, and handed octets.
const NOT_FOR_PROTOCOL: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];

struct SourceFile {
    /// Below `src`.
    path: PathBuf,
    text: String,
    /// Its text without comments, strings and characters.
    code: String,
}

impl SourceFile {
    /// The layer that it belongs to: what stands directly below `src`.
    fn layer(&self) -> String {
        self.modules().swap_remove(0)
    }

    /// The path of its module.
    fn modules(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut modules: Vec<String> =
            path.iter().map(|part| part.to_str().expect("a name in UTF-8").to_owned()).collect();
        if modules.last().is_some_and(|last| last == "mod") {
            modules.pop();
        }
        modules
    }

    fn is_test(&self) -> bool {
        self.modules().iter().any(|module| module == "tests" || module == "test_support")
    }

    /// The layers that it mentions, by `crate::` or by `super::` up to the root.
    fn layers_used(&self) -> Vec<String> {
        let mut used = children(&self.code, "crate");
        used.extend(children_of_root_by_super(&self.code, self.modules().len()));
        used
    }
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source_files() -> Vec<SourceFile> {
    fn walk(root: &Path, directory: &Path, files: &mut Vec<SourceFile>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_owned();
                files.push(SourceFile { path, code: code_of(&text), text });
            }
        }
    }
    let (root, mut files) = (manifest_dir().join("src"), Vec::new());
    walk(&root, &root, &mut files);
    assert!(files.len() > 50, "only {} files found: the test looks in the wrong place", files.len());
    files
}

/// `text` with a space for each comment, string and character.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment_length(rest).or_else(|| literal_length(rest));
        // `'a'` is a character, `'a` a lifetime; `r"` starts a string, `for"` doesn't.
        let in_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        match skipped {
            Some(length) if !(in_word && rest.starts_with(['r', 'b'])) => {
                code.push(' ');
                rest = &rest[length..];
            }
            _ => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    code
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        let here = &text[at..];
        let step = if here.starts_with("/*") {
            depth += 1;
            2
        } else if here.starts_with("*/") {
            depth -= 1;
            2
        } else {
            here.chars().next().map_or(0, char::len_utf8)
        };
        at += step;
        if depth == 0 || step == 0 {
            return Some(at);
        }
    }
}

fn literal_length(text: &str) -> Option<usize> {
    let unprefixed = text.trim_start_matches('b');
    let raw = unprefixed.strip_prefix('r').unwrap_or(unprefixed);
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let before = text.len() - raw.len();
    if raw.len() < unprefixed.len() && raw[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let content = &raw[hashes + 1..];
        return Some(before + hashes + 1 + content.find(&end)? + end.len());
    }
    let quote = unprefixed.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut escaped = false;
    for (at, character) in unprefixed.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return Some(text.len() - unprefixed.len() + at + 1);
        } else if quote == '\'' && at > 1 && !unprefixed.starts_with("'\\") {
            return None;
        }
    }
    None
}

/// The names directly below `root` that paths in `code` lead to, `root::{a::b, c}` included.
fn children(code: &str, root: &str) -> Vec<String> {
    let start = format!("{root}::");
    code.match_indices(&start)
        .filter(|(at, _)| !code[..*at].ends_with(|last: char| last.is_alphanumeric() || last == '_'))
        .flat_map(|(at, _)| names(&code[at + start.len()..]))
        .collect()
}

/// The same for as many `super::` in a row as lead from a module of `depth` to the root, or beyond.
fn children_of_root_by_super(code: &str, depth: usize) -> Vec<String> {
    let path = "super::".repeat(depth);
    code.match_indices(&path).flat_map(|(at, _)| names(code[at..].trim_start_matches("super::"))).collect()
}

/// The first name of a path, or of each path in a group.
fn names(path: &str) -> Vec<String> {
    let name = |path: &str| -> String {
        path.trim_start().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
    };
    let Some(group) = path.trim_start().strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|it: char| !(it.is_alphanumeric() || it == '_'))
}

fn height(layer: &str) -> Option<usize> {
    LAYERS.iter().rev().position(|it| *it == layer)
}

fn may_use(user: &str, used: &str) -> bool {
    match (height(user), height(used)) {
        (Some(user), Some(used)) => used <= user,
        (Some(_), None) => FOR_ALL.contains(&used),
        (None, _) => used == user || (user == "error" && used == "wire"),
    }
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let layer = file.layer();
        if matches!(&*layer, "lib" | "main") {
            continue;
        }
        let upwards = file.layers_used().into_iter().filter(|used| !may_use(&layer, used));
        wrong.extend(upwards.map(|used| format!("{} uses {used}", file.path.display())));
    }
    assert!(wrong.is_empty(), "imports that don't point down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_list() {
    for file in source_files() {
        let layer = file.layer();
        let known = LAYERS.contains(&&*layer) || FOR_ALL.contains(&&*layer);
        assert!(known || matches!(&*layer, "lib" | "main"), "{} is of no known layer", file.path.display());
        // Inside the crate there is one way to name a layer, and the other test follows that one.
        let by_name = children(&file.code, "stagecoach");
        let allowed: &[String] = if layer == "main" { &["cli".to_owned()] } else { &[] };
        assert!(by_name.iter().all(|it| allowed.contains(it)), "{}: {by_name:?}", file.path.display());
    }
}

#[test]
fn the_protocol_knows_no_actors_no_clock_and_no_input_or_output() {
    let dependencies = dependencies();
    assert!(PROTOCOL_CRATES.iter().all(|name| dependencies.iter().any(|it| it == name)), "{dependencies:?}");
    let mut wrong = Vec::new();
    let is_protocol = |file: &SourceFile| matches!(&*file.layer(), "wire" | "transfer") && !file.is_test();
    for file in source_files().iter().filter(|file| is_protocol(file)) {
        let path = file.path.display();
        let foreign = |word: &&str| {
            let is_dependency = dependencies.iter().any(|it| it == word) && !PROTOCOL_CRATES.contains(word);
            is_dependency || matches!(*word, "Instant" | "SystemTime")
        };
        // (There is a crate called `time` besides.)
        let code = file.code.replace("std::time::Duration", "");
        wrong.extend(words(&code).filter(foreign).map(|word| format!("{path} mentions {word}")));
        let of_std = children(&file.code, "std");
        let forbidden = of_std.iter().filter(|it| NOT_FOR_PROTOCOL.contains(&&***it));
        wrong.extend(forbidden.map(|it| format!("{path} mentions std::{it}")));
    }
    assert!(wrong.is_empty(), "the protocol's layers reach out:\n{}", wrong.join("\n"));
}

/// The crates that `Cargo.toml` names, as code spells them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let section = manifest.split_once("\n[dependencies]\n").expect("dependencies").1;
    let section = section.split_once("\n[").map_or(section, |(section, _)| section);
    let names = section.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

#[test]
fn command_line_parsing_stays_in_cli() {
    for file in source_files().iter().filter(|file| file.layer() != "cli") {
        let parser = words(&file.code).find(|word| matches!(*word, "structopt" | "StructOpt" | "clap"));
        assert_eq!(parser, None, "{}", file.path.display());
    }
}

#[test]
fn panics_unwind_or_nothing_is_supervised() {
    const { assert!(cfg!(panic = "unwind")) };
    for manifest in ["Cargo.toml", ".cargo/config.toml"] {
        // There may be no such configuration.
        let text = fs::read_to_string(manifest_dir().join(manifest)).unwrap_or_default();
        let mut settings = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let aborting = settings.find(|line| line.contains("panic") && line.contains("abort"));
        assert_eq!(aborting, None, "{manifest}");
    }
    let manifest = fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let release = manifest.split_once("\n[profile.release]\n").expect("a release profile").1;
    let release = release.split_once("\n[").map_or(release, |(release, _)| release);
    assert!(release.lines().any(|line| line.trim() == "panic = \"unwind\""), "release says what it needs");
}

#[test]
fn no_build_has_chaos_unless_it_is_asked_for() {
    let manifest = fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let features = manifest.split_once("\n[features]\n").expect("features").1;
    let features = features.split_once("\n[").map_or(features, |(features, _)| features);
    let mut names = Vec::new();
    for line in features.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, others)) = line.split_once('=') else { continue };
        names.push(name.trim());
        assert!(!others.contains("chaos"), "{name} turns chaos on");
    }
    assert!(names.contains(&"chaos"), "{names:?}");
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let (path, lines) = (file.path.display(), file.text.lines().count());
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines, more than {LINES_MAX}"));
        }
        // Tests say what they are by their names.
        if !file.is_test() && !file.text.starts_with("//! ") {
            wrong.push(format!("{path} doesn't start with a //! line"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn these_tests_see_what_they_look_for() {
    let code = code_of(
        "//! crate::a\n/* crate::b /* crate::c */ crate::d */ use crate::{e::{x, y}, f, g::h};\n\
         let s = \"crate::i \\\" crate::j\"; let r = r#\"crate::k \" crate::l\"#; let c = ('\"', '\\'', b'x');\n\
         fn f<'a>(x: &'a crate::m::M) -> crate :: n { not_crate::o }",
    );
    assert_eq!(children(&code, "crate"), ["e", "f", "g", "m"], "{code}");
    let code = "use super::super::actors::X; super::super::super::{cli, wire::Y}; super::near";
    assert_eq!(children_of_root_by_super(code, 2), ["actors", "cli", "wire"]);
    assert_eq!(children("use std::{time::Instant, net};", "std"), ["time", "net"]);
    assert!(may_use("daemon", "actors") && may_use("wire", "wire") && may_use("wire", "limits"));
    assert!(may_use("error", "wire") && !may_use("limits", "wire") && !may_use("error", "net"));
    assert!(!may_use("wire", "transfer") && !may_use("net", "store") && !may_use("actors", "daemon"));
    assert!(!may_use("cli", "unheard_of"));
}
