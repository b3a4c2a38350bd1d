//! `image-swap await-restore`

use std::{io::Write, process::ExitCode, time::Duration};

use image_swap_cluster::{PendingNode, RestoreSummary, RestoreWait};
use tracing::level_filters::LevelFilter;

use crate::{
    choice::interval,
    command::{block_on, named_release::NamedRelease},
    failure::Failure,
    logging,
    output::{Output, counted, end, stdout},
};

const EXAMPLES: &str = "\
Examples:
  image-swap await-restore --namespace image-swap
  image-swap await-restore -n image-swap --deadline 10m --context my-cluster";

/// The custom resource in messages.
const DEFINITION: &str = "customresourcedefinition nodemirrors.image-swap.io";

/// Arguments of `await-restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    release: NamedRelease,
    /// The longest time to wait: `30s`, `2m`.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = interval)]
    deadline: Duration,
    /// The image of image-swap, for the command that restores nodes later.
    #[arg(long, value_name = "IMAGE", default_value = "IMAGE")]
    image: String,
    /// The namespace of the pods of the chart's Job; those on nodes that are off are deleted.
    #[arg(long, value_name = "NAMESPACE")]
    pod_namespace: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { release, deadline, image, pod_namespace } = self;
        logging::begin(LevelFilter::WARN, Output::Text)?;
        let summary = block_on(async {
            let (client, release) = release.connect().await?;
            let wait = RestoreWait::new(&client, release, pod_namespace);
            Ok(wait.run(deadline).await)
        })?;
        let mut out = stdout();
        out.write_all(text(&summary, &image).as_bytes())?;
        // A failed hook would keep Helm from removing the release.
        end(&mut out, true)
    }
}

/// Returns the result in lines for an administrator.
fn text(summary: &RestoreSummary, image: &str) -> String {
    let RestoreSummary { nodes, pending, kept, failures } = summary;
    let mut lines = Vec::new();
    for PendingNode { name, reason, command } in pending {
        let command = command.as_deref().unwrap_or("image-swap node restore");
        lines.push(format!("{name}: not restored: {reason}; run on the host: {command}"));
    }
    if pending.is_empty() {
        lines.push(format!("{} restored or unchanged", counted(*nodes, "node")));
    } else {
        let render = format!("image-swap render node-restore --image {image}");
        lines.push(format!("restore them together: {render} | kubectl apply --filename -"));
    }
    lines.push(match kept {
        Some(reason) => {
            format!("kept the {DEFINITION}: {reason}; delete it: kubectl delete {DEFINITION}")
        }
        None => format!("deleted the {DEFINITION}"),
    });
    lines.extend(failures.iter().cloned());
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_nodes_are_listed_with_their_command() {
        let node = |name: &str, command: Option<&str>| PendingNode {
            name: name.into(),
            reason: "no agent runs on the node".into(),
            command: command.map(str::to_owned),
        };
        let summary = RestoreSummary {
            nodes: 3,
            pending: vec![
                node("a", None),
                node("b", Some("image-swap node restore --restart allow")),
            ],
            kept: Some("it has the reports of these nodes".into()),
            failures: vec!["cannot write c".into()],
        };
        let expected = "\
a: not restored: no agent runs on the node; run on the host: image-swap node restore
b: not restored: no agent runs on the node; run on the host: image-swap node restore --restart allow
restore them together: image-swap render node-restore --image h/i:1 | kubectl apply --filename -
kept the customresourcedefinition nodemirrors.image-swap.io: it has the reports of these nodes; \
delete it: kubectl delete customresourcedefinition nodemirrors.image-swap.io
cannot write c
";
        assert_eq!(text(&summary, "h/i:1"), expected);
    }

    #[test]
    fn restored_nodes_are_counted() {
        let summary = RestoreSummary { nodes: 1, ..RestoreSummary::default() };
        let expected = "1 node restored or unchanged\n\
                        deleted the customresourcedefinition nodemirrors.image-swap.io\n";
        assert_eq!(text(&summary, "IMAGE"), expected);
    }
}
