//! Formats of a declaration.

/// The format of a declaring text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeclarationSource {
    /// The Secret `registry-info` as YAML.
    RegistryInfo,
    /// Values of the chart.
    Values,
    /// An imageswap map file.
    Map,
    /// A list with commas or newlines.
    Mirrors,
}
