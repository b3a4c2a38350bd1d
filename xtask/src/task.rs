//! The tasks and their names: one row a task.

use std::process::ExitCode;

use crate::{
    bench, cluster, fuzz,
    host::{Host, say},
    mutants, test,
};

/// What a task takes, and what it comes to; an error is what stopped it.
type Run = fn(&Host, &[String]) -> Result<ExitCode, String>;

const TASKS: [(&str, &str, Run); 5] = [
    ("test", "format, lints, each crate alone, dependencies, fuzzing, every test", test::run),
    ("bench [--strict]", "what the project promises about speed and size", bench::run),
    ("fuzz [--seconds N] [TARGET…]", "search for inputs that break a law", fuzz::run),
    (
        "cluster up|down|status",
        "a real control plane and node that stay, for trying things",
        cluster::run,
    ),
    ("mutants [ARGUMENT…]", "which changes to references and rules no test sees", mutants::run),
];

/// Runs the task that `arguments` begin with: exit code 0, 1 if something is
/// wrong with the project, 2 if with the arguments.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (name, rest) = match arguments.split_first() {
        None => ("help", &[][..]),
        Some((name, rest)) => (name.as_str(), rest),
    };
    if matches!(name, "help" | "--help" | "-h") {
        help();
        return ExitCode::SUCCESS;
    }
    let named = |task: &&(&str, _, _)| task.0.split(' ').next() == Some(name);
    let Some((.., run)) = TASKS.iter().find(named) else {
        say(&format!("expected a task, found {name:?}"));
        help();
        return ExitCode::from(2);
    };
    Host::new().and_then(|host| run(&host, rest)).unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn help() {
    say("Tasks of this project:\n");
    let width = TASKS.iter().map(|(usage, ..)| usage.chars().count()).max().unwrap_or(0);
    for (usage, meaning, _) in TASKS {
        say(&format!("  cargo xtask {usage:width$}  {meaning}"));
    }
    say("\nTools and downloads are kept in IMAGE_SWAP_CACHE (default: ~/.cache/image-swap).");
    say("With CI=true tools are installed, and one that is missing is a failure.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_nobody_knows_is_refused_as_usage() {
        assert_eq!(run(&["tset".to_owned()]), ExitCode::from(2));
    }

    #[test]
    fn help_is_what_one_gets_without_a_task() {
        assert_eq!(run(&[]), ExitCode::SUCCESS);
    }
}
