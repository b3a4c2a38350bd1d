//! Formats by their names, the same for every verb that speaks of them.

use image_swap_core::render::{FORMATS, Format};

/// The format called `name`.
pub(crate) fn named(name: &str) -> Result<&'static Format, String> {
    Format::named(name).ok_or_else(|| {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}
