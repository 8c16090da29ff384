//! Checks that every promise of docs/supervision.md and docs/extending.md, and every attack in
//! docs/security.md, names tests that exist.

use std::fs;
use std::path::Path;

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page, the heading of its list, and the minimum length of the list.
struct Page {
    path: &'static str,
    heading: &'static str,
    tests_min: usize,
    items_min: usize,
}

const PAGES: [Page; 3] = [
    Page { path: "docs/supervision.md", heading: "## What is promised", tests_min: 20, items_min: 15 },
    Page { path: "docs/extending.md", heading: "## Misbehaving extensions", tests_min: 36, items_min: 29 },
    Page { path: "docs/security.md", heading: "## What attackers try", tests_min: 25, items_min: 14 },
];

fn text(page: &Page) -> String {
    fs::read_to_string(manifest_dir().join(page.path)).unwrap()
}

/// The names in backticks of the form `file.rs::name`.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once(".rs::").map(|_| code))
        .map(split)
        .collect()
}

fn split(code: &str) -> (&str, &str) {
    code.split_once("::").unwrap_or_else(|| panic!("{code} names no test"))
}

/// The list items below `heading`, up to the next heading of its level. An item ends at the next
/// one, or at an empty line.
fn promises<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("{heading} is gone"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let items = section.split("\n- ").skip(1).filter_map(|item| item.split("\n\n").next());
    items.map(str::trim_end).collect()
}

/// Whether `source` has a test function of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declared = [format!("fn {name}("), format!("async fn {name}(")];
    lines.iter().enumerate().any(|(at, line)| {
        declared.iter().any(|declared| line.starts_with(declared))
            && lines[at.saturating_sub(3)..at]
                .iter()
                .any(|line| line.starts_with("#[") && line.contains("test"))
    })
}

#[test]
fn every_test_that_a_page_names_exists() {
    for page in &PAGES {
        let text = text(page);
        let named = tests_named(&text);
        let path = page.path;
        assert!(named.len() > page.tests_min, "only {} tests in {path}: is it read right?", named.len());
        for (file, name) in named {
            let source =
                fs::read_to_string(manifest_dir().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(has_test(&source, name), "{path} promises what no test holds: {file} has no test {name}");
        }
    }
}

#[test]
fn every_promise_names_a_test() {
    for page in &PAGES {
        let text = text(page);
        let promises = promises(&text, page.heading);
        assert!(promises.len() >= page.items_min, "only {} items in {}", promises.len(), page.path);
        for promise in promises {
            assert!(!tests_named(promise).is_empty(), "this names no test: {promise}");
        }
    }
}

/// The pages for users.
fn pages() -> Vec<std::path::PathBuf> {
    let docs = fs::read_dir(manifest_dir().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|it| it == "md"));
    pages.chain([manifest_dir().join("README.md")]).collect()
}

#[test]
fn rust_code_of_a_page_is_compiled_with_the_doc_tests() {
    let manual = fs::read_to_string(manifest_dir().join("src/extend/mod.rs")).unwrap();
    let mut found = 0;
    for page in pages() {
        if fs::read_to_string(&page).unwrap().contains("```rust") {
            let name = page.file_name().unwrap().to_str().unwrap();
            assert!(
                manual.contains(&format!("include_str!(\"../../docs/{name}\")")),
                "{name} isn't included"
            );
            found += 1;
        }
    }
    assert!(found > 0, "docs/extending.md has some");
}

#[test]
fn the_checks_find_known_violations() {
    assert_eq!(tests_named("as `tests/a.rs::b` and `c` say"), [("tests/a.rs", "b")]);
    assert!(has_test("#[test]\nfn b() {}", "b") && has_test("#[tokio::test]\nasync fn b() {}", "b"));
    assert!(!has_test("#[test]\nfn bc() {}", "b") && !has_test("fn b() {}", "b"));
    let page = "## A\n\n- one\n  `a`\n- two\n\n### a\n\n- three\n\n## B\n\n- four";
    assert_eq!(promises(page, "## A"), ["one\n  `a`", "two", "three"]);
}
