//! Kubernetes minor versions that the parts can be.

use std::{env, fmt, str::FromStr};

use crate::error::Error;

/// A Kubernetes minor version with a module file of its own, such as `1.37`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor(u8);

impl Minor {
    /// The environment variable that chooses the version of all parts.
    pub const VARIABLE: &str = "IMAGE_SWAP_KUBERNETES";
    /// The version that every test runs on.
    pub const DEFAULT: Self = Self(37);
    /// The oldest version that is tested.
    pub const OLDEST: Self = Self(33);
    /// All versions that can be built, oldest first.
    pub const MATRIX: [Self; 5] = [Self::OLDEST, Self(34), Self(35), Self(36), Self::DEFAULT];

    /// Returns the version that `IMAGE_SWAP_KUBERNETES` names, or the default if it is unset.
    ///
    /// # Errors
    /// The variable names a version without a module file.
    pub fn from_environment() -> Result<Self, Error> {
        match env::var(Self::VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::DEFAULT),
        }
    }

    /// Returns the path of the module file below `modules/kubernetes`.
    pub(super) fn module_file(self) -> String {
        if self == Self::DEFAULT { "go.mod".to_owned() } else { format!("{self}/go.mod") }
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl FromStr for Minor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::MATRIX.into_iter().find(|minor| minor.to_string() == text).ok_or_else(|| {
            Error::unavailable(
                format!("Kubernetes {text:?}"),
                format!("choose one of {}", Self::MATRIX.map(|minor| minor.to_string()).join(", ")),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Minor;

    #[test]
    fn printed_minor_is_parsed() {
        for minor in Minor::MATRIX {
            assert_eq!(minor.to_string().parse::<Minor>().unwrap(), minor);
        }
        let error = "1.20".parse::<Minor>().unwrap_err().to_string();
        assert!(
            error.contains("\"1.20\"") && error.contains("1.33, 1.34, 1.35, 1.36, 1.37"),
            "{error}"
        );
    }
}
