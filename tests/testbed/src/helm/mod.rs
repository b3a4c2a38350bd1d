//! Helm 4 and Helm 3, the real programs.
//!
//! Every call has private folders and a cleared environment: no setting of the machine reaches
//! Helm. The proxy for all hosts outside this machine does not exist, so a call to them fails.

mod error;
mod live;
mod manifest;

use std::{
    env, fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::NamedTempFile;

pub use self::{
    error::HelmError,
    live::{HelmRevision, HelmWait, Live},
    manifest::HelmManifest,
};
use crate::{error::Error, janitor::RunDir, parts::HelmParts, run::LESS_COLLECTION};

/// Port 9 discards, and no test listens on it.
const NO_PROXY_HERE: &str = "http://127.0.0.1:9";

/// A major version of Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HelmMajor {
    /// Helm 3.
    Three,
    /// Helm 4.
    Four,
}

impl HelmMajor {
    /// Both major versions, the current one first.
    pub const ALL: [Self; 2] = [Self::Four, Self::Three];
}

impl fmt::Display for HelmMajor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Three => "Helm 3",
            Self::Four => "Helm 4",
        })
    }
}

/// A Helm program with private folders.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    major: HelmMajor,
    home: RunDir,
}

/// A chart with the name, namespace and values of a release.
#[derive(Clone, Copy, Debug)]
pub struct HelmRelease<'a> {
    /// Directory or archive of the chart.
    pub chart: &'a Path,
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
    /// Contents of values files in YAML. Later files override earlier ones.
    pub values: &'a [&'a str],
}

impl Helm {
    /// Creates the private folders of one Helm program.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn new(parts: &HelmParts, major: HelmMajor) -> Result<Self, Error> {
        let program = match major {
            HelmMajor::Three => &parts.helm3,
            HelmMajor::Four => &parts.helm4,
        };
        Ok(Self { program: program.clone(), major, home: RunDir::new("helm")? })
    }

    /// Returns the major version.
    pub const fn major(&self) -> HelmMajor {
        self.major
    }

    /// Returns `helm` with `arguments`, the private folders, and without a cluster.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let folder = |name| self.home.path().join(name);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("HELM_CACHE_HOME", folder("cache"))
            .env("HELM_CONFIG_HOME", folder("config"))
            .env("HELM_DATA_HOME", folder("data"))
            .env("HTTP_PROXY", NO_PROXY_HERE)
            .env("HTTPS_PROXY", NO_PROXY_HERE)
            .env("NO_COLOR", "1")
            .envs([LESS_COLLECTION])
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of [`command`](Self::command) and returns its standard output.
    ///
    /// # Errors
    /// [`HelmError::Refused`] with all output if the exit code is not 0.
    pub fn run(&self, command: &mut Command) -> Result<String, HelmError> {
        let output = command.output().map_err(Error::io(format!("start {}", self.major)))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let all = [text(&output.stdout), text(&output.stderr)].concat();
        Err(HelmError::Refused(all.trim().to_owned()))
    }

    /// Runs `helm template` and returns the manifests, hooks included.
    ///
    /// # Errors
    /// Helm refuses the values or a template.
    pub fn template(&self, release: &HelmRelease<'_>) -> Result<Vec<HelmManifest>, HelmError> {
        let mut command = self.command(&["template", release.name, "--namespace"]);
        command.arg(release.namespace).arg(release.chart);
        let _files = self.add_values(&mut command, release.values)?;
        Ok(manifest::split(&self.run(&mut command)?))
    }

    /// Runs `helm install --dry-run=client` and returns the notes. Helm 3 requires a cluster even
    /// then.
    ///
    /// # Errors
    /// Helm reports an error.
    pub fn notes(&self, release: &HelmRelease<'_>) -> Result<String, HelmError> {
        let mut command = self.command(&["install", release.name, "--namespace"]);
        command.arg(release.namespace).arg(release.chart);
        command.args(["--dry-run=client", "--output=json"]);
        let _files = self.add_values(&mut command, release.values)?;
        let answer = error::json(&self.run(&mut command)?)?;
        let notes = answer["info"]["notes"].as_str();
        Ok(notes.ok_or_else(|| HelmError::unexpected("info.notes", &answer))?.to_owned())
    }

    /// Runs `helm show values` and returns the text of the chart's own values.
    ///
    /// # Errors
    /// The chart cannot be read.
    pub fn show_values(&self, chart: &Path) -> Result<String, HelmError> {
        self.run(self.command(&["show", "values"]).arg(chart))
    }

    /// Runs `helm lint --strict --quiet` and returns its output, which is empty.
    ///
    /// # Errors
    /// [`HelmError::Refused`] with every warning and error.
    pub fn lint(&self, chart: &Path, values: &[&str]) -> Result<String, HelmError> {
        let mut command = self.command(&["lint", "--strict", "--quiet"]);
        command.arg(chart);
        let _files = self.add_values(&mut command, values)?;
        self.run(&mut command)
    }

    /// Runs `helm package` and returns the path of the archive in `destination`.
    ///
    /// # Errors
    /// The chart cannot be read or the archive not written.
    pub fn package(&self, chart: &Path, destination: &Path) -> Result<PathBuf, HelmError> {
        let mut command = self.command(&["package"]);
        let output = self.run(command.arg(chart).arg("--destination").arg(destination))?;
        let path = output.trim_end().rsplit_once(": ").map(|(_, path)| PathBuf::from(path));
        path.ok_or_else(|| HelmError::unexpected("a path", &output))
    }

    /// Writes values files and adds them to `command`. The files go with the result.
    fn add_values(
        &self,
        command: &mut Command,
        values: &[&str],
    ) -> Result<Vec<NamedTempFile>, HelmError> {
        let mut files = Vec::new();
        for text in values {
            let make = || {
                let mut builder = tempfile::Builder::new();
                let mut file = builder.suffix(".yaml").tempfile_in(self.home.path())?;
                file.write_all(text.as_bytes())?;
                Ok(file)
            };
            let file = make().map_err(Error::io("write a values file"))?;
            command.arg("--values").arg(file.path());
            files.push(file);
        }
        Ok(files)
    }
}
