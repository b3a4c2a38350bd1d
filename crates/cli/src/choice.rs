//! Values of flags that are chosen by their names.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use image_swap_core::{
    mirror::Fallback,
    render::{FORMATS, Format},
};

/// The name of a value, its help and the value.
pub(crate) type Choice<T> = (&'static str, &'static str, T);

/// Values of `--fallback`.
pub(crate) const FALLBACKS: &[Choice<Fallback>] = &[
    ("upstream", "The public registry is asked after the mirrors", Fallback::Upstream),
    ("never", "What a rule covers is asked of mirrors alone", Fallback::Never),
];

/// Returns a parser of the names of `choices`.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(
    choices: &'static [Choice<T>],
) -> impl TypedValueParser<Value = T> {
    let values = choices.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(|name| {
        let found = choices.iter().find(|(known, ..)| *known == name);
        found.map(|(.., value)| *value).ok_or("expected one of the names")
    })
}

/// Returns the format called `name`.
pub(crate) fn format(name: &str) -> Result<&'static Format, String> {
    Format::named(name).ok_or_else(|| {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}
