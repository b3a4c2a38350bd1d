//! The ledger: the files that image-swap wrote on a host, and those of before.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_text::base64;
use serde::{Deserialize, Serialize};

use crate::{
    desired::ConfigForm,
    files::{HostFile, HostFiles, HostPath},
    runtime::kind::ContainerRuntime,
};

/// The version of the ledger's format that this program writes.
const VERSION: u32 = 1;

/// The files that image-swap wrote on a host. Its own mode is 0600: it may contain credentials,
/// those of the declaration and those of edited files.
///
/// `apply` writes the ledger before all other files, and again after them. Between the two
/// writes the ledger lists the former and the new content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    #[serde(rename = "version")]
    version: u32,
    /// The runtime that was configured.
    #[serde(rename = "runtime")]
    pub runtime: String,
    /// The form of the configuration.
    #[serde(rename = "form")]
    pub form: ConfigForm,
    /// True if the runtime has to be restarted to read the files, and has not been yet.
    #[serde(rename = "restart", default)]
    pub restart: bool,
    /// Every file that image-swap wrote or edited.
    #[serde(rename = "files")]
    pub files: BTreeMap<HostPath, WrittenFile>,
    /// The directories that image-swap made.
    #[serde(rename = "directories")]
    pub directories: BTreeSet<HostPath>,
}

/// One file that image-swap wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// The file before the first edit.
    #[serde(rename = "before")]
    pub before: OriginalFile,
    /// The contents that image-swap wrote: the last one, and while a plan is applied the one that
    /// it replaces too.
    #[serde(rename = "ours")]
    pub contents: Vec<LedgerBytes>,
}

/// The file at a path before image-swap wrote there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginalFile {
    /// The path did not exist.
    #[serde(rename = "absent")]
    Absent,
    /// The path was a regular file.
    #[serde(rename = "file")]
    File {
        /// The content of the file.
        #[serde(rename = "bytes")]
        bytes: LedgerBytes,
        /// The permissions of the file, such as `0o644`.
        #[serde(rename = "mode")]
        mode: u32,
        /// The user and group of the file; `None` if those of image-swap itself.
        #[serde(rename = "owner", default, skip_serializing_if = "Option::is_none")]
        owner: Option<(u32, u32)>,
    },
}

/// Bytes of a file. JSON contains them as text if they are UTF-8, otherwise in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LedgerBytes {
    /// Content that is valid UTF-8.
    Text(String),
    /// Content that is not valid UTF-8.
    Base64 {
        /// The content in base64.
        #[serde(rename = "base64")]
        base64: String,
    },
}

/// The field that every version of the format has.
#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "version")]
    version: u32,
}

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file is not a ledger.
    #[error(
        "cannot read {path}: it is not a ledger of image-swap ({found}); move it away to start \
         over: image-swap can then no longer restore the original files"
    )]
    Unreadable {
        /// The path of the ledger.
        path: HostPath,
        /// The position of the error.
        found: String,
    },
    /// A later image-swap wrote the ledger.
    #[error(
        "{path}: expected version {VERSION} or earlier, found {found}; use the version of image-swap that wrote it, or a later one"
    )]
    Later {
        /// The path of the ledger.
        path: HostPath,
        /// The version of the format.
        found: u32,
    },
}

impl Ledger {
    /// Returns the path of the ledger on a host.
    pub fn path() -> HostPath {
        HostPath::new("/var/lib/image-swap/node/ledger.json")
    }

    /// Returns an empty ledger.
    pub fn new(runtime: ContainerRuntime, form: ConfigForm) -> Self {
        Self {
            version: VERSION,
            runtime: runtime.name().to_owned(),
            form,
            restart: false,
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
        }
    }

    /// Returns the ledger among `files`; `None` if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be used.
    pub fn read(files: &HostFiles) -> Result<Option<Self>, LedgerError> {
        let path = Self::path();
        let Some(file) = files.file(&path) else { return Ok(None) };
        let unreadable = |error: serde_json::Error| {
            // serde's messages quote what they found, which may be a credential.
            let found = format!("line {}, column {}", error.line(), error.column());
            LedgerError::Unreadable { path: Self::path(), found }
        };
        let Versioned { version } = serde_json::from_slice(&file.bytes).map_err(unreadable)?;
        if version > VERSION {
            return Err(LedgerError::Later { path, found: version });
        }
        serde_json::from_slice(&file.bytes).map(Some).map_err(unreadable)
    }

    /// Returns the directories above the ledger, the outermost first.
    pub fn directories() -> [HostPath; 2] {
        ["/var/lib/image-swap", "/var/lib/image-swap/node"].map(HostPath::new)
    }

    /// Adds the entries of `old` whose files may still exist while a plan is applied.
    pub(crate) fn remember(&mut self, old: &Self) {
        for (path, written) in &old.files {
            let known = self.files.entry(path.clone()).or_insert_with(|| written.clone());
            for content in &written.contents {
                if !known.contents.contains(content) {
                    known.contents.insert(0, content.clone());
                }
            }
        }
        self.directories.extend(old.directories.iter().cloned());
    }

    /// Returns the file of the ledger.
    pub fn file(&self) -> HostFile {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        HostFile::secret(bytes)
    }

    /// Returns true if image-swap wrote the bytes at `path`.
    pub fn has_written(&self, path: &HostPath, bytes: &[u8]) -> bool {
        self.files.get(path).is_some_and(|written| written.has_content(bytes))
    }
}

impl WrittenFile {
    /// Returns true if image-swap wrote `bytes`.
    pub(crate) fn has_content(&self, bytes: &[u8]) -> bool {
        self.contents.iter().any(|content| content.get() == bytes)
    }

    /// Returns a file that contains `content` instead of `before`.
    pub(crate) fn new(before: Option<&HostFile>, content: &[u8]) -> Self {
        Self { before: OriginalFile::of(before), contents: vec![content.into()] }
    }
}

impl OriginalFile {
    /// Returns the original `file`, or none.
    pub(crate) fn of(file: Option<&HostFile>) -> Self {
        match file {
            None => Self::Absent,
            Some(HostFile { bytes, mode, owner }) => {
                Self::File { bytes: bytes[..].into(), mode: *mode, owner: *owner }
            }
        }
    }

    /// Returns the original file; `None` if there was none.
    pub fn file(&self) -> Option<HostFile> {
        match self {
            Self::Absent => None,
            Self::File { bytes, mode, owner } => {
                Some(HostFile { bytes: bytes.get(), mode: *mode, owner: *owner })
            }
        }
    }
}

impl LedgerBytes {
    /// Returns the bytes.
    pub fn get(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64 { base64 } => base64::decode(base64).unwrap_or_default(),
        }
    }
}

impl From<&[u8]> for LedgerBytes {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: base64::encode(bytes) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format of the ledger: earlier and later versions of image-swap read it.
    const LEDGER: &str = r#"{
  "version": 1,
  "runtime": "containerd",
  "form": "certs-d",
  "restart": true,
  "files": {
    "/etc/a": {
      "before": "absent",
      "ours": [
        "text",
        {
          "base64": "/w=="
        }
      ]
    },
    "/etc/b": {
      "before": {
        "file": {
          "bytes": "old",
          "mode": 420
        }
      },
      "ours": []
    },
    "/etc/c": {
      "before": {
        "file": {
          "bytes": "old",
          "mode": 384,
          "owner": [
            1,
            2
          ]
        }
      },
      "ours": []
    }
  },
  "directories": [
    "/etc/d"
  ]
}
"#;

    #[test]
    fn format_of_the_ledger_stays() {
        let text = |form: &str| LEDGER.replace("certs-d", form);
        for form in ["certs-d", "mirrors", "page"] {
            let ledger: Ledger = serde_json::from_str(&text(form)).unwrap();
            assert_eq!(ledger.file(), HostFile::secret(text(form)));
        }
        let palette: Ledger = serde_json::from_str(&text("palette")).unwrap();
        assert_eq!(palette.form, ConfigForm::Palette);
        assert_eq!(palette.file(), HostFile::secret(text("page")));
        let before = LEDGER.replace("  \"restart\": true,\n", "");
        assert!(!serde_json::from_str::<Ledger>(&before).unwrap().restart);
        assert_eq!(Ledger::path().as_str(), "/var/lib/image-swap/node/ledger.json");
    }
}
