//! Kills of `image-swap node` before every system call that writes or restarts.
//!
//! The host must still start and pull, and the next run must complete the work of the killed
//! one. The watchdog is killed in the same way, after the process that made the change.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use image_swap_lab::{Daemon, HostOptions, LabHost, RegistryServer, Server, Trust};
use image_swap_testbed::{Containerd, Program, Wait, until};

use crate::{
    Outcome, announce,
    declared::Declared,
    images::{Named, SAMPLES},
    lab,
    node::{self, Ran, Tree},
    parts,
    state::{self, State},
    strace::{self, Event},
};

/// The deadline for processes that a killed process has started.
const DEADLINE: Duration = Duration::from_mins(1);

/// Runs a command of image-swap under strace with these flags.
type Run<'r> = &'r dyn Fn(&CrashTest<'_>, &[&str]) -> Output;

/// A host, with its files before and after `apply`.
struct CrashTest<'a> {
    host: LabHost,
    daemon: Daemon,
    declared: Declared,
    strace: &'a Program,
    before: Tree,
    applied: Tree,
    _mirror: RegistryServer,
    scratch: tempfile::TempDir,
}

impl<'a> CrashTest<'a> {
    fn set(
        state: State,
        rules: &str,
        containerd: &Containerd,
        strace: &'a Program,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (_, content) = lab()?;
        let host = LabHost::start(content)?;
        let options = HostOptions { trust: Trust::Private, ..HostOptions::default() };
        let mirror = host.mirror(&options)?;
        state::make(&host, state, 2, containerd);
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let declared = Declared::palette(&host, &options).with_rules(rules);
        let before = node::tree(&host);
        let scratch = tempfile::tempdir()?;
        let mut this = Self {
            host,
            daemon,
            declared,
            strace,
            applied: Tree::new(),
            before,
            _mirror: mirror,
            scratch,
        };
        assert_eq!(Ran::of(&mut this.apply()).code, Some(0));
        this.applied = node::tree(&this.host);
        assert_ne!(this.applied, this.before);
        assert_eq!(Ran::of(&mut this.restore()).code, Some(0));
        node::assert_same(&node::tree(&this.host), &this.before, "restored");
        Ok(this)
    }

    fn apply(&self) -> Command {
        let image = SAMPLES[0].reference(Named::Tag, parts()).unwrap();
        node::apply(&self.host, &self.daemon, &self.declared, &["--image", &image])
    }

    fn restore(&self) -> Command {
        node::restore(&self.host, &self.daemon)
    }

    /// Runs `command` under strace.
    fn run(&self, command: &Command, flags: &[&str]) -> Output {
        self.traced(command, flags).output().unwrap()
    }

    /// Returns `command`, which runs inside the host, under strace.
    fn traced(&self, command: &Command, flags: &[&str]) -> Command {
        let (enter, program) = node::words(command);
        let mut traced = Command::new(&enter[0]);
        traced.args(&enter[1..]).arg(&self.strace.path).args(flags).args(program);
        traced.env("LD_LIBRARY_PATH", &self.strace.libraries);
        traced
    }

    /// Returns the calls of a `run` that write or restart.
    fn events(&self, run: Run<'_>) -> Vec<Event> {
        let log = self.scratch.path().join("strace");
        let ran = run(self, &["-y", "-o", log.to_str().unwrap(), strace::CALLS]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        strace::events(&fs::read_to_string(&log).unwrap(), is_of_the_host)
    }

    /// Kills a `run` before `event`. Returns true if the run reached the event.
    fn kill_at(&self, run: Run<'_>, event: &Event) -> bool {
        let [trace, inject] = event.flags("SIGKILL");
        let log = self.scratch.path().join("strace");
        let ran = run(self, &["-o", log.to_str().unwrap(), &trace, &inject]);
        self.wait_for_survivors();
        was_killed(ran.status)
    }

    /// Waits for the processes that outlive a killed one. A rollback holds the lock until it is
    /// complete, and a restart of the runtime continues.
    fn wait_for_survivors(&self) {
        let wait = "lock=/var/lib/image-swap/node/lock; [ ! -e $lock ] || flock $lock true";
        assert!(self.host.inside("sh").args(["-c", wait]).status().unwrap().success());
        let others = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | \
                      grep -q -e '[n]ode guard' -e '[r]estart.sh'";
        until("the end of what was started", DEADLINE, || {
            let found = self.host.inside("sh").args(["-c", others]).status();
            if found.is_ok_and(|found| found.success()) {
                return Err(Wait::NotYet("it runs".to_owned()));
            }
            Ok(())
        })
        .unwrap();
    }

    /// Runs the watchdog with `order`, after the process that made the change has ended.
    fn guard(&self, order: &str, flags: &[&str]) -> Output {
        let (mut socket, remote) = UnixStream::pair().unwrap();
        let mut command = self.host.inside(env!("CARGO_BIN_EXE_image-swap"));
        command.args(["node", "guard"]);
        let mut traced = self.traced(&command, flags);
        traced.stdin(OwnedFd::from(remote)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let guard = traced.spawn().unwrap();
        // The watchdog may have ended already, and then reads and answers nothing.
        drop(traced);
        let _ = writeln!(socket, "{order}");
        let _ = BufReader::new(&socket).read_line(&mut String::new());
        drop(socket);
        guard.wait_with_output().unwrap()
    }

    /// Makes the files those of `tree`.
    fn reset_to(&self, tree: &Tree) {
        for top in ["etc/containerd", "var/lib/image-swap"] {
            for entry in fs::read_dir(self.host.root().join(top)).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
        }
        node::restore_tree(&self.host, tree);
    }

    /// Puts the files back as they were before anything.
    fn reset(&self) {
        self.reset_to(&self.before);
    }

    /// Checks that the runtime starts on the host and pulls.
    fn works(&mut self, reason: &str) {
        let started = self.daemon.restart();
        assert!(started.is_ok(), "{reason}: {started:?}");
        let image = SAMPLES[0].reference(Named::Tag, parts()).unwrap();
        self.host.log().clear();
        let pulled = self.daemon.pull(&image);
        assert!(pulled.is_ok(), "{reason}: {pulled:?}\n{}", self.host.log().text());
    }

    /// Checks that `status` reports an interrupted change.
    fn status(&self, reason: &str) {
        let armed = self.host.root().join("var/lib/image-swap/node/armed.json").exists();
        let ran = Ran::of(&mut node::status(&self.host));
        assert_eq!(ran.output.contains("interrupted"), armed, "{reason}: {}", ran.output);
        assert!(!armed || ran.code == Some(1), "{reason}: {}", ran.output);
    }

    /// Checks that restore writes the original bytes.
    fn restores(&self, reason: &str) {
        let ran = Ran::of(&mut self.restore());
        assert_eq!(ran.code, Some(0), "{reason}: {}", ran.output);
        node::assert_same(&node::tree(&self.host), &self.before, reason);
    }

    /// Checks that the next apply completes the work of the killed one, and that restore writes the
    /// original bytes.
    fn completes(&mut self, reason: &str) {
        let ran = Ran::of(&mut self.apply());
        assert_eq!(ran.code, Some(0), "{reason}: {}", ran.output);
        node::assert_same(&node::tree(&self.host), &self.applied, reason);
        self.works(reason);
        let public = self.host.log().connections(Server::Public);
        assert_eq!(public, 0, "{reason}: from the mirror\n{}", self.host.log().text());
        self.restores(reason);
    }

    /// Kills a `run` before each of its calls, each time from the state of `start`. Checks every
    /// resulting state of the files once.
    fn survives(&mut self, what: &str, run: Run<'_>, start: &dyn Fn(&Self)) {
        start(self);
        let events = self.events(run);
        assert!(events.len() > 10, "{what}: {events:?}");
        let mut states: BTreeMap<Tree, String> = BTreeMap::new();
        let mut killed = 0;
        for (number, event) in events.iter().enumerate() {
            start(self);
            let reason = format!("{what}, killed before call {number}, {event}");
            killed += usize::from(self.kill_at(run, event));
            let state = node::tree(&self.host);
            if states.contains_key(&state) {
                continue;
            }
            self.status(&reason);
            self.works(&reason);
            self.restores(&reason);
            self.reset_to(&state);
            self.completes(&reason);
            states.insert(state, reason);
        }
        start(self);
        announce(&format!(
            "{what}: killed before {killed} of {} calls, which left {} different hosts",
            events.len(),
            states.len()
        ));
        // A call here and there may not come again, but not many.
        assert!(killed * 10 >= events.len() * 9, "{killed} of {}", events.len());
    }
}

fn is_of_the_host(path: &str) -> bool {
    ["/etc/containerd/", "/var/lib/image-swap/", "socket:"].iter().any(|own| path.starts_with(own))
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9) || status.code() == Some(137)
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn apply_without_restart_survives_kills_anywhere() -> Outcome {
    let (runtimes, _) = lab()?;
    let containerd = runtimes.containerd("1.6")?;
    let rules = "docker.io::harbor.example.org/airgap-images/docker.io,\
                 gcr.io::harbor.example.org/airgap-images/gcr.io";
    let mut stage = CrashTest::set(State::ConfigPath, rules, containerd, &runtimes.strace)?;
    stage.survives("apply", &|stage, flags| stage.run(&stage.apply(), flags), &CrashTest::reset);
    let applied = stage.applied.clone();
    let start = move |stage: &CrashTest<'_>| stage.reset_to(&applied);
    stage.survives("restore", &|stage, flags| stage.run(&stage.restore(), flags), &start);
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn apply_with_restart_survives_kills_anywhere() -> Outcome {
    let (runtimes, _) = lab()?;
    let containerd = runtimes.containerd("2.4")?;
    let rules = "docker.io::harbor.example.org/airgap-images/docker.io";
    let mut stage = CrashTest::set(State::Plain, rules, containerd, &runtimes.strace)?;
    let run: Run<'_> = &|stage, flags| stage.run(&stage.apply(), flags);
    stage.survives("apply and restart", run, &CrashTest::reset);
    let applied = stage.applied.clone();
    let start = move |stage: &CrashTest<'_>| stage.reset_to(&applied);
    let run: Run<'_> = &|stage, flags| stage.run(&stage.restore(), flags);
    stage.survives("restore and restart", run, &start);
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn rollback_is_resumed_after_kills_anywhere() -> Outcome {
    let (runtimes, _) = lab()?;
    let containerd = runtimes.containerd("1.7")?;
    let rules = "docker.io::harbor.example.org/airgap-images/docker.io";
    let mut stage = CrashTest::set(State::Plain, rules, containerd, &runtimes.strace)?;
    // Killed while the runtime is being restarted: guard first, or it would begin.
    let restart = stage.host.write("/run/containerd/restart.sh", &kill_all(&["guard", "apply"]))?;
    let apply = stage.apply();
    let ordinary = stage.daemon.restart_command();
    let words = apply.get_args().map(|word| match word.to_str() {
        Some(word) if word == ordinary => format!("sh {}", restart.display()).into(),
        _ => word.to_owned(),
    });
    let ran = Ran::of(Command::new(apply.get_program()).args(words));
    assert!(ran.output.contains("restarting"), "{}", ran.output);
    stage.wait_for_survivors();
    stage.host.write("/run/containerd/restart.sh", &ordinary)?;
    let changed = node::tree(&stage.host);
    let config = |tree: &Tree| tree["etc/containerd/config.toml"].clone();
    assert_eq!(config(&changed), config(&stage.applied), "nobody took it back");
    let (_, order) = &changed["var/lib/image-swap/node/armed.json"];
    let order = String::from_utf8(order.clone())?;
    let run: Run<'_> = &|stage, flags| stage.guard(&order, flags);
    stage.survives("taking back", run, &|stage| stage.reset_to(&changed));
    Ok(())
}

/// Returns a script that kills image-swap's processes with these verbs, one after the other.
fn kill_all(verbs: &[&str]) -> String {
    let kills = verbs.iter().map(|verb| {
        format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | \
             grep -q '[n]ode {verb}' && kill -KILL ${{p#/proc/}}; done\n"
        )
    });
    kills.collect()
}
