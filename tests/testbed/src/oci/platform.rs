//! Operating system and processor of a program.

use std::{fmt, str::FromStr};

use serde_json::{Value, json};

/// An operating system and a processor, in Go's names: `linux/amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
}

impl Platform {
    /// Returns Linux with the processor that this program was compiled for.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }

    /// Returns the platform in the form of an index.
    pub fn document(&self) -> Value {
        json!({ "os": self.os, "architecture": self.architecture })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        match text.split_once('/') {
            Some((os, architecture)) if word(os) && word(architecture) => {
                Ok(Self { os: os.to_owned(), architecture: architecture.to_owned() })
            }
            _ => Err(format!("expected a platform like linux/arm64, found {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn platform_has_operating_system_and_processor() {
        let platform: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(platform.to_string(), "linux/arm64");
        for wrong in ["arm64", "linux/", "/arm64", "linux/arm64/v8", "Linux/arm64"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
