//! The architecture as a test: which module may import which, and that no file imports in a circle.
//! Owns the table of allowed imports, and the order of the rooms inside the larger modules.
//! Must not know what the code does: it reads only the paths in the sources. An arrow is an import from file to file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The top-level modules, lowest first, each with the modules it may import. A row names only rows above it.
const MODULES: &[(&str, &str)] = &[
    ("model", ""),
    ("clock", ""),
    ("config", ""),
    ("cipher", ""),
    ("telemetry", ""),
    ("terminal", ""),
    ("catalog", "model"),
    ("outbound", "model telemetry"),
    ("oauth", "outbound model telemetry"),
    ("vault", "outbound telemetry"),
    ("store", "cipher model telemetry"),
    ("identity", "oauth store outbound model config clock telemetry"),
    ("broker", "vault oauth store outbound catalog model config clock cipher telemetry"),
    ("http", "broker identity catalog outbound model config clock telemetry"),
    ("formats", "http broker outbound model telemetry"),
    ("server", "http broker identity store catalog config clock telemetry terminal model outbound cipher"),
    ("demo", "server http broker identity catalog model config clock telemetry terminal"),
    ("cli", EVERYTHING),
    ("lib", EVERYTHING),
];
const EVERYTHING: &str = "*";

/// The rooms (files and folders) inside the larger modules, lowest layer first. A room imports from its own layer and
/// from lower ones; no two rooms import each other. `*` is every room not named; without it such a room has no layer.
/// The folder's own `mod.rs` is not a room.
const ROOMS: &[(&str, &str)] = &[
    (
        "broker",
        "rules backoff persist error usage limits pending notifications handouts refusals sights key_ring open < context < \
         audit < clients < tokens < providers consent connections rotation webhooks < authenticate transfer \
         connect_links trial < jobs",
    ),
    (
        "store",
        "error key_limits token_changes postgres pooler sqlite db seal < client reads sealed_rows < key_check < handle < *",
    ),
    (
        "http",
        "denial error address brand cors checks limits request_id repoll < socket unread app < act body < caller < follow < browser api < console < people",
    ),
];

#[test]
fn knowledge_goes_down_only() {
    assert_none(&upward_arrows(&today()));
}

#[test]
fn rooms_are_in_order() {
    assert_none(&disorder_in_rooms(&today()));
}

#[test]
fn no_file_imports_in_a_circle() {
    assert_none(&circles(&today(), "These files", Some));
}

#[test]
fn the_table_is_in_order() {
    for (index, (module, allowed)) in MODULES.iter().enumerate().filter(|(_, row)| row.1 != EVERYTHING) {
        let known: Vec<_> = MODULES[..index].iter().map(|row| row.0).collect();
        let unknown: Vec<_> = allowed.split_whitespace().filter(|name| !known.contains(name)).collect();
        assert!(
            unknown.is_empty(),
            "MODULES: {module} names {unknown:?}, not above it in the table. Reorder the rows."
        );
    }
}

#[test]
fn the_rules_find_arrows_that_go_up_or_round() {
    let tree = made_up(&[
        ("lib.rs", "pub mod model; pub mod oauth; pub mod store; pub mod broker; pub mod gateway;"),
        ("model/mod.rs", "fn f() { tracing::info!(\"{}\", crate::broker::jobs::NAME); }"),
        ("oauth/mod.rs", "pub mod token; pub mod device; pub(super) struct Inner;"),
        ("oauth/token.rs", "use super::device; fn poll(pause: device::Pause) {}"),
        ("oauth/device.rs", "use crate::oauth::{token::{self as t}}; fn f() -> t::Answer { t::ask() }"),
        ("store/mod.rs", "mod db; fn open() -> db::Db { self::db::open() }"),
        ("store/db.rs", ""),
        ("broker/mod.rs", "mod clients; mod jobs;"),
        ("broker/clients.rs", "use super::jobs::*;"),
        ("broker/jobs.rs", ""),
        ("gateway.rs", ""),
    ]);
    let arrow = |from: &str, to: &str| tree.describe(from, to).trim().to_owned();
    let by_alias = arrow("oauth/device.rs", "oauth/token.rs");
    assert_eq!(by_alias, "oauth/device.rs -> oauth/token.rs: t::Answer, t::ask");
    let to_child = arrow("store/mod.rs", "store/db.rs");
    assert_eq!(to_child, "store/mod.rs -> store/db.rs: db::Db, self::db::open");
    assert_eq!(tree.arrows.len(), 5, "{:?}", tree.arrows);
    let found = faults(&tree).join("\n");
    for expected in [
        "gateway is not in the table",
        "model must not import broker",
        "In broker/, this goes up",
        "oauth/device.rs -> oauth/token.rs",
        "oauth/token.rs -> oauth/device.rs",
    ] {
        assert!(found.contains(expected), "{expected:?} is missing in:\n{found}");
    }
}

#[test]
fn tests_may_look_up() {
    let tree = made_up(&[
        ("lib.rs", "pub mod model; pub mod broker;"),
        ("model.rs", "#[cfg(test)] mod tests { use crate::broker::Broker; } #[cfg(test)] mod more_tests;"),
        ("model/more_tests.rs", "use crate::broker::Broker;"),
        ("broker.rs", ""),
    ]);
    assert!(tree.arrows.is_empty(), "{:?}", tree.arrows);
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

// The rules.

fn faults(tree: &Tree) -> Vec<String> {
    [upward_arrows(tree), disorder_in_rooms(tree), circles(tree, "These files", Some)].concat()
}

fn upward_arrows(tree: &Tree) -> Vec<String> {
    let allowed = |module: &str| MODULES.iter().find(|row| row.0 == module).map(|row| row.1);
    let tops: BTreeSet<&str> = tree.files.iter().map(|file| top_level(file)).collect();
    let unknown = tops.iter().filter(|top| allowed(top).is_none());
    let unknown = unknown.map(|top| format!("{top} is not in the table. Add it to MODULES, with what it may import."));
    let upward = tree.arrows.keys().filter_map(|(from, to)| {
        let (high, low) = (top_level(from), top_level(to));
        let may = |row: &str| row == EVERYTHING || row.split_whitespace().any(|name| name == low);
        if high == low || allowed(high).is_none_or(may) {
            return None;
        }
        let arrow = tree.describe(from, to);
        Some(format!("{high} must not import {low}. Move what both need to a lower module, or pass it in:\n{arrow}"))
    });
    unknown.chain(upward).collect()
}

fn disorder_in_rooms(tree: &Tree) -> Vec<String> {
    let faults = ROOMS.iter().flat_map(|(folder, layers)| {
        let circles = circles(tree, &format!("In {folder}/, these rooms"), |file| room(folder, file));
        [upward_rooms(tree, folder, layers), circles].concat()
    });
    faults.collect()
}

fn upward_rooms(tree: &Tree, folder: &str, layers: &str) -> Vec<String> {
    let named = |name| layers.split(" < ").position(|layer| layer.split_whitespace().any(|room| room == name));
    let layer_of = |file| room(folder, file).and_then(|room| named(room).or_else(|| named("*")));
    let upward =
        tree.arrows.keys().filter(|(from, to)| layer_of(from).zip(layer_of(to)).is_some_and(|(from, to)| from < to));
    let fault = |arrow| format!("In {folder}/, this goes up ({layers}). Move what both need to a lower room:\n{arrow}");
    upward.map(|(from, to)| fault(tree.describe(from, to))).collect()
}

/// One shortest circle for each name that is on a circle. `name_of` says what a file counts as: itself, or its room.
fn circles<'a>(tree: &'a Tree, who: &str, name_of: impl Fn(&'a str) -> Option<&'a str>) -> Vec<String> {
    let mut graph: Graph = BTreeMap::new();
    for (from, to) in tree.arrows.keys() {
        let names = name_of(from).zip(name_of(to));
        if let Some((start, end)) = names.filter(|(start, end)| start != end) {
            graph.entry(start).or_default().entry(end).or_default().push(tree.describe(from, to));
        }
    }
    let (mut faults, mut reported) = (Vec::new(), BTreeSet::new());
    for start in graph.keys() {
        let circle = shortest_circle(start, &graph).filter(|_| !reported.contains(start)).unwrap_or_default();
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let arrows: Vec<_> = steps.flat_map(|(from, to)| graph[from][to].clone()).collect();
        if !arrows.is_empty() {
            let advice = "Move the names of one step to a lower place:";
            faults.push(format!("{who} import in a circle. {advice}\n{}", arrows.join("\n")));
        }
        reported.extend(circle);
    }
    faults
}

/// From each name to the names it imports, with the arrows between them.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<String>>>;

fn shortest_circle<'a>(start: &'a str, graph: &Graph<'a>) -> Option<Vec<&'a str>> {
    let (mut ways, mut seen) = (VecDeque::from([vec![start]]), BTreeSet::new());
    while let Some(way) = ways.pop_front() {
        for next in graph.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push_back([way.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

fn top_level(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn room<'a>(folder: &str, file: &'a str) -> Option<&'a str> {
    let inside = file.strip_prefix(folder)?.strip_prefix('/')?;
    Some(top_level(inside)).filter(|room| *room != "mod")
}

// Reading the sources.

#[derive(Default)]
struct Tree {
    files: BTreeSet<String>,
    /// From one file to another, with the paths as they are written.
    arrows: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Tree {
    fn describe(&self, from: &str, to: &str) -> String {
        let names = self.arrows.get(&(from.to_owned(), to.to_owned())).into_iter().flatten();
        format!("    {from} -> {to}: {}", names.map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

fn today() -> Tree {
    read_tree(&|file| std::fs::read_to_string(format!("src/{file}")).ok())
}

fn made_up(files: &[(&str, &str)]) -> Tree {
    read_tree(&|file| files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()))
}

fn read_tree(read: &dyn Fn(&str) -> Option<String>) -> Tree {
    let mut modules = Modules::new();
    load(Vec::new(), read, &mut modules);
    let mut tree = Tree::default();
    for (from, written) in modules.values() {
        tree.files.insert(from.clone());
        for (to, name) in targets(written, &modules) {
            if to != *from {
                tree.arrows.entry((from.clone(), to)).or_default().insert(name);
            }
        }
    }
    tree
}

type Path = Vec<String>;
/// Each module with its file and the paths written there.
type Modules = BTreeMap<Path, (String, Vec<Written>)>;

/// A path as it is written, the module it is written in, and, for a `use`, the name it is imported under.
struct Written {
    module: Path,
    path: Path,
    imported_as: Option<String>,
}

/// Follows the `mod` lines from lib.rs; test modules are not followed.
fn load(module: Path, read: &dyn Fn(&str) -> Option<String>, modules: &mut Modules) {
    let name = if module.is_empty() { "lib".to_owned() } else { module.join("/") };
    let candidates = [format!("{name}.rs"), format!("{name}/mod.rs")];
    let found = candidates.into_iter().find_map(|file| read(&file).map(|text| (file, text)));
    let (file, text) = found.unwrap_or_else(|| panic!("src/{name}.rs or src/{name}/mod.rs cannot be read"));
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("src/{file} cannot be parsed: {error}"));
    let mut reader = Reader { module: module.clone(), children: Vec::new(), written: Vec::new() };
    reader.visit_file(&syntax);
    modules.insert(module, (file, reader.written));
    for child in reader.children {
        load(child, read, modules);
    }
}

/// The file of the deepest module that each path reaches. A `use` of a module alone is no arrow; paths through it are.
fn targets(written: &[Written], modules: &Modules) -> Vec<(String, String)> {
    let imports = written.iter().filter_map(|one| Some((one, one.imported_as.as_ref()?)));
    let mut aliases = BTreeMap::new();
    for (import, alias) in imports {
        if let Some(path) = absolute(import, &aliases, modules).filter(|path| modules.contains_key(path)) {
            aliases.insert(alias, path);
        }
    }
    let reached = written.iter().filter_map(|one| {
        let path = absolute(one, &aliases, modules)?;
        let is_module_alone = one.imported_as.is_some() && modules.contains_key(&path);
        let deepest = (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]))?;
        (!is_module_alone).then(|| (deepest.0.clone(), one.path.join("::")))
    });
    reached.collect()
}

/// The path from the root of the crate; `None` for a path into another crate and for a path that starts at a type.
fn absolute(written: &Written, aliases: &BTreeMap<&String, Path>, modules: &Modules) -> Option<Path> {
    let (first, rest) = written.path.split_first()?;
    let child = [written.module.as_slice(), std::slice::from_ref(first)].concat();
    let (mut start, mut rest) = match first.as_str() {
        "crate" => (Path::new(), rest),
        "self" => (written.module.clone(), rest),
        "super" => (written.module.clone(), written.path.as_slice()),
        _ if modules.contains_key(&child) => (child, rest),
        _ => (aliases.get(first)?.clone(), rest),
    };
    while rest.first().is_some_and(|name| name == "super") {
        start.pop()?;
        rest = &rest[1..];
    }
    Some([&start, rest].concat())
}

struct Reader {
    module: Path,
    children: Vec<Path>,
    written: Vec<Written>,
}

impl Reader {
    fn note(&mut self, path: Path, imported_as: Option<String>) {
        if path.len() > 1 {
            self.written.push(Written { module: self.module.clone(), path, imported_as });
        }
    }

    fn note_use(&mut self, mut path: Path, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.note_use(path, &step.tree);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.note_use(path.clone(), item)),
            syn::UseTree::Name(name) => self.note_import(path, &name.ident, None),
            syn::UseTree::Rename(name) => self.note_import(path, &name.ident, Some(&name.rename)),
            syn::UseTree::Glob(_) => {
                path.push("*".to_owned());
                self.note(path, None);
            }
        }
    }

    fn note_import(&mut self, mut path: Path, name: &syn::Ident, rename: Option<&syn::Ident>) {
        if name != "self" {
            path.push(name.to_string());
        }
        let alias = rename.map(ToString::to_string).or_else(|| path.last().cloned());
        self.note(path, alias);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(is_cfg_test) {
            return;
        }
        self.module.push(item.ident.to_string());
        if item.content.is_none() {
            self.children.push(self.module.clone());
        }
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(Path::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), None);
        visit::visit_path(self, path);
    }

    /// `pub(in crate::cli)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        for path in paths_in(tokens.clone()) {
            self.note(path, None);
        }
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
}

/// The paths inside a macro call or an attribute: names joined by `::`.
fn paths_in(tokens: TokenStream) -> Vec<Path> {
    let (mut found, mut path, mut colons) = (Vec::new(), Path::new(), 0);
    for token in tokens {
        if matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ':') {
            colons += 1;
            continue;
        }
        if colons != 2 {
            found.push(std::mem::take(&mut path));
        }
        match token {
            TokenTree::Ident(name) => path.push(name.to_string()),
            TokenTree::Group(group) => found.extend(paths_in(group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        colons = 0;
    }
    found.push(path);
    found
}
