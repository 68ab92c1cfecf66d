//! The engine's modules import in one direction: no two of them need one another, not even by way of others. And only the
//! tracker builds the ticket that lets a frame out.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn engine() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engine")
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, all),
            false if path.extension().is_some_and(|e| e == "rs") => all.push(path),
            false => {}
        }
    }
}

/// The module of a file: the first part of its path.
fn module(path: &Path) -> String {
    let name = path.strip_prefix(engine()).unwrap().components().next().unwrap();
    name.as_os_str().to_str().unwrap().trim_end_matches(".rs").into()
}

/// What is compiled into the library: no remarks, and nothing from the tests at the end of a file on.
fn code(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\n").into_iter().chain(text.find("\n#[cfg(all(test,")).min();
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every file of the engine but its root, by module, without tests.
fn modules() -> BTreeMap<String, String> {
    let mut all = Vec::new();
    files(&engine(), &mut all);
    let mut modules = BTreeMap::<String, String>::new();
    let is_test = |path: &Path| {
        path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    };
    for path in all.iter().filter(|path| !is_test(path) && **path != engine().join("lib.rs")) {
        *modules.entry(module(path)).or_default() += &code(&fs::read_to_string(path).unwrap());
    }
    modules
}

/// Which modules each one names, by `crate::NAME`.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let named = |own: &str, text: &str| {
        let mut found = BTreeSet::new();
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(
                modules.contains_key(&name),
                "{own} names crate::{name}, which is no module: import it from the module that has it"
            );
            found.extend(
                modules.get_key_value(&name).map(|(name, _)| name.as_str()).filter(|name| *name != own),
            );
        }
        found
    };
    modules.iter().map(|(own, text)| (own.as_str(), named(own, text))).collect()
}

/// Modules by layer: each imports from lower ones alone. An error names those that go in a circle.
fn layers<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Result<Vec<Vec<&'a str>>, Vec<&'a str>> {
    let (mut layers, mut placed) = (Vec::new(), BTreeSet::new());
    while placed.len() < imports.len() {
        let free = imports
            .iter()
            .filter(|(name, needs)| !placed.contains(*name) && needs.iter().all(|n| placed.contains(n)));
        let layer: Vec<&str> = free.map(|(name, _)| *name).collect();
        if layer.is_empty() {
            return Err(imports.keys().copied().filter(|name| !placed.contains(name)).collect());
        }
        placed.extend(layer.iter().copied());
        layers.push(layer);
    }
    Ok(layers)
}

/// docs/ARCHITECTURE.md shows the layers as they are; MILKGLASS_BLESS=1 draws them anew.
#[test]
fn modules_import_in_one_direction() {
    let modules = modules();
    let imports = imports(&modules);
    let layers = layers(&imports).unwrap_or_else(|circle| {
        let among =
            |name: &&str| imports[name].iter().filter(|n| circle.contains(n)).copied().collect::<Vec<_>>();
        let told: Vec<String> =
            circle.iter().map(|name| format!("{name} needs {}", among(name).join(", "))).collect();
        panic!("these modules need one another, or modules that do:\n{}", told.join("\n"));
    });
    let drawn: String = layers
        .iter()
        .enumerate()
        .rev()
        .map(|(n, layer)| format!(" {:>2}  {}\n", n + 1, layer.join("  ")))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- layers -->\n```\n").unwrap();
    let (_, after) = rest.split_once("```\n<!-- end of layers -->").unwrap();
    let now = format!("{before}<!-- layers -->\n```\n{drawn}```\n<!-- end of layers -->{after}");
    if std::env::var_os("MILKGLASS_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), now, "set MILKGLASS_BLESS=1");
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&'static str, &[&'static str])]| {
        edges
            .iter()
            .map(|(name, needs)| (*name, needs.iter().copied().collect()))
            .collect::<BTreeMap<_, BTreeSet<_>>>()
    };
    assert_eq!(
        layers(&graph(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])])),
        Ok(vec![vec!["a"], vec!["b"], vec!["c"]])
    );
    assert_eq!(
        layers(&graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])])),
        Err(vec!["a", "b", "c"])
    );
}

/// [I1] A cover is what lets a frame out. Its fields are private to `redact/cover.rs`, and nobody but the tracker calls what
/// makes one.
#[test]
fn only_the_tracker_builds_covers() {
    let callers = |what: &str| {
        let modules = modules();
        let all = modules.iter().filter(|(_, text)| text.contains(what)).map(|(name, _)| name.clone());
        all.collect::<Vec<_>>()
    };
    assert_eq!(callers("Cover::covered("), ["track"]);
    assert_eq!(callers("Cover::whole("), ["track"]);
}
