//! `image-swap node` is killed before and after every system call that writes or
//! restarts: the host still starts and pulls, and the next run does what the
//! killed one should have done.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use image_swap_lab::{Daemon, Host, HostOptions, Server, Site, Trust};
use image_swap_testbed::{Containerd, Program};

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

/// A host, and what its files are before and after `apply`.
struct Stage<'a> {
    host: Host,
    daemon: Daemon,
    declared: Declared,
    strace: &'a Program,
    before: Tree,
    applied: Tree,
    _mirror: Site,
    scratch: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    fn set(
        state: State,
        rules: &str,
        containerd: &Containerd,
        strace: &'a Program,
    ) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let Some((_, content)) = lab()? else { return Ok(None) };
        let host = Host::start(content)?;
        let options = HostOptions { trust: Trust::Private, ..HostOptions::default() };
        let mirror = host.mirror(&options)?;
        state::make(&host, state, 2);
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let declared = Declared::page(&host, &options).with_rules(rules);
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
        Ok(Some(this))
    }

    fn apply(&self) -> Command {
        let image = SAMPLES[0].reference(Named::Tag, parts()).unwrap();
        node::apply(&self.host, &self.daemon, &self.declared, &["--image", &image])
    }

    fn restore(&self) -> Command {
        node::restore(&self.host, &self.daemon)
    }

    /// `command`, a command inside the host, under strace.
    fn traced(&self, command: &Command, flags: &[&str]) -> Command {
        let (enter, program) = node::words(command);
        let mut traced = Command::new(&enter[0]);
        traced.args(&enter[1..]).arg(&self.strace.path).args(flags).args(program);
        traced.env("LD_LIBRARY_PATH", &self.strace.libraries);
        traced
    }

    /// The calls of a run of `command` that write or restart.
    fn events(&self, command: &Command) -> Vec<Event> {
        let log = self.scratch.path().join("strace");
        let shown = log.to_str().unwrap();
        let status = self.traced(command, &["-y", "-o", shown, strace::CALLS]).output().unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        strace::events(&fs::read_to_string(&log).unwrap(), is_of_the_host)
    }

    /// Kills `command` before `event`. Gives whether it came that far.
    fn kill_at(&self, command: &Command, event: &Event) -> bool {
        let [trace, inject] = event.flags("SIGKILL");
        let log = self.scratch.path().join("strace");
        let status = self
            .traced(command, &["-o", log.to_str().unwrap(), &trace, &inject])
            .output()
            .unwrap()
            .status;
        self.wait_for_the_guard();
        was_killed(status)
    }

    /// Whoever takes a change back holds the lock until that is done.
    fn wait_for_the_guard(&self) {
        let wait = "lock=/var/lib/image-swap/node/lock; [ ! -e $lock ] || flock $lock true";
        assert!(self.host.inside("sh").args(["-c", wait]).status().unwrap().success());
    }

    /// Puts the files back as they were before anything.
    fn reset(&self) {
        for top in ["etc/containerd", "var/lib/image-swap"] {
            for entry in fs::read_dir(self.host.root().join(top)).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
        }
        node::restore_tree(&self.host, &self.before);
    }

    /// The host starts and pulls.
    fn works(&mut self, why: &str) {
        let started = self.daemon.restart();
        assert!(started.is_ok(), "{why}: {started:?}");
        let image = SAMPLES[0].reference(Named::Tag, parts()).unwrap();
        self.host.log().clear();
        let pulled = self.daemon.pull(&image);
        assert!(pulled.is_ok(), "{why}: {pulled:?}\n{}", self.host.log().text());
    }

    /// The next apply does what the killed one should have, and restore gives
    /// the very bytes back.
    fn goes_on(&mut self, why: &str) {
        let ran = Ran::of(&mut self.apply());
        assert_eq!(ran.code, Some(0), "{why}: {}", ran.said);
        node::assert_same(&node::tree(&self.host), &self.applied, why);
        self.works(why);
        let public = self.host.log().connections(Server::Public);
        assert_eq!(public, 0, "{why}: from the mirror\n{}", self.host.log().text());
        let ran = Ran::of(&mut self.restore());
        assert_eq!(ran.code, Some(0), "{why}: {}", ran.said);
        node::assert_same(&node::tree(&self.host), &self.before, why);
    }

    /// Kills `command` before each of its calls, from `start` on; every state of
    /// the files that comes of it is looked at once.
    fn survives(&mut self, what: &str, command: &dyn Fn(&Self) -> Command, start: &dyn Fn(&Self)) {
        start(self);
        let events = self.events(&command(self));
        assert!(events.len() > 10, "{what}: {events:?}");
        let mut states: BTreeMap<Tree, String> = BTreeMap::new();
        let mut killed = 0;
        for (number, event) in events.iter().enumerate() {
            start(self);
            let why = format!("{what}, killed before call {number}, {event}");
            killed += usize::from(self.kill_at(&command(self), event));
            let state = node::tree(&self.host);
            if states.contains_key(&state) {
                continue;
            }
            states.insert(state, why.clone());
            self.works(&why);
            self.goes_on(&why);
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

#[test]
fn apply_without_a_restart_is_killed_anywhere_and_the_host_still_pulls() -> Outcome {
    let Some((runtimes, _)) = lab()? else { return Ok(()) };
    let oldest = &runtimes.containerds[0];
    let rules = "docker.io::harbor.example.org/airgap-images/docker.io,\
                 gcr.io::harbor.example.org/airgap-images/gcr.io";
    let stage = Stage::set(State::ConfigPath, rules, oldest, &runtimes.strace)?;
    let Some(mut stage) = stage else { return Ok(()) };
    stage.survives("apply", &Stage::apply, &Stage::reset);
    let applied = stage.applied.clone();
    let start = move |stage: &Stage<'_>| {
        stage.reset();
        node::restore_tree(&stage.host, &applied);
    };
    stage.survives("restore", &Stage::restore, &start);
    Ok(())
}

#[test]
fn apply_with_a_restart_is_killed_anywhere_and_the_host_still_pulls() -> Outcome {
    let Some((runtimes, _)) = lab()? else { return Ok(()) };
    let middle = &runtimes.containerds[1];
    let rules = "docker.io::harbor.example.org/airgap-images/docker.io";
    let stage = Stage::set(State::Plain, rules, middle, &runtimes.strace)?;
    let Some(mut stage) = stage else { return Ok(()) };
    stage.survives("apply and restart", &Stage::apply, &Stage::reset);
    Ok(())
}
