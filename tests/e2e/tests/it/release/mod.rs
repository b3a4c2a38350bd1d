//! The short set: a release from its installation to its removal.

mod page;
mod secret_alone;
mod upgrade;
