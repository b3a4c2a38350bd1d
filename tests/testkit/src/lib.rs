//! Input for tests, as JSON and text: pods and reviews, declarations, files of hosts, commands
//! in documents.
//!
//! The crate depends on no crate of the product, so the unit tests of every crate can use it.

mod admission;
mod console;
mod declaration;
mod host;

pub use self::{
    admission::{UID, container, custom_resource, node_mirror, pod, review, webhook_configuration},
    console::{ConsoleCommand, commands, documents},
    declaration::{last_good, lists, registry_info, registry_keys, sources},
    host::config_with_path,
};
