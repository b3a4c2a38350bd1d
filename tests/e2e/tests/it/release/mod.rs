//! The short set: a release from its installation to its removal.

mod palette;
mod secret_alone;
mod upgrade;
