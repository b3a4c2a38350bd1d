//! The arrows from file to file, and the circles among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use super::modules::{Import, ModulePath, Modules};

/// The limit of re-exports that one name may lead through.
const DEPTH: usize = 16;

/// The files of a crate, each with the files that it imports from.
#[derive(Debug, Default)]
pub(super) struct Graph<'m> {
    /// One import for each arrow, as written.
    arrows: BTreeMap<&'m Path, BTreeMap<&'m Path, String>>,
}

impl<'m> Graph<'m> {
    pub(super) fn new(modules: &'m Modules) -> Self {
        let mut graph = Self::default();
        for file in modules.files.values() {
            graph.arrows.entry(file).or_default();
        }
        for import in &modules.imports {
            let Some(target) = resolve(modules, &import.module, &import.path, DEPTH) else {
                continue;
            };
            let is_child = target.starts_with(&import.module);
            let (from, to) = (&modules.files[&import.module], &modules.files[&target]);
            if from != to && !(import.public && is_child) {
                let text = import.path.join("::");
                graph.arrows.entry(from).or_default().entry(to).or_insert(text);
            }
        }
        graph
    }

    pub(super) fn len(&self) -> usize {
        self.arrows.len()
    }

    /// Returns a paragraph for each circle: its size, and a line for each of its arrows.
    /// Files are shown below `folder`.
    pub(super) fn circles(&self, folder: &Path) -> String {
        let reached: BTreeMap<_, _> =
            self.arrows.keys().map(|file| (*file, self.reached(file))).collect();
        let mut left: BTreeSet<&Path> = self.arrows.keys().copied().collect();
        let mut text = String::new();
        while let Some(first) = left.pop_first() {
            let circle: BTreeSet<_> = reached[first]
                .iter()
                .copied()
                .filter(|file| reached[file].contains(first))
                .collect();
            if circle.is_empty() {
                continue;
            }
            left.retain(|file| !circle.contains(file));
            let _ = writeln!(text, "a circle of {} files:", circle.len());
            for from in &circle {
                for (to, import) in self.arrows[from].iter().filter(|(to, _)| circle.contains(*to))
                {
                    let (from, to) = (folder.join(from), folder.join(to));
                    let _ = writeln!(text, "  {} -> {}: {import}", from.display(), to.display());
                }
            }
        }
        text
    }

    /// Returns all files that arrows lead to from `file`.
    fn reached(&self, file: &'m Path) -> BTreeSet<&'m Path> {
        let mut reached = BTreeSet::new();
        let mut open = vec![file];
        while let Some(file) = open.pop() {
            open.extend(self.arrows[file].keys().copied().filter(|file| reached.insert(*file)));
        }
        reached
    }
}

/// Returns the module with the item that `path` names in `module`, or `None` for a path
/// into another crate. A re-export leads to the module of the item.
fn resolve(
    modules: &Modules,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<ModulePath> {
    let mut at = module.to_vec();
    let mut is_local = false;
    for (index, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => {
                at.push(name.to_owned());
                if !modules.files.contains_key(&at) {
                    at.pop();
                    let import = imported(modules, &at, name).filter(|_| depth > 0);
                    let found = import.and_then(|import| {
                        let path = [&import.path, &path[index + 1..]].concat();
                        resolve(modules, &import.module, &path, depth - 1)
                    });
                    return found.or_else(|| is_local.then_some(at));
                }
            }
        }
        is_local = true;
    }
    Some(at)
}

fn imported<'m>(modules: &'m Modules, module: &[String], name: &str) -> Option<&'m Import> {
    modules
        .imports
        .iter()
        .find(|import| import.module == module && import.name.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{super::modules::Modules, Graph};

    /// Returns the circles of a crate with these files.
    fn circles(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Graph::new(&Modules::read(folder.path()).unwrap()).circles(Path::new("src"))
    }

    #[test]
    fn circle_of_two_files_names_its_imports() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use std::fmt;\nuse crate::b::B;\npub struct A;"),
            ("b.rs", "use crate::{a::{self, A}};\npub struct B;"),
        ];
        let expected = "a circle of 2 files:\n  src/a.rs -> src/b.rs: crate::b::B\n  \
                        src/b.rs -> src/a.rs: crate::a\n";
        assert_eq!(circles(&files), expected);
    }

    #[test]
    fn circle_of_three_files_is_found() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn b() { crate::c::c() }"),
            ("c.rs", "use super::a::A as _;"),
            ("d.rs", "use crate::a::A;"),
        ];
        let found = circles(&files);
        assert!(found.starts_with("a circle of 3 files:\n") && !found.contains("d.rs"), "{found}");
    }

    #[test]
    fn parent_may_declare_and_re_export_its_children() {
        let parent = "mod b;\npub(crate) use self::b::B;\npub struct A;";
        let files = |parent| {
            [("lib.rs", "mod a;"), ("a/mod.rs", parent), ("a/b.rs", "use super::A;\npub struct B;")]
        };
        assert_eq!(circles(&files(parent)), "");
        let importing = parent.replace("pub(crate) use", "use");
        assert!(circles(&files(&importing)).contains("src/a/mod.rs -> src/a/b.rs: self::b::B"));
    }

    #[test]
    fn re_export_leads_to_the_defining_file() {
        let files = [
            ("lib.rs", "mod a; mod d;"),
            ("a/mod.rs", "mod b; mod c;\npub use b::B;"),
            ("a/b.rs", "use crate::d::D;"),
            ("a/c.rs", ""),
            ("d.rs", "use crate::a::B;"),
        ];
        assert!(circles(&files).contains("src/d.rs -> src/a/b.rs: crate::a::B"));
    }

    #[test]
    fn super_leads_to_the_parent_module() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod c;"),
            ("a/c.rs", "use super::super::b::B;"),
            ("b.rs", "mod inner { use super::super::a::c::C; }"),
        ];
        assert!(circles(&files).contains("src/a/c.rs -> src/b.rs: super::super::b::B"));
    }

    #[test]
    fn code_of_tests_does_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "#[cfg(test)]\nuse crate::a::A;\n#[cfg(test)]\nmod tests { use crate::a::A; }",
            ),
        ];
        assert_eq!(circles(&files), "");
    }

    #[test]
    fn scope_of_a_visibility_is_no_import() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b;\nuse self::b::B;"),
            ("a/b.rs", "pub(super) struct B;\npub(in crate::a) fn b() {}"),
        ];
        assert_eq!(circles(&files), "");
    }
}
