//! The output of strace(1), reduced to calls that write or restart.

use std::{collections::BTreeMap, fmt};

/// The traced calls, as a flag of strace.
pub(crate) const CALLS: &str = "--trace=openat,write,rename,renameat,renameat2,unlink,unlinkat,\
    mkdir,mkdirat,rmdir,fsync,fdatasync,chmod,fchmod,fchmodat,chown,fchown,fchownat,ftruncate,\
    link,linkat,symlink,symlinkat,fork,vfork,clone,clone3,kill,exit_group";

/// One call of a run.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    name: String,
    /// The number of the call among those of its name, from 1 on, as strace counts.
    ordinal: usize,
    shown: String,
}

impl Event {
    /// Returns strace's flags that send `signal` before this call.
    pub(crate) fn flags(&self, signal: &str) -> [String; 2] {
        let Self { name, ordinal, .. } = self;
        [format!("--trace={name}"), format!("--inject={name}:signal={signal}:when={ordinal}")]
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Parses the output of `strace -y`. Returns the calls that change a file accepted by `is_own`, or
/// that start, end or signal a process.
pub(crate) fn events(output: &str, is_own: impl Fn(&str) -> bool) -> Vec<Event> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut events = Vec::new();
    for line in output.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        // `+++ exited with 0 +++`, `--- SIGCHLD {…} ---`
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let ordinal = counts.entry(name).or_default();
        *ordinal += 1;
        let changes = match name {
            "openat" => rest.contains("O_CREAT"),
            // The first text in angle brackets is the path of the written file.
            "write" => {
                let to = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                to.is_some_and(|(path, _)| is_own(path))
            }
            _ => true,
        };
        if changes {
            let shown: String = line.chars().take(160).collect();
            events.push(Event { name: name.to_owned(), ordinal: *ordinal, shown });
        }
    }
    events
}

#[test]
fn calls_are_filtered_and_counted_by_name() {
    let output = "openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY) = 3</etc/hosts>\n\
                  openat(AT_FDCWD, \"/etc/own/a\", O_WRONLY|O_CREAT, 0600) = 3</etc/own/a>\n\
                  write(2</dev/null>, \"x\", 1) = 1\n\
                  write(3</etc/own/a>, \"x\", 1) = 1\n\
                  --- SIGCHLD {si_signo=SIGCHLD} ---\n\
                  +++ exited with 0 +++\n";
    let events = events(output, |path| path.starts_with("/etc/own"));
    let flags: Vec<String> = events.iter().map(|event| event.flags("SIGKILL")[1].clone()).collect();
    assert_eq!(
        flags,
        ["--inject=openat:signal=SIGKILL:when=2", "--inject=write:signal=SIGKILL:when=2"]
    );
}
