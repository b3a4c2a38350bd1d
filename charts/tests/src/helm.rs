//! Questions to Helm, and its answers.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::install;

/// Helm's own code, in a process that ends with this value: starting one takes
/// a hundred times longer than an answer.
#[derive(Debug)]
pub struct Helm {
    talk: Mutex<Talk>,
}

#[derive(Debug)]
struct Talk {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What is rendered, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The chart: a directory or an archive.
    pub chart: &'a Path,
    /// The name of the release.
    pub name: &'a str,
    /// The namespace it is installed into.
    pub namespace: &'a str,
    /// Values files in YAML, the later ones on top.
    pub values: &'a [&'a str],
}

/// What Helm made of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The text of every template, `NOTES.txt` too, by its path below `templates`.
    pub texts: BTreeMap<String, String>,
    /// The object of every template that has one, by the same path.
    pub objects: BTreeMap<String, Value>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Helm refused, and says why.
    #[error("{0}")]
    Refused(String),
    /// Helm could not be asked.
    #[error("expected an answer of Helm, found: {0}")]
    Silent(#[from] io::Error),
}

impl Helm {
    /// Finds the SDK: `HELM_PYTHON` names a Python that has it; without that it is
    /// installed once into `$XDG_CACHE_HOME/image-swap` or `~/.cache/image-swap`.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn find() -> Result<Self, String> {
        let python = install::python()?;
        let started = Talk::begin(&python);
        let talk = started.map_err(|error| {
            format!("expected a Python at {}, found: {error}", python.display())
        })?;
        Ok(Self { talk: Mutex::new(talk) })
    }

    /// Renders a chart as an installation would. Nothing is contacted.
    ///
    /// # Errors
    /// Values that the schema or a template refuses, and templates that are wrong.
    pub fn render(&self, release: Release<'_>) -> Result<Rendered, Failure> {
        let Release { chart, name, namespace, values } = release;
        let answer = self.ask(&json!({
            "verb": "render", "chart": chart, "release": name, "namespace": namespace, "values": values,
        }))?;
        Ok(Rendered { texts: field(&answer, "texts")?, objects: field(&answer, "objects")? })
    }

    /// The chart's own values.
    ///
    /// # Errors
    /// If there is no chart.
    pub fn defaults(&self, chart: &Path) -> Result<Value, Failure> {
        field(&self.ask(&json!({"verb": "defaults", "chart": chart}))?, "values")
    }

    /// What `helm lint --strict` would refuse.
    ///
    /// # Errors
    /// If there is no chart.
    pub fn lint(&self, chart: &Path, values: &[&str]) -> Result<Vec<String>, Failure> {
        let answer = self.ask(&json!({"verb": "lint", "chart": chart, "values": values}))?;
        field(&answer, "errors")
    }

    /// Packs a chart into `destination`, as `helm package` does. The archive.
    ///
    /// # Errors
    /// If there is no chart, or it cannot be written.
    pub fn package(&self, chart: &Path, destination: &Path) -> Result<PathBuf, Failure> {
        let request = json!({"verb": "package", "chart": chart, "destination": destination});
        field(&self.ask(&request)?, "archive")
    }

    pub(crate) fn ask(&self, request: &Value) -> Result<Value, Failure> {
        // Each question is answered before the lock is given back, or not at all.
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = talk.ask(request)?;
        match answer.get("error").and_then(Value::as_str) {
            Some(refused) => Err(Failure::Refused(refused.to_owned())),
            None => Ok(answer),
        }
    }
}

impl Talk {
    fn begin(python: &Path) -> io::Result<Self> {
        let mut child = Command::new(python)
            .args(["-c", include_str!("helm.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = || io::Error::other("no pipe to it");
        let questions = child.stdin.take().ok_or_else(pipe)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(pipe)?);
        Ok(Self { questions, answers })
    }

    fn ask(&mut self, request: &Value) -> io::Result<Value> {
        writeln!(self.questions, "{request}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("its end; it says why on standard error"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}

pub(crate) fn field<T: serde::de::DeserializeOwned>(
    answer: &Value,
    name: &str,
) -> Result<T, Failure> {
    serde::Deserialize::deserialize(&answer[name])
        .map_err(|error| Failure::Silent(io::Error::other(format!("{name}: {error}"))))
}
