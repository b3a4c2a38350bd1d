//! `image-swap render bootstrap`: the script runs with real shells, and real containerd pulls.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
};

use image_swap_lab::{HostOptions, LabHost, MIRROR, Trust};

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, PROGRAM, Ran, Tree, run, walk},
    files::{WITH_PATH, WITHOUT_PATH},
    images::{lab, parts},
};

const CONFIG: &str = "/etc/containerd/config.toml";
const DROP_IN: &str = "/etc/containerd/conf.d/image-swap.toml";
/// A config.toml that imports drop-ins.
const IMPORTS: &str = "version = 2\nimports = [\n  \"/etc/containerd/conf.d/*.toml\", # kept\n]\n";
const RULES: &str = "quay.io::harbor.example.org/airgap-images/quay.io";

/// A containerd that reads its files as the real one does, and never runs. `containerd config
/// dump` prints all files.
const CONTAINERD: &str = "#!/bin/sh
if [ \"$1\" = --version ]; then
    echo containerd github.com/containerd/containerd/v2 v@VERSION@
else
    cat /etc/containerd/config.toml /etc/containerd/conf.d/*.toml 2>/dev/null
    [ ! -e /etc/containerd/broken ]
fi
";
/// A `ctr` that reports a CRI plugin that fails while `/run/containerd/dead` is there.
const CTR: &str = "#!/bin/sh
state=ok
if [ -e /run/containerd/dead ] && grep -qrs config_path /etc/containerd/conf.d; then state=error; fi
echo 'TYPE ID PLATFORMS STATUS'
echo io.containerd.grpc.v1 cri - $state
";
/// A `sleep` that returns at once, and lets the clock of the machine advance.
const SLEEP: &str = "#!/bin/sh
IFS=. read -r now rest < /proc/uptime
echo $((now + $1)).00 1.00 > /proc/uptime
";

/// The programs of a machine that are not real.
struct FakeMachine {
    host: LabHost,
    bin: PathBuf,
    script: PathBuf,
    _socket: Option<UnixListener>,
}

/// Writes a program.
fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns a command that runs `command`, and kills it with its children after one minute.
fn limited(command: &Command) -> Command {
    let mut timeout = Command::new("timeout");
    timeout.args(["--signal=KILL", "60"]).arg(command.get_program()).args(command.get_args());
    timeout.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    timeout
}

/// Renders the script with `options`.
fn script(options: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["render", "bootstrap"]).args(options);
    let ran = run(limited(&command));
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

impl FakeMachine {
    /// Returns a machine with containerd `version`, which runs if `is_running`.
    fn new(version: &str, is_running: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let (_, content) = lab()?;
        let host = LabHost::start(content)?;
        let bin = host.root().join("bin");
        fs::create_dir_all(&bin)?;
        program(&bin.join("containerd"), &CONTAINERD.replace("@VERSION@", version));
        program(&bin.join("ctr"), CTR);
        program(&bin.join("sleep"), "#!/bin/sh\n");
        let restart = "echo restarted >> /run/containerd/restarts";
        let text = script(&["--mirrors", RULES, "--restart-command", restart]);
        let script = host.write("/bootstrap.sh", &text)?;
        let socket = host.root().join("run/containerd/containerd.sock");
        let socket = is_running.then(|| UnixListener::bind(socket)).transpose()?;
        Ok(Self { host, bin, script, _socket: socket })
    }

    /// Returns a command that runs `shell` on the machine.
    fn command(&self, shell: &[&str]) -> Command {
        let mut command = self.host.inside(shell[0]);
        command.args(&shell[1..]);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()));
        command
    }

    /// Runs the script by `shell`. Returns its log.
    #[track_caller]
    fn run(&self, shell: &[&str]) -> String {
        let mut command = self.command(shell);
        command.arg(&self.script);
        let ran = run(limited(&command));
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
        ran.stderr
    }

    fn path(&self, path: &str) -> PathBuf {
        self.host.root().join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn write(&self, path: &str, text: &str) {
        self.host.write(path, text).unwrap();
    }

    /// Returns the files of containerd and of image-swap.
    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for path in ["/etc/containerd", "/var/lib/image-swap"] {
            walk(&self.path(path), &mut tree);
        }
        tree
    }

    /// Removes all files, and writes config.toml.
    fn reset(&self, config: Option<&str>) {
        clear(&self.host.root());
        let _ = fs::remove_file(self.path("/run/containerd/restarts"));
        if let Some(config) = config {
            self.write(CONFIG, config);
        }
    }
}

/// Returns the modification times of regular files, by path.
fn times(tree: &Tree) -> BTreeMap<&Path, std::time::SystemTime> {
    let time = |path: &'_ PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    tree.keys().filter(|path| path.is_file()).map(|path| (path.as_path(), time(path))).collect()
}

/// The shells of machines: Debian, Alpine and Flatcar, and all others.
fn shells() -> Result<Vec<Vec<String>>, Box<dyn std::error::Error>> {
    let busybox = parts().registry()?.busybox.display().to_string();
    let shells = [&["dash", "-u"][..], &[&busybox, "sh"], &["bash", "--posix", "-eu"]];
    Ok(shells.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect())
}

/// A host before the script, and the result of the script.
struct Case {
    version: &'static str,
    /// Files of the host.
    files: &'static [(&'static str, &'static str)],
    /// The file that the script adds; `None` for none.
    added: Option<(&'static str, &'static str)>,
    /// The directory of the hosts; `None` if none are written.
    certs: Option<&'static str>,
    /// A part of the log; empty for no log.
    log: &'static str,
}

const OLD_TABLE: &str = "plugins.\"io.containerd.grpc.v1.cri\"";
const NEW_TABLE: &str = "plugins.\"io.containerd.cri.v1.images\"";
const CERTS_D: Option<&str> = Some("/etc/containerd/certs.d");

const CASES: &[Case] = &[
    Case {
        version: "1.6.20",
        files: &[],
        added: Some((CONFIG, OLD_TABLE)),
        certs: CERTS_D,
        log: "",
    },
    Case {
        version: "2.4.2",
        files: &[],
        added: Some((CONFIG, NEW_TABLE)),
        certs: CERTS_D,
        log: "",
    },
    Case {
        version: "2.1.9",
        files: &[(CONFIG, IMPORTS)],
        added: Some((DROP_IN, OLD_TABLE)),
        certs: CERTS_D,
        log: "",
    },
    Case {
        version: "2.3.4",
        files: &[(CONFIG, "version = 4\nimports = ['conf.d/*.toml']\n[debug]\nlevel = 'info'\n")],
        added: Some((DROP_IN, NEW_TABLE)),
        certs: CERTS_D,
        log: "",
    },
    // A drop-in would replace the whole table of the plugin.
    Case {
        version: "1.7.24",
        files: &[(CONFIG, IMPORTS)],
        added: None,
        certs: CERTS_D,
        log: "set config_path of the CRI registry in /etc/containerd/config.toml",
    },
    Case {
        version: "2.4.2",
        files: &[(CONFIG, WITHOUT_PATH)],
        added: None,
        certs: CERTS_D,
        log: "set config_path of the CRI registry in /etc/containerd/config.toml",
    },
    Case {
        version: "2.4.2",
        files: &[(CONFIG, "imports = ['/etc/containerd/conf.d/*.toml']\n")],
        added: None,
        certs: CERTS_D,
        log: "set config_path of the CRI registry in /etc/containerd/config.toml",
    },
    Case { version: "1.7.24", files: &[(CONFIG, WITH_PATH)], added: None, certs: CERTS_D, log: "" },
    Case {
        version: "2.4.2",
        files: &[
            (CONFIG, IMPORTS),
            (
                "/etc/containerd/conf.d/own.toml",
                "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n\
                 config_path = '/etc/containerd/hosts.d' # of GKE\n",
            ),
        ],
        added: None,
        certs: Some("/etc/containerd/hosts.d"),
        log: "",
    },
    Case {
        version: "2.4.2",
        files: &[(
            CONFIG,
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
             config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n",
        )],
        added: None,
        certs: CERTS_D,
        log: "is the list /etc/containerd/certs.d:/etc/docker/certs.d",
    },
    Case {
        version: "2.4.2",
        files: &[(
            CONFIG,
            "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n\
             endpoint = ['https://m.example.org']\n",
        )],
        added: None,
        certs: CERTS_D,
        log: "remove registry.mirrors.docker.io, which stops CRI",
    },
    Case {
        version: "2.4.2",
        files: &[(CONFIG, "version = 2\ndisabled_plugins = [\"cri\"]\n")],
        added: None,
        certs: CERTS_D,
        log: "CRI is disabled",
    },
    Case {
        version: "2.4.2",
        files: &[(CONFIG, IMPORTS), ("/etc/containerd/broken", "")],
        added: None,
        certs: CERTS_D,
        log: "containerd cannot read it",
    },
    Case {
        version: "2.4.2",
        files: &[
            (CONFIG, WITH_PATH),
            ("/etc/containerd/certs.d/quay.io/hosts.toml", "server = 'https://other.example'\n"),
        ],
        added: None,
        certs: None,
        log: "another tool wrote /etc/containerd/certs.d/quay.io/hosts.toml: quay.io gets no mirror",
    },
    Case {
        version: "2.4.2",
        files: &[(CONFIG, WITH_PATH), ("/etc/containerd/certs.d/_backup/a/hosts.toml", "")],
        added: None,
        certs: None,
        log: "spegel manages /etc/containerd/certs.d",
    },
];

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn script_adds_only_files_in_every_shell() -> Outcome {
    let shells = shells()?;
    for case in CASES {
        let machine = FakeMachine::new(case.version, false)?;
        for shell in &shells {
            let shell: Vec<&str> = shell.iter().map(String::as_str).collect();
            machine.reset(None);
            for (path, text) in case.files {
                machine.write(path, text);
            }
            let before = machine.tree();
            let name = format!("{shell:?} {} {:?}", case.version, case.files);
            let log = machine.run(&shell);
            assert_eq!(log.is_empty(), case.log.is_empty(), "{name}: {log}");
            assert!(log.contains(case.log), "{name}: {log}");
            if let Some((path, table)) = case.added {
                let text = machine.read(path).unwrap();
                assert!(
                    text.starts_with("# Written by image-swap") && text.contains(table),
                    "{text}"
                );
            }
            if let Some(certs) = case.certs {
                let hosts = machine.read(&format!("{certs}/quay.io/hosts.toml"));
                let hosts = hosts.unwrap_or_default();
                assert!(
                    hosts.contains("https://harbor.example.org/v2/airgap-images/quay.io"),
                    "{name}: {log}"
                );
            }
            let after = machine.tree();
            assert!(before.iter().all(|(path, file)| after.get(path) == Some(file)), "{name}");
            let added = after.keys().filter(|path| !before.contains_key(*path) && path.is_file());
            let hosts = if case.certs.is_some() { 2 } else { added.clone().count() };
            assert_eq!(added.count(), hosts + usize::from(case.added.is_some()), "{name}");

            let written = times(&after);
            assert_eq!(machine.run(&shell), log, "{name}");
            assert_eq!(machine.tree(), after, "{name}");
            assert_eq!(times(&after), written, "{name}");
        }
        assert_eq!(machine.read("/run/containerd/restarts"), None, "nothing runs");
    }
    Ok(())
}

/// Runs the script by bash, with `trap` before each command.
fn run_with_trap(machine: &FakeMachine, trap: &str) -> std::process::ExitStatus {
    let mut command = machine.command(&["bash", "--posix", "-c"]);
    command.arg(format!("set -o functrace; trap '{trap}' DEBUG; . \"$0\"")).arg(&machine.script);
    limited(&command).output().unwrap().status
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn killed_script_is_completed_by_next_run() -> Outcome {
    let machine = FakeMachine::new("2.4.2", true)?;
    let shell = ["bash", "--posix"];
    machine.reset(Some(IMPORTS));
    // A place is a line of the script, and the lines of its callers.
    let status =
        run_with_trap(&machine, "echo \"$LINENO ${BASH_LINENO[*]}\" >> /run/containerd/places");
    assert!(status.success(), "{status}");
    let expected = machine.tree();
    assert_eq!(machine.read("/run/containerd/restarts").unwrap(), "restarted\n");
    let places = machine.read("/run/containerd/places").unwrap();
    let places: BTreeSet<&str> = places.lines().collect();
    let (mut kills, mut seen) = (0, BTreeSet::new());
    for place in &places {
        machine.reset(Some(IMPORTS));
        // The signal also ends the subshells of the script.
        let trap = format!("[ \"$LINENO ${{BASH_LINENO[*]}}\" != \"{place}\" ] || kill -KILL 0");
        if !run_with_trap(&machine, &trap).success() {
            kills += 1;
        }
        let left = machine.tree();
        let config = machine.path(CONFIG);
        assert_eq!(left[&config], expected[&config], "killed at {place}");
        // The next run depends only on the files.
        if seen.insert(left) {
            machine.run(&shell);
            assert_eq!(machine.tree(), expected, "killed at {place}");
        }
    }
    // The loop that waits for CRI may take another path.
    assert!(
        kills > 60 && kills + 5 > places.len() && seen.len() > 10,
        "{kills} of {} places",
        places.len()
    );
    // Real containerd starts with the files that each kill left, and pulls.
    let options = HostOptions { trust: Trust::Public, ..HostOptions::default() };
    let stage = ContainerdHost::with("2.4", &options)?;
    let mut origins = BTreeSet::new();
    for left in &seen {
        copy_tree(left, &machine.host.root(), &stage);
        stage.start();
        origins.insert(stage.pull("quay.io/team/app")?);
    }
    assert_eq!(origins, BTreeSet::from([MIRROR, "quay.io"].map(str::to_owned)));
    Ok(())
}

/// Removes the files that image-swap may change from a host, whose folders are mounted.
fn clear(root: &Path) {
    for path in ["etc/containerd", "var/lib/image-swap"] {
        for entry in fs::read_dir(root.join(path)).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
}

/// Replaces the files of `stage` by those of `tree`, which lie below `root`.
fn copy_tree(tree: &Tree, root: &Path, stage: &ContainerdHost) {
    clear(&stage.host.root());
    for (path, (mode, content)) in tree {
        let path = stage.at(path.strip_prefix(root).unwrap().to_str().unwrap());
        if mode & 0o170_000 == 0o040_000 {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::write(&path, content).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777)).unwrap();
    }
}

/// Returns a root file system with busybox alone.
fn clean_root(script: &str) -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    for folder in ["bin", "dev", "etc", "proc", "run/containerd", "usr/bin", "var/lib"] {
        fs::create_dir_all(root.path().join(folder))?;
    }
    fs::copy(&parts().registry()?.busybox, root.path().join("bin/busybox"))?;
    let mut install = Command::new("chroot");
    install.arg(root.path()).args(["/bin/busybox", "--install", "-s", "/bin"]);
    assert!(limited(&install).status()?.success());
    fs::write(root.path().join("proc/uptime"), "100.00 1.00\n")?;
    fs::write(root.path().join("dev/null"), "")?;
    fs::write(root.path().join("bootstrap.sh"), script)?;
    Ok(root)
}

/// Runs the script on a clean root file system.
fn run_in(root: &Path) -> Ran {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/sh", "/bootstrap.sh"]).env("PATH", "/usr/sbin:/usr/bin:/bin");
    let ran = run(limited(&command));
    fs::write(root.join("dev/null"), "").unwrap();
    ran
}

fn tree_of(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for path in ["etc", "var"] {
        walk(&root.join(path), &mut tree);
    }
    tree
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn clean_root_without_runtime_gets_hosts() -> Outcome {
    let root = clean_root(&script(&["--mirrors", RULES]))?;
    let ran = run_in(root.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("containerd is absent; when it is installed, set"), "{ran:?}");
    assert!(root.path().join("etc/containerd/certs.d/quay.io/hosts.toml").exists());
    assert!(!root.path().join("etc/containerd/config.toml").exists());
    let after = tree_of(root.path());
    assert_eq!(run_in(root.path()).code, 0);
    assert_eq!(tree_of(root.path()), after);
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn setting_is_removed_when_cri_does_not_answer() -> Outcome {
    let restart = "echo restarted >> /run/restarts";
    let root = clean_root(&script(&["--mirrors", RULES, "--restart-command", restart]))?;
    let at = |path: &str| root.path().join(path);
    program(&at("usr/bin/containerd"), &CONTAINERD.replace("@VERSION@", "2.4.2"));
    program(&at("usr/bin/ctr"), CTR);
    program(&at("usr/bin/sleep"), SLEEP);
    fs::create_dir_all(at("etc/containerd"))?;
    fs::write(at("etc/containerd/config.toml"), IMPORTS)?;
    fs::write(at("run/containerd/dead"), "")?;
    let _socket = UnixListener::bind(at("run/containerd/containerd.sock"))?;
    let before = tree_of(root.path());
    let ran = run_in(root.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("CRI does not answer with config_path"), "{ran:?}");
    assert!(!ran.stderr.contains("without config_path either"), "{ran:?}");
    assert_eq!(tree_of(root.path()), before);
    assert_eq!(fs::read_to_string(at("run/restarts"))?, "restarted\nrestarted\n");
    let uptime = fs::read_to_string(at("proc/uptime"))?;
    let (seconds, _) = uptime.split_once('.').unwrap();
    assert!(seconds.parse::<u32>()? >= 160, "{uptime}");

    // CRI works now.
    fs::remove_file(at("run/containerd/dead"))?;
    let ran = run_in(root.path());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(at("etc/containerd/conf.d/image-swap.toml").exists());
    Ok(())
}

/// Runs the script of `stage`'s declaration on its host, with this command as restart.
fn bootstrap(stage: &ContainerdHost, restart: &str) -> Result<Ran, Box<dyn std::error::Error>> {
    let declaration = stage.declaration.display().to_string();
    let text = script(&["-f", &declaration, "--restart-command", restart]);
    let path = stage.host.write("/bootstrap.sh", &text)?;
    let mut command = stage.host.inside("sh");
    command.arg(path).env("PATH", stage.path());
    Ok(run(limited(&command)))
}

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn new_machine_pulls_from_mirror() -> Outcome {
    for (minor, config) in
        [("1.6", None), ("1.6", Some(WITH_PATH)), ("2.4", None), ("2.4", Some(IMPORTS))]
    {
        for (is_running, trust) in [(true, Trust::Private), (false, Trust::Public)] {
            let options = HostOptions { trust, ..HostOptions::default() };
            let stage = ContainerdHost::with(minor, &options)?;
            if let Some(config) = config {
                stage.config(config);
            }
            if is_running {
                stage.start();
            }
            let ran = bootstrap(&stage, &stage.restart_command())?;
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{minor} {config:?}");
            if !is_running {
                stage.start();
            }
            assert_eq!(stage.pull("quay.io/team/app")?, MIRROR, "{minor} {config:?}");
            if let Some(config) = config {
                assert_eq!(stage.read(CONFIG).unwrap(), config);
            }
            let after = stage.tree();
            let ran = bootstrap(&stage, "exit 1")?;
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{minor} {config:?}");
            assert_eq!(stage.tree(), after);
            // The agent changes only the authorities of hosts, which needs no restart.
            let ran = run(limited(&stage.command("plan", &[])));
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(trust == Trust::Private || !ran.stdout.contains("+++"), "{ran:?}");
            let ran = run(limited(&stage.command("apply", &[])));
            assert_eq!(ran.code, 0, "{ran:?}");
            assert_eq!(stage.pull("quay.io/team/app")?, MIRROR, "{minor} {config:?}");
            let ran = run(limited(&stage.command("plan", &[])));
            assert!(ran.code == 0 && !ran.stdout.contains("+++"), "{ran:?}");
        }
    }
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_that_does_not_start_is_put_back() -> Outcome {
    for (minor, config) in [("1.6", None), ("2.4", Some(IMPORTS))] {
        let stage = ContainerdHost::with(minor, &HostOptions::default())?;
        if let Some(config) = config {
            stage.config(config);
        }
        stage.start();
        let before = stage.tree();
        // The service manager stops containerd, and cannot start it with the setting.
        let restart = format!(
            "if grep -qrs config_path /etc/containerd; then kill $(cat /run/containerd/test/pid); \
             exit 1; fi; {}",
            stage.restart_command()
        );
        let ran = bootstrap(&stage, &restart)?;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains("CRI does not answer with config_path"), "{ran:?}");
        assert!(!ran.stderr.contains("without config_path either"), "{ran:?}");
        assert_eq!(stage.tree(), before);
        assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
    }
    Ok(())
}
