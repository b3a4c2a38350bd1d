//! The command line: commands, and flags that all commands have.

use std::{fmt::Write as _, process::ExitCode};

use clap::{
    Command, CommandFactory, FromArgMatches as _, Parser, Subcommand, builder::styling::Styles,
};

use crate::{command, output};

/// Make a Kubernetes cluster pull every image from your own registry.
///
/// Declare the registry and its mirrors once: in the Secret registry-info, in Helm values
/// (ociImageRegistry), in an imageswap map or as a list. Secret and values have the format of
/// Spectro Cloud Palette's documentation, "Override Registry Configuration".
#[derive(Debug, Parser)]
#[command(name = "image-swap", version, propagate_version = true, after_help = TOP_EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: TopVerb,
    /// Print no warnings and no notes on standard error; errors always.
    #[arg(short, long, global = true)]
    quiet: bool,
}

const TOP_EXAMPLES: &str = "\
Examples:
  image-swap check -f examples/registry-secret.yaml
  image-swap explain -f examples/registry-secret.yaml nginx:1.25
  image-swap webhook -f examples/registry-secret.yaml

Exit codes:
  0  success
  1  problems were found or something failed
  2  wrong usage or invalid configuration

`image-swap COMMAND --help` lists flags and examples.";

/// Headings of the commands in the help of the program, and the commands below each.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Declarations", &["check", "explain", "convert"]),
    ("Manifests and nodes", &["rewrite", "render", "node"]),
    ("Clusters", &["webhook", "controller", "agent", "status", "fleet"]),
    ("This program", &["completions", "man"]),
];

#[derive(Debug, Subcommand)]
enum TopVerb {
    /// Show the new name of each image, and the rule for it.
    Explain(command::explain::Args),
    /// Check a declaration for mistakes before it is used.
    Check(command::check::Args),
    /// Convert an imageswap map to a canonical map with the same effect.
    Convert(command::convert::Args),
    /// Rewrite the images in manifests; everything else stays byte for byte.
    Rewrite(command::rewrite::Args),
    /// Print the mirror configuration of a container runtime or image builder.
    Render(command::render::Args),
    /// Configure a host's container runtime to use the mirrors, or undo it.
    Node(command::node::Args),
    /// Run the admission webhook, which rewrites the images of new pods.
    Webhook(Box<command::webhook::Args>),
    /// Run the controller of a release: registration, certificates, declaration (for the chart).
    Controller(Box<command::controller::Args>),
    /// Run the agent of a node, which keeps the node's mirror configuration (for the chart).
    Agent(command::agent::Args),
    /// Show the status of a release in a cluster.
    Status(command::status::Args),
    /// Show the workload clusters of a management cluster.
    Fleet(Box<command::fleet::Args>),
    /// Delete the registration of a release before it is uninstalled (for the chart).
    #[command(alias = "leave", hide = true)]
    Deregister(command::deregister::Args),
    /// Wait until the agents have restored their nodes (for the chart).
    #[command(hide = true)]
    AwaitRestore(command::await_restore::Args),
    /// Print shell completions.
    Completions(command::completions::Args),
    /// Print the man page, or write one for each command.
    Man(command::man::Args),
}

impl Cli {
    /// Parses the arguments of the process and runs the command.
    pub(crate) fn main() -> ExitCode {
        let matches = grouped(Self::command()).get_matches();
        match Self::from_arg_matches(&matches) {
            Ok(cli) => cli.run(),
            Err(error) => error.exit(),
        }
    }

    /// Runs the command.
    fn run(self) -> ExitCode {
        if self.quiet {
            output::silence();
        }
        let result = match self.verb {
            TopVerb::Explain(args) => args.run(),
            TopVerb::Check(args) => args.run(),
            TopVerb::Convert(args) => args.run(),
            TopVerb::Rewrite(args) => args.run(),
            TopVerb::Render(args) => args.run(),
            TopVerb::Node(args) => args.run(),
            TopVerb::Webhook(args) => args.run(),
            TopVerb::Controller(args) => args.run(),
            TopVerb::Agent(args) => args.run(),
            TopVerb::Status(args) => args.run(),
            TopVerb::Fleet(args) => args.run(),
            TopVerb::Deregister(args) => args.run(),
            TopVerb::AwaitRestore(args) => args.run(),
            TopVerb::Completions(args) => args.run(Self::command()),
            TopVerb::Man(args) => args.run(Self::command()),
        };
        result.unwrap_or_else(|failure| output::fail(&failure))
    }
}

/// Lists the commands of `program` in groups in its help.
fn grouped(program: Command) -> Command {
    let style = *Styles::styled().get_header();
    let mut commands = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(commands, "{style}{heading}:{style:#}");
        for name in names {
            let about = program.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(commands, "  {name:<13}{about}");
        }
        commands.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}\
         {style}Options:{style:#}\n{{options}}{{after-help}}"
    );
    program.help_template(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_in_one_group() {
        let listed: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut expected = listed.clone();
        let program = Cli::command();
        let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
        let mut shown: Vec<&str> = shown.map(Command::get_name).collect();
        shown.sort_unstable();
        expected.sort_unstable();
        assert_eq!(expected, shown);
    }

    #[test]
    fn arguments_are_consistent() {
        grouped(Cli::command()).debug_assert();
    }
}
