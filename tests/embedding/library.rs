//! The library without its default features, as described by rustdoc's JSON.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::{build, run, target};

pub(crate) struct Library(Value);

impl Library {
    pub(crate) fn documented() -> Self {
        // The stable rustdoc writes JSON only where this variable is set. It is set for rustdoc
        // alone: with it, the build scripts of dependencies would choose unstable code.
        let rustdoc = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rustdoc-{}", std::process::id()));
        fs::write(&rustdoc, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n").expect("a script");
        fs::set_permissions(&rustdoc, Permissions::from_mode(0o755)).expect("a script that can be run");
        let json = ["--", "-Z", "unstable-options", "--output-format", "json"];
        run(build(&["rustdoc"]).args(json).env("RUSTDOC", &rustdoc));
        fs::remove_file(&rustdoc).expect("the script is there");
        let text = fs::read(target().join("doc/stagecoach.json")).expect("rustdoc has written it");
        Self(serde_json::from_slice(&text).expect("JSON"))
    }

    /// Each public name with its kind: `fn extend::Route::route`.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.list_module(self.item(&self.0["root"]), "", &mut names);
        names
    }

    /// Items that a program can name, and the parts of public types and traits.
    pub(crate) fn public(&self) -> impl Iterator<Item = &Value> {
        let items = self.0["index"].as_object().expect("an index").values();
        items.filter(|item| item["crate_id"] == 0 && item["visibility"] == "public")
    }

    fn item(&self, id: &Value) -> &Value {
        &self.0["index"][id.to_string()]
    }

    fn list_module(&self, module: &Value, path: &str, names: &mut BTreeSet<String>) {
        for item in list(&module["inner"]["module"]["items"]) {
            let item = self.item(item);
            let used = &item["inner"]["use"];
            if used["is_glob"] == true {
                self.list_module(self.item(&used["id"]), path, names);
            } else if let Some(alias) = used["name"].as_str() {
                self.list_item(self.item(&used["id"]), &format!("{path}{alias}"), names);
            } else if let Some(name) = name(item) {
                self.list_item(item, &format!("{path}{name}"), names);
            }
        }
    }

    fn list_item(&self, item: &Value, path: &str, names: &mut BTreeSet<String>) {
        let Some((kind, inner)) = item["inner"].as_object().and_then(|inner| inner.iter().next()) else {
            panic!("{path} is of another crate: its names are not known here");
        };
        let kind = match &**kind {
            "function" => "fn",
            "struct_field" => "field",
            "assoc_const" | "constant" => "const",
            "assoc_type" | "type_alias" => "type",
            "module" => "mod",
            other => other,
        };
        names.insert(format!("{kind} {path}"));
        if kind == "mod" {
            return self.list_module(item, &format!("{path}::"), names);
        }
        let own = list(&inner["impls"]).iter().map(|id| &self.item(id)["inner"]["impl"]);
        let own = own.filter(|it| it["trait"].is_null()).flat_map(|it| list(&it["items"]));
        // In a tuple struct, private fields are null.
        let parts =
            [&inner["items"], &inner["variants"], fields(inner)].into_iter().flat_map(list).chain(own);
        for part in parts.map(|id| self.item(id)) {
            if let Some(name) = name(part) {
                self.list_item(part, &format!("{path}::{name}"), names);
            }
        }
    }
}

pub(crate) fn name(item: &Value) -> Option<&str> {
    item["name"].as_str()
}

/// Whether a program may rely on the absence of further variants or named fields.
pub(crate) fn is_rigid(item: &Value) -> bool {
    let inner = &item["inner"];
    let plain = &inner["struct"]["kind"]["plain"];
    let may_be_made = !list(&plain["fields"]).is_empty() && plain["has_stripped_fields"] == false;
    let may_grow = may_be_made || inner["enum"].is_object();
    may_grow && !list(&item["attrs"]).iter().any(|attribute| attribute == "non_exhaustive")
}

/// The fields of a struct or of a variant.
fn fields(inner: &Value) -> &Value {
    let kind = &inner["kind"];
    let of = ["plain", "struct"].map(|shape| &kind[shape]["fields"]);
    of.into_iter().find(|fields| fields.is_array()).unwrap_or(&kind["tuple"])
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}
