//! Maintainers of the chart.

use std::str::FromStr;

/// A person or group, with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maintainer {
    pub(super) name: String,
    pub(super) email: String,
}

impl FromStr for Maintainer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, rest) = text.split_once('<')?;
            let email = rest.strip_suffix('>')?;
            let whole = !name.trim().is_empty() && email.contains('@');
            whole.then(|| Self { name: name.trim().to_owned(), email: email.to_owned() })
        };
        parse().ok_or_else(|| format!("expected NAME <EMAIL>, found {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintainer_has_name_and_address() {
        let found: Maintainer = "A Team <team@example.org>".parse().unwrap();
        assert_eq!((&*found.name, &*found.email), ("A Team", "team@example.org"));
        for wrong in ["A Team", "<team@example.org>", "A Team <team>", "A <b@c"] {
            assert!(wrong.parse::<Maintainer>().is_err(), "{wrong}");
        }
    }
}
