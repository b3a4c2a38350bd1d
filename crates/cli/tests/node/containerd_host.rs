//! A machine with a containerd that can be restarted from inside.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use image_swap_lab::{Content, HostOptions, LabHost, MIRROR, RegistryServer};
use image_swap_node::cri::{self, CriClient};
use image_swap_testbed::{Containerd, Wait, until};

use crate::{Outcome, images::TAG, lab};

/// The path of the `image-swap` binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_image-swap");
/// The longest time that containerd may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// The script by which the administrator of a host restarts containerd. In tests it also starts
/// containerd.
const RESTART: &str = r#"#!/bin/sh
state=/run/containerd/test
mkdir -p $state
if [ -f $state/pid ]; then
    pid=$(cat $state/pid)
    kill "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
setsid @CONTAINERD@ >>$state/log 2>&1 </dev/null &
echo $! > $state/pid
"#;

/// A host, its mirror, and a declaration for it.
pub(crate) struct ContainerdHost {
    pub(crate) host: LabHost,
    pub(crate) mirror: RegistryServer,
    containerd: Containerd,
    pub(crate) declaration: PathBuf,
}

/// The result of one run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Paths below a directory, with mode and content.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl ContainerdHost {
    /// Returns a host with containerd 2.4, which does not run yet and has no configuration.
    pub(crate) fn set() -> Result<Self, Box<dyn std::error::Error>> {
        Self::with("2.4", &HostOptions::default())
    }

    /// Returns such a host with another containerd, beside a mirror with these options.
    pub(crate) fn with(
        minor: &str,
        options: &HostOptions,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (runtimes, content) = lab()?;
        Self::of(runtimes.containerd(minor)?, content, options)
    }

    /// Returns a host with this containerd, beside a mirror with these options.
    pub(crate) fn of(
        containerd: &Containerd,
        content: &Content,
        options: &HostOptions,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let host = LabHost::start(content)?;
        let mirror = host.mirror(options)?;
        let restart = RESTART.replace("@CONTAINERD@", &containerd.program.display().to_string());
        let script = host.write("/restart.sh", &restart)?;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        let declaration = crate::declared(&host, options)?;
        Ok(Self { host, mirror, containerd: containerd.clone(), declaration })
    }

    /// Returns a host on which containerd 2.4 runs with the file `config`, and the host's files.
    pub(crate) fn started(config: &str) -> Result<(Self, Tree), Box<dyn std::error::Error>> {
        let stage = Self::set()?;
        stage.config(config);
        stage.start();
        let before = stage.tree();
        Ok((stage, before))
    }

    /// Applies with a restart, pulls from the mirror, and restores the files of `before`.
    #[track_caller]
    pub(crate) fn applies_and_restores(&self, before: &Tree) -> Outcome {
        self.applies()?;
        self.restores(before);
        Ok(())
    }

    /// Applies with a restart, and pulls from the mirror.
    #[track_caller]
    pub(crate) fn applies(&self) -> Outcome {
        let ran = self.allowed("apply", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(self.pull("quay.io/team/app")?, MIRROR);
        Ok(())
    }

    /// Restores with a restart the files of `before`.
    #[track_caller]
    pub(crate) fn restores(&self, before: &Tree) {
        let ran = self.allowed("restore", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(self.tree(), *before);
    }

    /// Returns the command that restarts containerd.
    pub(crate) fn restart_command(&self) -> String {
        self.host.root().join("restart.sh").display().to_string()
    }

    /// Starts containerd, or restarts it, and waits for its CRI.
    pub(crate) fn start(&self) {
        let status = self.host.inside(self.restart_command()).status().unwrap();
        assert!(status.success());
        self.wait();
    }

    /// Waits for CRI.
    pub(crate) fn wait(&self) {
        until("containerd's CRI", DEADLINE, || {
            let answer = self.client().and_then(|mut client| client.version());
            answer.map(drop).map_err(|error| Wait::NotYet(error.to_string()))
        })
        .unwrap();
    }

    pub(crate) fn client(&self) -> Result<CriClient, cri::Error> {
        CriClient::connect(&self.host.root().join("run/containerd/containerd.sock"))
    }

    /// Pulls an image of a public registry, and returns the origin of its manifest.
    pub(crate) fn pull(&self, image: &str) -> Result<String, cri::Error> {
        self.host.log().clear();
        self.client()?.pull(&format!("{image}:{TAG}"), DEADLINE)?;
        let requests = self.host.log().requests();
        Ok(requests.iter().find(|request| request.is_pull()).unwrap().host.clone())
    }

    /// Runs `image-swap node VERB` with `options` and the declaration.
    pub(crate) fn node(&self, verb: &str, options: &[&str]) -> Ran {
        run(self.command(verb, options))
    }

    pub(crate) fn command(&self, verb: &str, options: &[&str]) -> Command {
        let mut command = self.host.inside(PROGRAM);
        command.args(["node", verb, "--runtime", "containerd"]);
        if verb != "restore" && !options.contains(&"--mirrors") {
            command.arg("--registry-info").arg(&self.declaration);
        }
        command.args(options).env("PATH", self.path());
        command
    }

    /// Runs `image-swap node VERB --restart allow` with the host's own restart command.
    pub(crate) fn allowed(&self, verb: &str, options: &[&str]) -> Ran {
        let command = self.restart_command();
        let allow = ["--restart", "allow", "--restart-command", &command];
        self.node(verb, &[&allow, options].concat())
    }

    /// Returns the `PATH` with the programs of containerd.
    pub(crate) fn path(&self) -> String {
        let bin = self.containerd.program.parent().unwrap().display();
        format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// Returns the path of the host's `path` on this machine.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.host.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    pub(crate) fn config(&self, text: &str) {
        self.host.write("/etc/containerd/config.toml", text).unwrap();
    }

    /// Returns the files that image-swap may change: those below /etc/containerd, and its own
    /// state.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for path in ["/etc/containerd", "/var/lib/image-swap"] {
            walk(&self.at(path), &mut tree);
        }
        tree
    }
}

/// Runs `command` to its end.
pub(crate) fn run(mut command: Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs the program of `command` in a separate mount namespace, prepared by `script`.
pub(crate) fn again(stage: &ContainerdHost, command: &Command, script: &str) -> Ran {
    let words: Vec<_> = command.get_args().collect();
    let at = words.iter().position(|word| *word == PROGRAM).unwrap();
    let mut inside = stage.host.inside("unshare");
    inside.args(["--mount", "sh", "-c", &format!("{script}\nexec \"$@\""), "sh"]);
    inside.args(&words[at..]);
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(inside)
}

pub(crate) fn walk(path: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(path).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        let mode = data.permissions().mode();
        if data.is_dir() {
            tree.insert(entry.path(), (mode, Vec::new()));
            walk(&entry.path(), tree);
        } else {
            tree.insert(entry.path(), (mode, fs::read(entry.path()).unwrap()));
        }
    }
}
