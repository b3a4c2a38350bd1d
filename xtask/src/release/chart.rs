//! The package of the chart, as `helm package` makes it, but for times.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Contents, archive, maintainer::Maintainer};
use crate::image::read;

/// Returns the package of the chart in `folder`. `Chart.yaml` gets the address `url` and the
/// maintainers.
pub(super) fn package(folder: &Path, url: &str, maintainers: &[Maintainer]) -> Result<Vec<u8>> {
    let mut files = Contents::new();
    collect(folder, super::NAME, &mut files)?;
    let chart = files.get_mut(&format!("{}/Chart.yaml", super::NAME));
    let (_, chart) = chart.context("expected a Chart.yaml in the chart")?;
    chart.extend_from_slice(format!("home: {}\n", json!(url)).as_bytes());
    if !maintainers.is_empty() {
        chart.extend_from_slice(b"maintainers:\n");
    }
    for Maintainer { name, email } in maintainers {
        let entry = format!("  - name: {}\n    email: {}\n", json!(name), json!(email));
        chart.extend_from_slice(entry.as_bytes());
    }
    archive::compressed(&files)
}

/// Adds the files below `folder`, at `path` in the package. Files that `.helmignore` names
/// are left out: hidden files, backups, packages.
fn collect(folder: &Path, path: &str, files: &mut Contents) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ignored = name.starts_with('.')
            || [".orig", ".swp", ".tgz"].iter().any(|end| name.ends_with(end));
        let path = format!("{path}/{name}");
        if is_ignored {
        } else if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else {
            files.insert(path, (0o644, read(&entry.path())?));
        }
    }
    Ok(())
}
