//! TOML edits that keep every other byte.
//!
//! A parsed text knows the bytes of every value. An edit replaces, adds or removes lines, so
//! comments, order, indentation and line ends survive by construction. The edited text is
//! parsed again, and its values are compared, before an edit is accepted.
//!
//! Documents that are built or changed as a whole are [`DocumentMut`].

mod document;
mod edit;
mod leaf;
mod merge;
mod revert;

pub use toml_edit::{Array, DocumentMut, Item, Table, TableLike, TomlError, Value, value};

pub use self::{
    document::{NotToml, Toml},
    edit::EditError,
    leaf::{Leaves, Path, shown, string},
    revert::{CannotRevert, Reverted, revert},
};

#[cfg(test)]
mod tests;
