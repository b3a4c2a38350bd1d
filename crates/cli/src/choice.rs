//! Values of flags that several commands have.

use std::{net::SocketAddr, time::Duration};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use image_swap_core::{
    mirror::Fallback,
    render::{FORMATS, Format},
};

/// The name of a value, its help and the value. Former names follow the name, after `|`.
pub(crate) type Choice<T> = (&'static str, &'static str, T);

/// Values of `--fallback`.
pub(crate) const FALLBACKS: &[Choice<Fallback>] = &[
    ("upstream", "The public registry is tried after the mirrors", Fallback::Upstream),
    ("never", "Images that a rule matches are pulled from mirrors only", Fallback::Never),
];

/// Returns a parser of the names of `choices`.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(
    choices: &'static [Choice<T>],
) -> impl TypedValueParser<Value = T> {
    let values = choices.iter().map(|(names, help, _)| {
        let mut names = names.split('|');
        PossibleValue::new(names.next().unwrap_or_default()).help(*help).aliases(names)
    });
    PossibleValuesParser::new(values).try_map(|name| {
        let found = choices.iter().find(|(names, ..)| names.split('|').any(|it| it == name));
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

/// Parses an address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8443".to_owned())
}

/// Parses whole seconds, minutes or hours, as Go writes them.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 30s, 5m or 1h, found {text}");
    let (number, seconds) = [('s', 1), ('m', 60), ('h', 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let whole = number.checked_mul(seconds).filter(|whole| *whole >= 10);
    whole.map(Duration::from_secs).ok_or_else(|| format!("expected at least 10s, found {text}"))
}
