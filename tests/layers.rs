//! Checks the layout of the crate: imports point down, the protocol is free of I/O, panics unwind,
//! and files stay short.

#[path = "layers/graph.rs"]
mod graph;
#[path = "layers/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use graph::Graph;
use source::{SourceFile, Tests};

/// From the top to the bottom. Every layer may use `limits` and `error`.
const LAYERS: [&str; 15] = [
    "cli",
    "daemon",
    "settings",
    "testkit",
    "actors",
    "engine",
    "extend",
    "supervision",
    "observe",
    "policy",
    "store",
    "net",
    "chaos",
    "transfer",
    "wire",
];
const FOR_ALL: [&str; 2] = ["limits", "error"];

/// Maximum number of lines in a file.
const LINES_MAX: usize = 450;

/// Crates that the protocol's layers may use besides `std`.
const PROTOCOL_CRATES: [&str; 3] = ["bytes", "smallvec", "thiserror"];

/// The protocol's layers use none of the modules below in the standard library: callers pass in the
/// time and the octets.
const STANDARD: [&str; 3] = ["std", "core", "alloc"];
const NOT_FOR_PROTOCOL: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The layers that a file mentions, by `crate::` or by `super::` up to the root.
fn layers_used(file: &SourceFile) -> BTreeSet<String> {
    let module = file.module(Tests::LeftOut);
    let mut used = module.children_of("crate");
    used.extend(module.children_of_root_by_super(file.modules().len()));
    used
}

fn height(layer: &str) -> Option<usize> {
    LAYERS.iter().rev().position(|it| *it == layer)
}

fn may_use(user: &str, used: &str) -> bool {
    match (height(user), height(used)) {
        (Some(user), Some(used)) => used <= user,
        (Some(_), None) => FOR_ALL.contains(&used),
        (None, _) => used == user || (user == "error" && matches!(used, "wire" | "limits")),
    }
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for file in SourceFile::all() {
        let layer = file.layer();
        if matches!(&*layer, "lib" | "main") || file.is_test() {
            continue;
        }
        // Tests may use the layers above the tested one.
        let upwards = layers_used(&file).into_iter().filter(|used| !may_use(&layer, used));
        wrong.extend(upwards.map(|used| format!("{} uses {used}", file.path.display())));
    }
    assert!(wrong.is_empty(), "imports that don't point down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_list() {
    for file in SourceFile::all() {
        let layer = file.layer();
        let known = LAYERS.contains(&&*layer) || FOR_ALL.contains(&&*layer);
        assert!(known || matches!(&*layer, "lib" | "main"), "{} is of no known layer", file.path.display());
        // Parsing takes time, and a file without this word has no such path.
        if !file.text.contains("stagecoach") {
            continue;
        }
        // Inside the crate the other test checks paths by `crate::`.
        let by_name = file.module(Tests::Included).children_of("stagecoach");
        let allowed: &[String] = if layer == "main" { &["cli".to_owned()] } else { &[] };
        assert!(by_name.iter().all(|it| allowed.contains(it)), "{}: {by_name:?}", file.path.display());
    }
}

#[test]
fn files_do_not_import_in_circles() {
    let graph = Graph::of(&SourceFile::all());
    let (circles, files, imports) = (graph.circles(), graph.files(), graph.imports());
    for circle in &circles {
        println!("{} files: {}", circle.files.len(), circle.files.join(", "));
        circle.imports.iter().for_each(|import| println!("    {import}"));
    }
    println!("{} circles among {files} files with {imports} imports", circles.len());
    assert!(files > 150 && imports > 3 * files, "{files} files, {imports} imports: the test is blind");
    assert!(circles.is_empty(), "files import each other: a parent and its children alone may do so");
}

#[test]
fn the_protocol_uses_no_actors_clock_or_io() {
    let dependencies = dependencies();
    assert!(PROTOCOL_CRATES.iter().all(|name| dependencies.iter().any(|it| it == name)), "{dependencies:?}");
    let mut wrong = Vec::new();
    let is_protocol = |file: &SourceFile| matches!(&*file.layer(), "wire" | "transfer") && !file.is_test();
    for file in SourceFile::all().iter().filter(|file| is_protocol(file)) {
        let (path, module) = (file.path.display(), file.module(Tests::Included));
        let foreign =
            |name: &str| dependencies.iter().any(|it| it == name) && !PROTOCOL_CRATES.contains(&name);
        // The crate `time` shares its name with `std::time`, so the beginning of the path counts.
        let is_foreign_word = |word: &&str| match *word {
            "time" => !module.children_of("time").is_empty(),
            "Instant" | "SystemTime" => true,
            word => foreign(word),
        };
        let words = module.words();
        wrong.extend(words.into_iter().filter(is_foreign_word).map(|word| format!("{path} mentions {word}")));
        for library in STANDARD {
            let of_library = module.children_of(library);
            let forbidden = of_library.iter().filter(|it| *it == "*" || NOT_FOR_PROTOCOL.contains(&&***it));
            wrong.extend(forbidden.map(|it| format!("{path} mentions {library}::{it}")));
        }
    }
    assert!(wrong.is_empty(), "the protocol's layers reach out:\n{}", wrong.join("\n"));
}

/// The crates of `Cargo.toml`, as code spells them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let section = manifest.split_once("\n[dependencies]\n").expect("dependencies").1;
    let section = section.split_once("\n[").map_or(section, |(section, _)| section);
    let names = section.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

#[test]
fn command_line_parsing_stays_in_cli() {
    const PARSERS: [&str; 3] = ["structopt", "StructOpt", "clap"];
    let may_parse = |file: &SourceFile| PARSERS.iter().any(|parser| file.text.contains(parser));
    for file in SourceFile::all().iter().filter(|file| file.layer() != "cli" && may_parse(file)) {
        let module = file.module(Tests::Included);
        let words = module.words();
        let parser = PARSERS.into_iter().find(|word| words.contains(word));
        assert_eq!(parser, None, "{}", file.path.display());
    }
}

#[test]
fn panics_unwind_or_nothing_is_supervised() {
    const { assert!(cfg!(panic = "unwind")) };
    for manifest in ["Cargo.toml", ".cargo/config.toml"] {
        // The file may not exist.
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
    for file in SourceFile::all() {
        let (path, lines) = (file.path.display(), file.text.lines().count());
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines, more than {LINES_MAX}"));
        }
        // The names of tests say what they test.
        if !file.is_test() && !file.text.starts_with("//! ") {
            wrong.push(format!("{path} doesn't start with a //! line"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_attribute_leads_out_of_src() {
    for file in SourceFile::all().iter().filter(|file| file.text.contains("path")) {
        assert!(!has_path_out_of_src(file), "{} has a #[path] out of src", file.path.display());
    }
}

/// A path inside of `mod a { ... }` begins one directory further down. The test ignores this, which
/// makes it stricter.
fn has_path_out_of_src(file: &SourceFile) -> bool {
    let module = file.module(Tests::Included);
    let directory = file.path.parent().expect("a file is in a directory");
    module.path_attributes().into_iter().any(|path| {
        let mut depth = 0;
        directory.join(path).components().any(|component| {
            depth += if component == Component::ParentDir { -1 } else { 1 };
            depth < 0 || component == Component::RootDir
        })
    })
}

#[test]
fn a_path_out_of_src_is_seen() {
    let leads_out = |attribute: &str| {
        let text = format!("mod outer {{ {attribute} mod inner; }}");
        has_path_out_of_src(&SourceFile::new("net/sys/linux.rs", &text))
    };
    assert!(leads_out("#[path = \"../../../tests/a.rs\"]") && leads_out("#[path = \"/a.rs\"]"));
    assert!(leads_out("#[cfg(test)] #[path = r\"../b/../../../a.rs\"]"));
    assert!(leads_out("#[cfg_attr(test, allow(dead_code), path = \"../../../a.rs\")]"));
    assert!(!leads_out("#[path = \"../../a.rs\"]") && !leads_out("#[path = \"a/../../b.rs\"]"));
    assert!(!leads_out("#[doc = \"../../../../a.rs\"]"));
}

#[test]
fn the_checks_find_known_violations() {
    let file = |text: &str| SourceFile::new("actors/registry.rs", text);
    let code = file(
        "//! crate::a\n/* crate::b /* crate::c */ crate::d */ use crate::{e::{x, y}, f, g::h as other, i::*};\n\
         const S: &str = \"crate::j \\\" crate::k\"; const R: &str = r#\"crate::l \" crate::m\"#;\n\
         #[derive(crate::n::N)] struct T { #[flag(parse = crate::o::parse)] t: Vec<dyn crate::p::P> }\n\
         impl<'a> crate::q::Q<'a> for T where T: crate::r::R { fn f(&'a self) -> crate :: s :: S { crate::t() } }\n\
         fn g() { use crate::u::U; vec![crate::v::v(), not_crate::no]; m!(a: ::std::mem; {crate::w::{x, y}}); }\n\
         macro_rules! m { () => { $crate::x::<u8>::x!() } } mod inside { use crate::y; }\n\
         #[cfg(test)] mod tests { pub(in crate::no) use crate::z::Z; }",
    );
    let seen = |tests| code.module(tests).children_of("crate").into_iter().collect::<String>();
    assert_eq!(seen(Tests::Included), "efginopqrstuvwxyz");
    assert_eq!(seen(Tests::LeftOut), "efginopqrstuvwxy");
    let code = file(
        "use super::super::actors::X; use super::super::super::{cli, wire::Y}; use super::near;\n\
         mod inside { use super::super::near; use super::super::super::net; }",
    );
    assert_eq!(layers_used(&code).into_iter().collect::<Vec<_>>(), ["actors", "cli", "net", "wire"]);
    let code =
        file("use std::{time::Instant, net}; fn f() { m![::core::mem::swap] }").module(Tests::Included);
    assert_eq!(code.children_of("std").into_iter().collect::<Vec<_>>(), ["net", "time"]);
    assert!(code.children_of("core").contains("mem") && code.words().contains("Instant"));
    assert!(may_use("daemon", "actors") && may_use("wire", "wire") && may_use("wire", "limits"));
    assert!(may_use("error", "wire") && !may_use("limits", "wire") && !may_use("error", "net"));
    assert!(!may_use("wire", "transfer") && !may_use("net", "store") && !may_use("actors", "daemon"));
    assert!(!may_use("cli", "unheard_of"));
}
