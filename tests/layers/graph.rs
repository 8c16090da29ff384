//! Which files import from which: names are followed through `use` to the file that defines the
//! item.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Module, SourceFile, Tests};

/// The path of a module from the root of the crate. The path of its module identifies a file.
type ModulePath = Vec<String>;

pub(crate) struct Graph {
    /// Each file, and the files that it imports from.
    edges: BTreeMap<ModulePath, BTreeSet<ModulePath>>,
}

/// Files that all import each other, directly or through others.
pub(crate) struct Circle {
    pub(crate) files: Vec<String>,
    /// The imports among them, as `from -> to`.
    pub(crate) imports: Vec<String>,
}

impl Graph {
    /// The imports among the files of the library. Left out are tests, and imports between a module
    /// and the modules inside it.
    pub(crate) fn of(files: &[SourceFile]) -> Self {
        let names = Names::of(files);
        let mut edges: BTreeMap<ModulePath, BTreeSet<ModulePath>> = BTreeMap::new();
        for (at, place) in &names.places {
            let own = edges.entry(place.file.clone()).or_default();
            for path in place.module.paths() {
                own.extend(names.files_of(at, path).into_iter().filter(|to| !is_family(&place.file, to)));
            }
        }
        Self { edges }
    }

    pub(crate) fn files(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn imports(&self) -> usize {
        self.edges.values().map(BTreeSet::len).sum()
    }

    /// The strongly connected components of more than one file, the largest first.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        let reached: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.edges.keys().map(|file| (file, self.reached_from(file))).collect();
        let (mut circles, mut seen) = (Vec::new(), BTreeSet::new());
        for (file, to) in &reached {
            let files: BTreeSet<_> =
                to.iter().copied().filter(|other| reached[other].contains(file)).collect();
            if !files.is_empty() && seen.insert(files.clone()) {
                circles.push(self.circle(&files));
            }
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
        circles
    }

    /// The files that imports lead to from `file`.
    fn reached_from<'a>(&'a self, file: &'a ModulePath) -> BTreeSet<&'a ModulePath> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![file]);
        while let Some(from) = next.pop() {
            next.extend(self.edges[from].iter().filter(|to| reached.insert(*to)));
        }
        reached
    }

    fn circle(&self, files: &BTreeSet<&ModulePath>) -> Circle {
        let imports = files.iter().flat_map(|from| {
            let inside = self.edges[*from].iter().filter(|to| files.contains(to));
            inside.map(|to| import(from, to))
        });
        Circle { imports: imports.collect(), files: files.iter().map(|file| file.join("::")).collect() }
    }
}

fn import(from: &ModulePath, to: &ModulePath) -> String {
    format!("{} -> {}", from.join("::"), to.join("::"))
}

/// Whether they are the same file, or one is a module inside the other.
fn is_family(one: &ModulePath, other: &ModulePath) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// All modules of the library, to look names up in.
struct Names {
    places: BTreeMap<ModulePath, Place>,
}

struct Place {
    file: ModulePath,
    module: Module,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Module(ModulePath),
    /// An item, by the file that defines it.
    Item(ModulePath),
}

impl Names {
    fn of(files: &[SourceFile]) -> Self {
        let mut modules: BTreeMap<ModulePath, Module> = BTreeMap::new();
        // `main.rs` is a crate of its own.
        for file in files.iter().filter(|file| !file.is_test() && file.layer() != "main") {
            let path = if file.layer() == "lib" { Vec::new() } else { file.modules() };
            modules.insert(path, file.module(Tests::LeftOut));
        }
        let mut names = Self { places: BTreeMap::new() };
        let root = modules.remove(&Vec::new()).expect("src/lib.rs");
        names.add(Vec::new(), &Vec::new(), root, &mut modules);
        names
    }

    /// Adds a module and all that it declares. A file that is declared under `#[cfg(test)]` alone
    /// stays out.
    fn add(
        &mut self,
        at: ModulePath,
        file: &ModulePath,
        mut module: Module,
        others: &mut BTreeMap<ModulePath, Module>,
    ) {
        for (name, content) in &mut module.children {
            let child = [&*at, std::slice::from_ref(name)].concat();
            match content.take() {
                Some(content) => self.add(child, file, content, others),
                None => {
                    if let Some(content) = others.remove(&child) {
                        self.add(child.clone(), &child, content, others);
                    }
                }
            }
        }
        self.places.insert(at, Place { file: file.clone(), module });
    }

    /// The files that `path` leads to from the module `at`: several if several items have the name,
    /// such as a type and a function, or a type for each of two features. None if the path leads to
    /// another crate, or begins with a name that the module doesn't have.
    fn files_of(&self, at: &ModulePath, path: &[String]) -> BTreeSet<ModulePath> {
        let found = self.resolve(at, path, &mut BTreeSet::new());
        let files = found.into_iter().map(|found| match found {
            Found::Module(module) => self.places[&module].file.clone(),
            Found::Item(file) => file,
        });
        files.collect()
    }

    /// `seen` are the names that are being looked up: globs may lead to each other.
    fn resolve<'a>(
        &'a self,
        at: &'a ModulePath,
        path: &'a [String],
        seen: &mut BTreeSet<(ModulePath, &'a str)>,
    ) -> BTreeSet<Found> {
        let mut found = BTreeSet::from([Found::Module(at.clone())]);
        for (index, name) in path.iter().enumerate() {
            let step = |found| match (found, &**name) {
                (_, "crate") => vec![Found::Module(Vec::new())],
                (found, "self") => vec![found],
                (Found::Module(mut module), "super") => {
                    module.pop();
                    vec![Found::Module(module)]
                }
                (Found::Module(module), name) => {
                    let next = self.look_up(&module, name, seen);
                    if next.is_empty() && index > 0 {
                        // A macro may have defined it.
                        vec![Found::Item(self.places[&module].file.clone())]
                    } else {
                        next
                    }
                }
                // A variant, or an associated item.
                (item, _) => vec![item],
            };
            found = found.into_iter().flat_map(step).collect();
        }
        found
    }

    fn look_up<'a>(
        &'a self,
        module: &ModulePath,
        name: &'a str,
        seen: &mut BTreeSet<(ModulePath, &'a str)>,
    ) -> Vec<Found> {
        let (at, place) = self.places.get_key_value(module).expect("a module that was found");
        if !seen.insert((module.clone(), name)) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let child = [&**module, &[name.to_owned()]].concat();
        if self.places.contains_key(&child) {
            found.push(Found::Module(child));
        }
        if place.module.items.contains(name) {
            found.push(Found::Item(place.file.clone()));
        }
        for (_, path) in place.module.imports.iter().filter(|(own, _)| own == name) {
            found.extend(self.resolve(at, path, seen));
        }
        if found.is_empty() {
            for (_, path) in place.module.imports.iter().filter(|(own, _)| own == "*") {
                let modules = self.resolve(at, path, seen);
                for found_at in modules {
                    if let Found::Module(glob) = found_at {
                        found.extend(self.look_up(&glob, name, seen));
                    }
                }
            }
        }
        seen.remove(&(module.clone(), name));
        found
    }
}

#[test]
fn the_graph_sees_what_it_looks_for() {
    let files = [
        (
            "lib.rs",
            "mod house; #[path = \"x\"] mod barn; mod glob; mod glob_too; #[cfg(test)] mod trial;\n\
             #[cfg(unix)] pub use barn::Hay as Feed; #[cfg(not(unix))] pub use glob::Oats as Feed; struct Root;",
        ),
        (
            "house/mod.rs",
            "mod attic; mod cellar; mod door; pub use self::cellar::Cask; use self::door as way; struct Wall;",
        ),
        // By a re-export of the parent, and in the tokens of a macro.
        ("house/attic.rs", "use std::cellar::X; use super::Cask; fn f() { let x = Cask::new(); }"),
        ("house/cellar.rs", "pub struct Cask; fn f() { vec![(super::attic::X::Y, super::Wall)] }"),
        // Parents, children, and tests don't count.
        (
            "house/door.rs",
            "use super::Wall; use crate::Root; mod lock; use self::lock::Key; pub struct Hinge;\n\
             #[cfg(test)] mod tests { use crate::barn::Hay; } #[cfg(all(test, unix))] use crate::barn::Hay;",
        ),
        ("house/door/lock.rs", "use super::Hinge; pub struct Key; pub(in crate::house) struct Bolt;"),
        ("house/door/tests.rs", "use crate::barn::Hay;"),
        ("trial.rs", "use crate::barn::Hay;"),
        // From a module inside a file, through a module by another name, and to two items of one
        // name.
        ("barn.rs", "pub struct Hay; mod inside { use super::super::house::way::Hinge; }"),
        ("main.rs", "mod house;"),
        ("glob.rs", "pub use crate::glob_too::*; pub struct Oats; fn f() -> crate::Feed {}"),
        ("glob_too.rs", "pub use crate::glob::*; fn f() { crate::glob::Nowhere }"),
    ];
    let files = files.map(|(path, text)| SourceFile::new(path, text));
    let graph = Graph::of(&files);
    let imports: Vec<_> =
        graph.edges.iter().flat_map(|(from, to)| to.iter().map(|to| import(from, to))).collect();
    let expected = [
        "barn -> house::door",
        "glob -> barn",
        "glob -> glob_too",
        "glob_too -> glob",
        "house::attic -> house::cellar",
        "house::cellar -> house::attic",
    ];
    assert_eq!(imports, expected);
    let circles: Vec<_> = graph.circles().into_iter().map(|circle| (circle.files, circle.imports)).collect();
    let circle = |files: [&str; 2], imports: &[&str]| {
        (files.map(str::to_owned).to_vec(), imports.iter().map(|&import| import.to_owned()).collect())
    };
    let globs = circle(["glob", "glob_too"], &expected[2..4]);
    assert_eq!(circles, [globs, circle(["house::attic", "house::cellar"], &expected[4..])]);
}
