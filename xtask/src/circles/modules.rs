//! The modules of a crate and what they import.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use syn::{
    Attribute, ImplItemFn, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// The path of a module below its crate; empty for the root.
pub(super) type ModulePath = Vec<String>;

/// The modules of a crate, those of tests aside.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The file of each module, relative to the folder of the crate's sources.
    pub(super) files: BTreeMap<ModulePath, PathBuf>,
    pub(super) imports: Vec<Import>,
}

/// One name that a module imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// The module with the `use`.
    pub(super) module: ModulePath,
    /// The segments as written, a final `*` or `self` aside.
    pub(super) path: Vec<String>,
    /// The name that the module can use for it; `None` for a path in code and for `*`.
    pub(super) name: Option<String>,
    /// True for `pub use`, with any scope.
    pub(super) public: bool,
}

impl Modules {
    /// Reads the crate with the sources in `folder`.
    ///
    /// # Errors
    /// A file cannot be read, is no Rust, or belongs to a module by an attribute `path`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut modules = Self::default();
        for root in ["lib.rs", "main.rs"].map(PathBuf::from) {
            if folder.join(&root).is_file() {
                modules.read_file(folder, Vec::new(), root)?;
            }
        }
        Ok(modules)
    }

    fn read_file(&mut self, folder: &Path, module: ModulePath, file: PathBuf) -> Result<()> {
        let shown = || folder.join(&file).display().to_string();
        let text = fs::read_to_string(folder.join(&file)).with_context(shown)?;
        let syntax = syn::parse_file(&text).with_context(shown)?;
        let mut reader = Reader { module, ..Reader::default() };
        reader.visit_file(&syntax);
        if let Some(name) = reader.moved {
            bail!("{}: expected the module {name} in a file of its name", shown());
        }
        self.imports.append(&mut reader.imports);
        for inline in reader.inline {
            self.files.insert(inline, file.clone());
        }
        self.files.insert(reader.module, file);
        for module in reader.declared {
            let path = module.iter().collect::<PathBuf>();
            let files = [path.with_extension("rs"), path.join("mod.rs")];
            let found = files.into_iter().find(|file| folder.join(file).is_file());
            let found = found.with_context(|| format!("expected a file for {module:?}"))?;
            self.read_file(folder, module, found)?;
        }
        Ok(())
    }
}

/// A reader of one file.
#[derive(Default)]
struct Reader {
    /// The module that is being read.
    module: ModulePath,
    /// Modules within the file.
    inline: Vec<ModulePath>,
    /// Modules in files of their own.
    declared: Vec<ModulePath>,
    imports: Vec<Import>,
    /// A module with the attribute `path`.
    moved: Option<String>,
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        if !function.attrs.iter().any(is_test) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        let name = item.ident.to_string();
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            self.moved = Some(name.clone());
        }
        self.module.push(name);
        if let Some((_, items)) = &item.content {
            self.inline.push(self.module.clone());
            for item in items {
                self.visit_item(item);
            }
        } else {
            self.declared.push(self.module.clone());
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.read_use(&item.tree, &mut Vec::new(), public);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if ["crate", "self", "super"].contains(&segments[0].as_str()) && segments.len() > 1 {
            self.add(segments, None, false);
        }
        visit::visit_path(self, path);
    }

    /// Skips the path in `pub(in path)`, which imports nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}
}

impl Reader {
    fn read_use(&mut self, tree: &UseTree, above: &mut Vec<String>, public: bool) {
        match tree {
            UseTree::Path(path) => {
                above.push(path.ident.to_string());
                self.read_use(&path.tree, above, public);
                above.pop();
            }
            UseTree::Name(name) => self.add_name(above, &name.ident, None, public),
            UseTree::Rename(name) => {
                self.add_name(above, &name.ident, Some(name.rename.to_string()), public);
            }
            UseTree::Glob(_) => self.add(above.clone(), None, public),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.read_use(tree, above, public));
            }
        }
    }

    fn add_name(
        &mut self,
        above: &[String],
        ident: &syn::Ident,
        renamed: Option<String>,
        public: bool,
    ) {
        let mut path = above.to_vec();
        if ident != "self" {
            path.push(ident.to_string());
        }
        let name = renamed.or_else(|| path.last().cloned());
        self.add(path, name, public);
    }

    fn add(&mut self, path: Vec<String>, name: Option<String>, public: bool) {
        self.imports.push(Import { module: self.module.clone(), path, name, public });
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns true for `#[cfg(test)]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}
