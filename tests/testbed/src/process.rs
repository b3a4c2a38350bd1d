//! Servers as child processes that never outlive the test process.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    error::Error,
    run::{self, LESS_COLLECTION},
    wait::{Wait, until},
};

/// The longest time between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest time between SIGKILL and the end: a process that waits for the disk ends later.
const DYING: Duration = Duration::from_mins(2);

/// A server that can be stopped and started again with the same command.
///
/// It is killed when the value is dropped. The kernel kills it too when the test process ends in
/// any way (`PR_SET_PDEATHSIG`, through `setpriv`).
#[derive(Debug)]
pub struct Process {
    name: String,
    /// A command that runs the program as its only child, in namespaces.
    wrapper: Vec<OsString>,
    /// A command that runs the program as its only child, and may start it again.
    supervisor: Vec<OsString>,
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    output: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Describes a server that does not run yet. Its output is appended to `log`.
    pub fn new(name: &str, program: impl Into<OsString>, log: PathBuf) -> Self {
        Self {
            name: name.into(),
            wrapper: Vec::new(),
            supervisor: Vec::new(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            output: log.clone(),
            log,
            child: None,
        }
    }

    /// Adds arguments to the command line.
    #[must_use]
    pub fn arguments<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sends standard output to the file `path` instead of the log.
    #[must_use]
    pub fn output(mut self, path: PathBuf) -> Self {
        self.output = path;
        self
    }

    /// Runs it as the only child of a command (`nsenter`) that waits for it.
    #[must_use]
    pub fn inside(mut self, wrapper: Vec<OsString>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// Runs it as the only child of a command that may start it again. That command is inside the
    /// wrapper.
    #[must_use]
    pub fn supervised(mut self, supervisor: Vec<OsString>) -> Self {
        self.supervisor = supervisor;
        self
    }

    /// Starts it, if it does not run. It need not be ready on return.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.child.is_some() && self.check().is_ok() {
            return Ok(());
        }
        let append = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(Error::io(format!("open {}", path.display())))
        };
        let die_with_parent = ["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from);
        let mut words = die_with_parent.to_vec();
        for parent in self.parents() {
            words.extend(parent.iter().cloned());
            words.extend(die_with_parent.clone());
        }
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(&self.program)
            .args(&self.arguments)
            // Variables of the test process, such as proxies, must not reach the servers.
            .env_clear()
            .env("PATH", search_path())
            .envs([LESS_COLLECTION])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            // Ctrl-C is for the test process, which ends its servers itself.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(append(&self.output)?)
            .stderr(append(&self.log)?);
        self.child = Some(spawn(command).map_err(Error::io(format!("start {}", self.name)))?);
        Ok(())
    }

    /// Sends SIGTERM, waits for the end, and sends SIGKILL after 20 seconds.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn stop(&mut self) -> Result<(), Error> {
        // The process may have ended already.
        let _ = self.signal(Signal::TERM);
        let Some(child) = &mut self.child else { return Ok(()) };
        let ended =
            until(&format!("the end of {}", self.name), PATIENCE, || match child.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Wait::NotYet("still running".into())),
                Err(error) => Err(Wait::Failed(Error::io("wait for a child")(error))),
            });
        if matches!(ended, Err(Error::Deadline { .. })) {
            return self.kill();
        }
        self.child = None;
        ended
    }

    /// Kills it (SIGKILL), as a crash would end it.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<(), Error> {
        let pid = self.pid();
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(Error::io(format!("kill {}", self.name)))?;
        // A wrapper is gone before its child is.
        until(&format!("the end of {}", self.name), DYING, || match pid {
            Some(pid) if runs(pid) => Err(Wait::NotYet("still running".into())),
            _ => Ok(()),
        })
    }

    /// Suspends the process: the kernel accepts connections to it, and no request is answered.
    /// [`resume`](Self::resume) or [`kill`](Self::kill) ends that.
    ///
    /// # Errors
    /// The process does not run.
    pub fn suspend(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Resumes the process after [`suspend`](Self::suspend).
    ///
    /// # Errors
    /// The process does not run.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        self.check()?;
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let sent = pid.map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|error| Error::io(format!("signal {}", self.name))(error.into()))
    }

    /// Checks that the process runs.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of its log if it ended unexpectedly.
    pub fn check(&mut self) -> Result<(), Error> {
        let Some(child) = &mut self.child else {
            return Err(Error::unavailable(
                format!("{}, which was stopped", self.name),
                "start it",
            ));
        };
        match child.try_wait().map_err(Error::io(format!("look after {}", self.name)))? {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                name: self.name.clone(),
                status,
                output: run::tail_of(&self.log),
            }),
        }
    }

    /// Returns the name of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id outside any namespace; `None` if the process does not run.
    pub fn pid(&self) -> Option<u32> {
        let first = self.child.as_ref()?.id();
        self.parents().try_fold(first, |pid, _| children(pid).first().copied())
    }

    /// Returns the commands of which each runs the next one, or the program, as its only child.
    fn parents(&self) -> impl Iterator<Item = &Vec<OsString>> {
        [&self.wrapper, &self.supervisor].into_iter().filter(|words| !words.is_empty())
    }

    /// Returns the file with the output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the resident memory in bytes (`VmRSS`, proc(5)); `None` if the process does not run.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that cannot be killed here ends with the test process.
        let _ = self.kill();
    }
}

/// Returns `PATH` with the directories of an administrator's programs.
fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// Returns the children of a process (`/proc/PID/task/PID/children`).
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Returns true if a process runs: it exists and is not a zombie (proc(5), `stat`).
pub fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, state)| !state.starts_with(" Z")))
}

type Job = (Command, Sender<io::Result<Child>>);

/// The kernel sends the parent-death signal when the starting *thread* ends.
/// A test's thread ends before the servers that tests share. So one thread, which lives as
/// long as the process, starts all servers.
static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (jobs, received) = mpsc::channel::<Job>();
    thread::spawn(move || {
        for (mut command, answer) in received {
            // The asker waits for it.
            let _ = answer.send(command.spawn());
        }
    });
    jobs
});

fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = mpsc::channel();
    SPAWNER.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
