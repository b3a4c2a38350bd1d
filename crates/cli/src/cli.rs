//! The command line: verbs, and what is common to them.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{command, output};

/// Pull every image of a cluster from the company's own registry.
///
/// One declaration names the registry and the rules; every verb reads it.
///
/// Exit codes: 0 fine; 1 the answer is bad news; 2 usage, or no usable declaration.
#[derive(Debug, Parser)]
#[command(name = "image-swap", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: TopVerb,
}

#[derive(Debug, Subcommand)]
enum TopVerb {
    /// Say what images become, and why.
    Explain(command::explain::Args),
    /// Say what is wrong with a declaration before any image meets it.
    Check(command::check::Args),
    /// Print an imageswap map as a canonical one with the same effect.
    Convert(command::convert::Args),
    /// Rewrite the images in manifests, and nothing else in them.
    Rewrite(command::rewrite::Args),
    /// Print what nodes and builders are told, in the format they read.
    Render(command::render::Args),
    /// Have a host's container runtime pull from the mirrors, and take that back.
    Node(command::node::Args),
    /// Answer the reviews of API servers, so that new pods have their images swapped.
    Webhook(Box<command::webhook::Args>),
    /// Keep a cluster's registration, certificates and declaration (run by the chart).
    Controller(command::controller::Args),
    /// Say how a release in a cluster is: what is in force, and what runs.
    Status(command::status::Args),
    /// Delete the registration of a release, so that no pod waits for its replicas.
    #[command(alias = "leave")]
    Deregister(command::deregister::Args),
    /// Print completions for a shell.
    Completions(command::completions::Args),
    /// Print a man page, or write one for each verb.
    Man(command::man::Args),
}

impl Cli {
    /// Carries out the verb.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.verb {
            TopVerb::Explain(args) => args.run(),
            TopVerb::Check(args) => args.run(),
            TopVerb::Convert(args) => args.run(),
            TopVerb::Rewrite(args) => args.run(),
            TopVerb::Render(args) => args.run(),
            TopVerb::Node(args) => args.run(),
            TopVerb::Webhook(args) => args.run(),
            TopVerb::Controller(args) => args.run(),
            TopVerb::Status(args) => args.run(),
            TopVerb::Deregister(args) => args.run(),
            TopVerb::Completions(args) => args.run(Self::command()),
            TopVerb::Man(args) => args.run(Self::command()),
        };
        result.unwrap_or_else(|failure| output::fail(&failure))
    }
}
