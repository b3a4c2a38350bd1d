//! Units of systemd, as far as they show the command line of a service.
//!
//! Source: systemd.unit(5), systemd.service(5).

use crate::{
    files::{HostFiles, HostPath},
    runtime::glob,
};

/// The directories of units, in descending precedence.
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Returns the words of the command line of the service `name`; empty if there is none. Adds
/// to `unseen` the paths that have to be read first.
pub(crate) fn command_line(
    name: &str,
    files: &HostFiles,
    unseen: &mut Vec<HostPath>,
) -> Vec<String> {
    let lines = unit_lines(name, files, unseen);
    // The last command replaces the earlier ones, also if it is empty.
    let command = lines.iter().rev().find_map(|line| line.strip_prefix("ExecStart="));
    command.map(split).unwrap_or_default()
}

/// Returns the values of the environment of the service `name`, with their names: those in its
/// units, and then those in the files that these name.
pub(crate) fn environment(
    name: &str,
    files: &HostFiles,
    unseen: &mut Vec<HostPath>,
) -> Vec<String> {
    let mut variables = Vec::new();
    for line in unit_lines(name, files, unseen) {
        if let Some(variable) = line.strip_prefix("Environment=") {
            variables.push(variable.to_owned());
        } else if let Some(file) = line.strip_prefix("EnvironmentFile=") {
            let found = glob::expand(file.trim_start_matches('-'), files, unseen);
            variables.extend(found.iter().flat_map(|path| lines(files, path)));
        }
    }
    variables
}

/// Returns the lines of the unit of a service and of its drop-ins, each joined with those that
/// continue it.
fn unit_lines(name: &str, files: &HostFiles, unseen: &mut Vec<HostPath>) -> Vec<String> {
    let mut lines = Vec::new();
    for path in sources(name, files, unseen) {
        let text = files.text(&path).unwrap_or_default().replace("\\\n", " ");
        lines.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    lines
}

/// Returns the lines of a file that are not comments.
pub(crate) fn lines(files: &HostFiles, path: &HostPath) -> Vec<String> {
    let lines = files.text(path).unwrap_or_default().lines();
    lines.filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect()
}

/// Returns the unit of a service, and then its drop-ins in the order in which they are read.
pub(crate) fn sources(name: &str, files: &HostFiles, unseen: &mut Vec<HostPath>) -> Vec<HostPath> {
    let units = DIRECTORIES
        .iter()
        .flat_map(|directory| glob::expand(&format!("{directory}/{name}.service"), files, unseen));
    let units: Vec<HostPath> = units.take(1).collect();
    let mut drop_ins: Vec<HostPath> = Vec::new();
    for directory in DIRECTORIES {
        let pattern = format!("{directory}/{name}.service.d/*.conf");
        for path in glob::expand(&pattern, files, unseen) {
            // A file hides others of its name in later directories.
            if !drop_ins.iter().any(|other| other.name() == path.name()) {
                drop_ins.push(path);
            }
        }
    }
    drop_ins.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    units.into_iter().chain(drop_ins).collect()
}

/// Splits a command line into words, and takes their quotes off.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{HostEntry, HostFile};

    #[test]
    fn last_command_line_is_in_force() {
        let mut files = HostFiles::default();
        let mut add = |path: &str, text: &str| {
            files.insert(path, HostEntry::File(HostFile::public(text)));
        };
        add(
            "/lib/systemd/system/docker.service",
            "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
        );
        add(
            "/etc/systemd/system/docker.service.d/a.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --config-file '/opt/d.json'\n",
        );
        let directory = |names: &[&str]| {
            HostEntry::Directory(names.iter().map(|name| (*name).to_owned()).collect())
        };
        files.insert("/etc/systemd/system/docker.service.d", directory(&["a.conf"]));
        let mut unseen = Vec::new();
        let words = command_line("docker", &files, &mut unseen);
        assert_eq!(words, ["/usr/bin/dockerd", "--config-file", "/opt/d.json"]);
        assert!(unseen.contains(&"/etc/systemd/system/docker.service".into()));
        assert_eq!(split("a \"b c\"'d' ''"), ["a", "b cd", ""]);
    }
}
