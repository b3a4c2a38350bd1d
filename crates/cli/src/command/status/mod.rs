//! `image-swap status`: prints the status of a release.

mod text;

use std::process::ExitCode;

use image_swap_cluster::{
    Client, Release,
    status::{ReleaseStatus, find, status},
};

use crate::{
    command::{block_on, connect::ConnectArgs},
    failure::Failure,
    follow::{WatchedStatus, show},
    output::Output,
};

/// The name of a release in the chart's defaults.
const NAME: &str = "image-swap";

const EXAMPLES: &str = "\
Examples:
  image-swap status
  image-swap status -n image-swap --context my-cluster
  image-swap status --watch
  image-swap status -o json";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespace of the release; without it and --name, the only release in the cluster.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The full name of the release, which begins the names of its objects
    /// [default: image-swap].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    cluster: ConnectArgs,
    /// Show the status again each time it changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        block_on(self.show())
    }

    async fn show(self) -> Result<ExitCode, Failure> {
        let Self { output, watch, .. } = self;
        let (client, release) = self.release().await?;
        let read = async || status(&client, &release).await.map_err(Failure::unusable);
        show(read, watch, output).await
    }

    /// Returns a client of the cluster, and the release that is meant.
    async fn release(self) -> Result<(Client, Release), Failure> {
        let client = self.cluster.connect().await.map_err(Failure::unusable)?;
        let default = client.default_namespace().to_owned();
        let release = match (self.namespace, self.name) {
            (namespace, Some(name)) => Release { namespace: namespace.unwrap_or(default), name },
            (namespace, None) => {
                let mut found = find(&client).await.map_err(Failure::unusable)?;
                found.retain(|it| namespace.as_ref().is_none_or(|meant| *meant == it.namespace));
                only(found, namespace.as_deref().unwrap_or(&default))?
            }
        };
        Ok((client, release))
    }
}

impl WatchedStatus for ReleaseStatus {
    fn text(&self) -> String {
        text::text(self)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.is_like(other)
    }

    fn is_healthy(&self) -> bool {
        self.healthy
    }
}

/// Returns the only release of `found`, or the usual one of `namespace` if there is none.
fn only(mut found: Vec<Release>, namespace: &str) -> Result<Release, Failure> {
    if found.len() > 1 {
        let names: Vec<String> = found
            .iter()
            .map(|Release { namespace, name }| format!("--namespace {namespace} --name {name}"))
            .collect();
        return Err(Failure::Unusable(format!(
            "found {} releases; choose one with {}",
            found.len(),
            names.join(", or ")
        )));
    }
    let usual = || Release { namespace: namespace.to_owned(), name: NAME.to_owned() };
    Ok(found.pop().unwrap_or_else(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_release_is_selected() {
        let release = |name: &str| Release { namespace: "a".into(), name: name.into() };
        assert_eq!(only(vec![release("one")], "b").unwrap(), release("one"));
        let usual = Release { namespace: "b".into(), name: "image-swap".into() };
        assert_eq!(only(Vec::new(), "b").unwrap(), usual);
        let two = only(vec![release("one"), release("two")], "b").unwrap_err().to_string();
        assert!(two.contains("--namespace a --name two"), "{two}");
    }
}
