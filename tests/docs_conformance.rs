//! Checks that every test that `docs/conformance.md` names exists.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Minimum number of clauses. A parser that finds none must not pass.
const CLAUSES_AT_LEAST: usize = 180;

struct Row<'a> {
    clause: &'a str,
    tests: Vec<&'a str>,
    what: &'a str,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
            let [clause, _rfc, _level, what, tests] = cells[..] else { return None };
            // Names are in backticks: every second piece.
            let tests = tests.split('`').skip(1).step_by(2).collect();
            (clause != "clause").then_some(Row { clause, tests, what })
        })
        .collect()
}

/// Whether a file has a function of this name. The attribute, or proptest's macro, is not checked.
fn has_function(source: &str, name: &str) -> bool {
    source.split("fn ").skip(1).any(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let rows = rows(&text);
    assert!(rows.len() >= CLAUSES_AT_LEAST, "only {} clauses are found", rows.len());
    let mut wrong = Vec::new();
    let mut clauses = HashSet::new();
    for Row { clause, tests, what } in rows {
        if !clauses.insert(clause) {
            wrong.push(format!("{clause} is there twice"));
        }
        if what.is_empty() {
            wrong.push(format!("{clause} says nothing"));
        }
        for test in tests {
            let Some((file, name)) = test.split_once("::") else {
                wrong.push(format!("{clause}: {test:?} is no file::function"));
                continue;
            };
            match fs::read_to_string(root.join(file)) {
                Ok(source) if has_function(&source, name) => {}
                Ok(_) => wrong.push(format!("{clause}: {file} has no test {name}")),
                Err(error) => wrong.push(format!("{clause}: {file}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "docs/conformance.md:\n{}", wrong.join("\n"));
}

/// The reverse: the table has every clause that is in the name of a test of the running server.
#[test]
fn every_clause_in_a_test_name_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let clauses: HashSet<String> =
        rows(&text).iter().map(|row| row.clause.to_ascii_lowercase().replace('-', "_")).collect();
    let mut named = 0;
    for entry in fs::read_dir(root.join("tests")).expect("the tests") {
        let path = entry.expect("a test").path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wire_")) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a test");
        for name in source.split("\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let mut words = name.splitn(3, '_');
            let (Some(kind), Some(number)) = (words.next(), words.next()) else { continue };
            let is_clause = number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit());
            if is_clause {
                named += 1;
                let clause = format!("{kind}_{number}");
                assert!(clauses.contains(&clause), "{}: {name} is for {clause}", path.display());
            }
        }
    }
    assert!(named > 20, "only {named} tests are named for a clause");
}
