//! The files below `src`, parsed: the modules in them, and the paths that their code mentions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, Meta, Token, UseTree};

pub(crate) struct SourceFile {
    /// Below `src`.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        Self { path: path.into(), text: text.to_owned() }
    }

    /// All files below `src`.
    pub(crate) fn all() -> Vec<Self> {
        fn walk(root: &Path, directory: &Path, files: &mut Vec<SourceFile>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, files);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    files.push(SourceFile::new(path.strip_prefix(root).unwrap(), &text));
                }
            }
        }
        let (root, mut files) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
        walk(&root, &root, &mut files);
        assert!(files.len() > 50, "only {} files found: the test looks in the wrong place", files.len());
        files
    }

    /// The layer that the file belongs to: the first name below `src`.
    pub(crate) fn layer(&self) -> String {
        self.modules().swap_remove(0)
    }

    /// The path of the file's module. (For `lib.rs` and `main.rs` this is the file's name.)
    pub(crate) fn modules(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut modules: Vec<String> =
            path.iter().map(|part| part.to_str().expect("a name in UTF-8").to_owned()).collect();
        if modules.last().is_some_and(|last| last == "mod") {
            modules.pop();
        }
        modules
    }

    pub(crate) fn is_test(&self) -> bool {
        self.modules().iter().any(|module| module == "tests" || module == "test_support")
    }

    /// Parses the file, with the code of tests or without it. This takes time: a debug build parses
    /// some 30000 lines a second.
    ///
    /// # Panics
    /// If it is not Rust.
    pub(crate) fn module(&self, tests: Tests) -> Module {
        let parsed = syn::parse_file(&self.text);
        let file = parsed.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let mut module = Module::default();
        Reader { module: &mut module, tests }.visit_file(&file);
        module
    }
}

/// What becomes of code under `#[cfg(test)]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    Included,
    LeftOut,
}

/// A module, as its text has it.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The modules declared in it. One that is a file of its own has no content here.
    pub(crate) children: BTreeMap<String, Option<Self>>,
    /// The items defined in it, beside modules.
    pub(crate) items: BTreeSet<String>,
    /// Names that `use` brings into it, and their paths. The name of a glob is `*`.
    pub(crate) imports: Vec<(String, Vec<String>)>,
    /// Paths that code mentions outside `use`, of at least two segments; those in macros' tokens
    /// too.
    mentions: BTreeSet<Vec<String>>,
    /// Every identifier.
    words: BTreeSet<String>,
    /// The values of `#[path = "..."]`.
    path_attributes: Vec<String>,
}

impl Module {
    /// All paths that its code mentions, in `use` or elsewhere. Modules within the module are left
    /// out.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &[String]> {
        let imports = self.imports.iter().map(|(_, path)| &**path);
        imports.chain(self.mentions.iter().map(|path| &**path))
    }

    /// The module and all modules in the same file, each with the number of modules around it
    /// there.
    pub(crate) fn nested(&self) -> Vec<(usize, &Self)> {
        let mut all = vec![(0, self)];
        for child in self.children.values().flatten() {
            all.extend(child.nested().into_iter().map(|(depth, module)| (depth + 1, module)));
        }
        all
    }

    /// The names directly below `root` that paths in the file lead to.
    pub(crate) fn children_of(&self, root: &str) -> BTreeSet<String> {
        let modules = self.nested();
        let paths = modules.iter().flat_map(|(_, module)| module.paths());
        let below = paths.filter(|path| path[0] == root);
        below.map(|path| path.get(1).map_or("*", |name| name).to_owned()).collect()
    }

    /// The same for as many `super::` as lead from the file's module, `depth` modules below the
    /// root, to the root or beyond.
    pub(crate) fn children_of_root_by_super(&self, depth: usize) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (inside, module) in self.nested() {
            for path in module.paths() {
                let (ups, rest) = path.split_at(path.iter().take_while(|name| *name == "super").count());
                if ups.len() >= depth + inside {
                    names.insert(rest.first().map_or("*", |name| name).to_owned());
                }
            }
        }
        names
    }

    pub(crate) fn words(&self) -> BTreeSet<&str> {
        self.nested().iter().flat_map(|(_, module)| &module.words).map(|word| &**word).collect()
    }

    pub(crate) fn path_attributes(&self) -> Vec<&str> {
        self.nested().iter().flat_map(|(_, module)| &module.path_attributes).map(|path| &**path).collect()
    }
}

struct Reader<'a> {
    module: &'a mut Module,
    tests: Tests,
}

impl Reader<'_> {
    fn is_left_out(&self, attributes: &[Attribute]) -> bool {
        self.tests == Tests::LeftOut && attributes.iter().any(is_cfg_test)
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let path_to = |name: &Ident| [before, &[name.to_string()]].concat();
        let imports = &mut self.module.imports;
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &path_to(&path.ident)),
            UseTree::Name(name) if name.ident == "self" && !before.is_empty() => {
                imports.push((before[before.len() - 1].clone(), before.to_vec()));
            }
            UseTree::Name(name) => imports.push((name.ident.to_string(), path_to(&name.ident))),
            UseTree::Rename(name) if name.ident == "self" && !before.is_empty() => {
                imports.push((name.rename.to_string(), before.to_vec()));
            }
            UseTree::Rename(name) => imports.push((name.rename.to_string(), path_to(&name.ident))),
            UseTree::Glob(_) if before.is_empty() => {}
            UseTree::Glob(_) => imports.push(("*".to_owned(), before.to_vec())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
        }
    }

    fn mention(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.module.mentions.insert(path);
        }
    }

    /// Finds paths where no syntax is known: in what a macro or an attribute is given. Each path
    /// begins with `before`, as in `use a::{b, c}`.
    fn tokens(&mut self, tokens: TokenStream, before: &[String]) {
        let (mut path, mut is_open) = (Vec::new(), false);
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let after_colons = std::mem::take(&mut is_open);
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    self.module.words.insert(name.clone());
                    if !after_colons {
                        self.mention(std::mem::replace(&mut path, before.to_vec()));
                    }
                    path.push(name);
                    continue;
                }
                TokenTree::Punct(colon) if colon.as_char() == ':' && colon.spacing() == Spacing::Joint => {
                    is_open = tokens
                        .next_if(|next| matches!(next, TokenTree::Punct(next) if next.as_char() == ':'))
                        .is_some();
                    if is_open {
                        continue;
                    }
                }
                TokenTree::Group(group) => {
                    let is_path = after_colons && group.delimiter() == Delimiter::Brace;
                    let before = if is_path { std::mem::take(&mut path) } else { Vec::new() };
                    self.tokens(group.stream(), &before);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            self.mention(std::mem::take(&mut path));
        }
        self.mention(path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = head(item);
        if self.is_left_out(attributes) {
            return;
        }
        // (What a function defines for itself counts as the module's: the names are only looked up
        // here.)
        self.module.items.extend(name.map(Ident::to_string));
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(it) => &*it.attrs,
            ImplItem::Fn(it) => &it.attrs,
            ImplItem::Type(it) => &it.attrs,
            ImplItem::Macro(it) => &it.attrs,
            _ => &[],
        };
        if !self.is_left_out(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.visit_ident(&item.ident);
        for attribute in &item.attrs {
            self.visit_attribute(attribute);
            self.module.path_attributes.extend(path_attribute(&attribute.meta));
        }
        let content = item.content.as_ref().map(|(_, items)| {
            let mut module = Module::default();
            let mut reader = Reader { module: &mut module, tests: self.tests };
            items.iter().for_each(|item| reader.visit_item(item));
            module
        });
        self.module.children.insert(item.ident.to_string(), content);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
        visit::visit_item_use(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(in crate::x)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.module.words.insert(ident.to_string());
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone(), &[]);
    }
}

/// The attributes of an item, and the name that it defines; modules, `use` and `impl` define none
/// here.
fn head(item: &Item) -> (&[Attribute], Option<&Ident>) {
    match item {
        Item::Const(it) => (&it.attrs, Some(&it.ident)),
        Item::Enum(it) => (&it.attrs, Some(&it.ident)),
        Item::Fn(it) => (&it.attrs, Some(&it.sig.ident)),
        Item::Macro(it) => (&it.attrs, it.ident.as_ref()),
        Item::Static(it) => (&it.attrs, Some(&it.ident)),
        Item::Struct(it) => (&it.attrs, Some(&it.ident)),
        Item::Trait(it) => (&it.attrs, Some(&it.ident)),
        Item::TraitAlias(it) => (&it.attrs, Some(&it.ident)),
        Item::Type(it) => (&it.attrs, Some(&it.ident)),
        Item::Union(it) => (&it.attrs, Some(&it.ident)),
        Item::ExternCrate(it) => (&it.attrs, None),
        Item::ForeignMod(it) => (&it.attrs, None),
        Item::Impl(it) => (&it.attrs, None),
        Item::Mod(it) => (&it.attrs, None),
        Item::Use(it) => (&it.attrs, None),
        _ => (&[], None),
    }
}

/// Whether it is `#[cfg(test)]`, or `#[cfg(all(test, ...))]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    fn needs_test(meta: &Meta) -> bool {
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => metas(list).iter().any(needs_test),
            _ => false,
        }
    }
    attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|meta| needs_test(&meta))
}

/// The value of `path = "..."`, in `cfg_attr` too.
fn path_attribute(meta: &Meta) -> Vec<String> {
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => {
            let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(value), .. }) = &pair.value else {
                panic!("a path attribute without a string")
            };
            vec![value.value()]
        }
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            metas(list).iter().flat_map(path_attribute).collect()
        }
        _ => Vec::new(),
    }
}

fn metas(list: &syn::MetaList) -> Vec<Meta> {
    let metas = list.parse_args_with(syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated);
    metas.map_or_else(|_| Vec::new(), |metas| metas.into_iter().collect())
}
