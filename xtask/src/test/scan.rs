//! The search for ignored tests in the sources of the workspace.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use image_swap_testbed::Group;

use super::source::{Mistake, Module, Source};
use crate::packages::Package;

/// A test that needs parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    /// The package that the test belongs to.
    pub(crate) package: String,
    /// The name that test runners print: modules and function.
    pub(crate) name: String,
    /// The parts that the test needs.
    pub(crate) group: Group,
}

/// Finds every ignored test of `packages`, sorted.
///
/// # Errors
/// A file cannot be read, or an attribute does not name a group. The error lists all such
/// attributes with file and line.
pub(crate) fn tests(root: &Path, packages: &[Package]) -> Result<Vec<Test>> {
    let mut scan = Scan::new(root);
    for package in packages {
        scan.package(package)?;
    }
    if !scan.mistakes.is_empty() {
        bail!("{}", scan.mistakes.join("\n"));
    }
    scan.tests.sort();
    scan.tests.dedup();
    Ok(scan.tests)
}

struct Scan<'r> {
    root: &'r Path,
    tests: Vec<Test>,
    mistakes: Vec<String>,
    /// The files that a crate root leads to.
    reached: BTreeSet<PathBuf>,
}

impl<'r> Scan<'r> {
    const fn new(root: &'r Path) -> Self {
        Self { root, tests: Vec::new(), mistakes: Vec::new(), reached: BTreeSet::new() }
    }

    fn package(&mut self, package: &Package) -> Result<()> {
        for root in roots(&package.folder) {
            self.file(package, &root, true, &[])?;
        }
        for file in sources(&package.folder)? {
            if !self.reached.contains(&file) {
                self.unreached(&file)?;
            }
        }
        Ok(())
    }

    /// Reads the file of the module `path`, and the files of its modules. `flat` is true if
    /// those are in the folder of the file itself: for crate roots and `mod.rs`.
    fn file(&mut self, package: &Package, file: &Path, flat: bool, path: &[String]) -> Result<()> {
        let source = read(file)?;
        self.report(file, source.mistakes);
        self.reached.insert(file.to_owned());
        for test in source.tests {
            let name = [path, &test.within, &[test.function]].concat().join("::");
            self.tests.push(Test { package: package.name.clone(), name, group: test.group });
        }
        for module in source.modules {
            let (files, flat) = places(file, flat, &module);
            if let Some(found) = files.iter().find(|place| place.is_file()) {
                let flat = flat || found.ends_with("mod.rs");
                let path = [path, &module.within, &[module.name]].concat();
                self.file(package, found, flat, &path)?;
            }
        }
        Ok(())
    }

    /// Reports the attributes of a file that no crate root leads to.
    fn unreached(&mut self, file: &Path) -> Result<()> {
        let source = read(file)?;
        self.report(file, source.mistakes);
        if !source.tests.is_empty() {
            let shown = self.shown(file);
            self.mistakes
                .push(format!("{shown}: ignored tests, and no library or test includes it"));
        }
        Ok(())
    }

    fn report(&mut self, file: &Path, mistakes: Vec<Mistake>) {
        let shown = self.shown(file);
        let mistakes = mistakes.into_iter();
        self.mistakes
            .extend(mistakes.map(|Mistake { line, message }| format!("{shown}:{line}: {message}")));
    }

    fn shown(&self, file: &Path) -> String {
        file.strip_prefix(self.root).unwrap_or(file).display().to_string()
    }
}

fn read(file: &Path) -> Result<Source> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(Source::parse(&text))
}

/// Returns the root files of the crates of a package that have tests: library, programs,
/// integration tests.
fn roots(folder: &Path) -> Vec<PathBuf> {
    let mut roots = vec![folder.join("src/lib.rs"), folder.join("src/main.rs")];
    for folder in [folder.join("src/bin"), folder.join("tests")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            roots.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    roots.retain(|root| root.is_file() && root.extension().is_some_and(|end| end == "rs"));
    roots.sort();
    roots
}

/// Returns the files that a module may be in, and true if such a file is treated like
/// `mod.rs` whatever its name.
fn places(file: &Path, flat: bool, module: &Module) -> (Vec<PathBuf>, bool) {
    let mut folder = file.parent().unwrap_or(file).to_owned();
    let beside = module.path.is_some() && module.within.is_empty();
    if !flat
        && !beside
        && let Some(stem) = file.file_stem()
    {
        folder.push(stem);
    }
    folder.extend(&module.within);
    let name = &module.name;
    module.path.as_ref().map_or_else(
        || (vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")], false),
        |path| (vec![normal(&folder.join(path))], true),
    )
}

/// Removes `x/..` from a path, so that one file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// Returns all Rust files below `folder`, build folders aside.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, "rs")
}

/// Returns all files below `folder` whose names end in `.{extension}`, build folders aside.
pub(crate) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use image_swap_testbed::Group;

    use super::tests;
    use crate::packages::Package;

    const NODE: &str = "#[ignore = \"needs a node: cargo xtask test\"]\n#[test]\n";

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn found(root: &Path) -> Result<Vec<String>, String> {
        let package = Package { name: "p".to_owned(), folder: root.join("p") };
        let tests = tests(root, &[package]).map_err(|error| error.to_string())?;
        Ok(tests.into_iter().map(|test| test.name).collect())
    }

    #[test]
    fn name_follows_the_declarations_of_modules() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let test = |name: &str| format!("{NODE}fn {name}() {{}}\n");
        write(root, "p/src/lib.rs", "mod a;\n#[path = \"tests/named.rs\"]\nmod other;\n");
        write(root, "p/src/a.rs", "mod b;\n");
        write(root, "p/src/a/b.rs", &test("deep"));
        write(root, "p/src/tests/named.rs", &test("by_path"));
        write(root, "p/tests/it/main.rs", "mod faults;\n");
        write(root, "p/tests/it/faults/mod.rs", "mod api_server;\n");
        write(root, "p/tests/it/faults/api_server.rs", &test("fault"));
        write(root, "p/tests/single.rs", &test("single"));
        let expected = ["a::b::deep", "faults::api_server::fault", "other::by_path", "single"];
        assert_eq!(found(root).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_listed_with_file_and_line() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "p/src/lib.rs", "\n#[ignore]\nfn a() {}\n");
        write(root, "p/tests/it/forgotten.rs", &format!("{NODE}fn b() {{}}\n"));
        let error = found(root).unwrap_err();
        assert!(error.contains("p/src/lib.rs:2: expected"), "{error}");
        assert!(error.contains("p/tests/it/forgotten.rs: ignored tests"), "{error}");
    }

    #[test]
    fn test_carries_package_and_group() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "p/src/main.rs", &format!("mod tests {{\n{NODE}fn a() {{}}\n}}\n"));
        let package = Package { name: "q".to_owned(), folder: root.join("p") };
        let test = &tests(root, &[package]).unwrap()[0];
        assert_eq!((test.package.as_str(), test.name.as_str()), ("q", "tests::a"));
        assert_eq!(test.group, Group::Node);
    }
}
