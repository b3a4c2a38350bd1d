//! TOML edits that keep every other byte.
//!
//! A parsed [`Toml`] has the byte range of every value. An edit replaces, adds or removes lines, so
//! comments, order, indentation and line ends are kept. Before an edit is accepted, the new text is
//! parsed and its values are compared.
//!
//! [`DocumentMut`] builds and changes documents as a whole.

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
