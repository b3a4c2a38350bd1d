//! A restart that is rolled back unless the runtime is healthy afterwards.

use std::{
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    host::{Host, lock::Lock},
    runtime::kind::ContainerRuntime,
    transaction::{
        HostChange, Progress, RestartSettings, command,
        error::{FinalState, RestartError},
        journal::{self, RollbackPlan, UndoStep},
        preflight,
        rollback::roll_back,
        runtime_health,
        watchdog::{COMMIT, COMMITTED, READY, ROLLBACK, ROLLED_BACK, summary},
    },
};

/// The verb of image-swap that is the watchdog.
const VERB: [&str; 2] = ["node", "guard"];
/// The time for which the watchdog waits for an order: longer than restart and checks take.
const PATIENCE: Duration = Duration::from_mins(6);

/// A change that is not committed yet, and its watchdog.
pub(crate) struct SupervisedRestart<'a> {
    host: &'a Host,
    order: RollbackPlan,
    image: Option<String>,
    known: String,
    guard: Child,
    stream: UnixStream,
}

impl<'a> SupervisedRestart<'a> {
    /// Tries the configuration that the plan makes, and starts the watchdog. Nothing of the
    /// host has changed when this returns.
    pub(super) fn begin(
        change: &HostChange<'a>,
        restarting: &RestartSettings,
    ) -> Result<Self, RestartError> {
        let HostChange { host, lock, plan, seen, progress, .. } = *change;
        let runtime = seen.observed.runtime;
        let config = &seen.observed.config;
        let file = plan.written(config).or_else(|| seen.observed.files.file(config));
        if let (ContainerRuntime::Containerd, Some(file)) = (runtime, file) {
            progress("trying the new configuration in a separate containerd");
            preflight::preflight(host, seen, file)?;
        }
        let place = seen.daemon.place();
        let (image, known) = runtime_health::choose(&place, restarting.image.as_deref());
        progress(&known);
        let command = restarting.command.clone().unwrap_or_else(|| command::default(host, runtime));
        let undo = plan.undo(&seen.observed);
        let order = RollbackPlan {
            root: host.root().path().to_owned(),
            undo: undo.iter().filter_map(|step| UndoStep::of(step, plan)).collect(),
            config: seen.observed.config.clone(),
            command,
            socket: place.socket,
            cri: place.cri,
            pid: place.pid,
            seconds: PATIENCE.as_secs(),
            restart: false,
        };
        journal::write(host, &order)
            .map_err(RestartError::io(format!("write {}", journal::path())))?;
        let armed = arm(&order, lock).inspect_err(|_| {
            // The host is not changed yet.
            let _ = journal::remove(host);
        });
        let (guard, stream) = armed?;
        Ok(Self { host, order, image, known, guard, stream })
    }

    /// Restarts the runtime, and waits until it answers and pulls. Returns facts about that.
    pub(crate) fn restart(&mut self, progress: Progress<'_>) -> Result<String, RestartError> {
        let ended = self.guard.try_wait().map_err(RestartError::io("check the watchdog"))?;
        if let Some(status) = ended {
            return Err(RestartError::Unguarded(format!("it ended ({status})")));
        }
        command::run(self.host, &self.order.command)?;
        progress("waiting for the runtime to answer");
        let place = self.order.place();
        runtime_health::wait(&place).map_err(RestartError::Away)?;
        let Some(image) = &self.image else {
            return Ok(format!("the runtime answers again; {}", self.known));
        };
        runtime_health::pull(&place, image)
            .map_err(|source| RestartError::NoPull { image: image.clone(), source })?;
        Ok(format!("the runtime answers again, and pulls {image}"))
    }

    /// Commits the change, unless it was rolled back just now.
    pub(crate) fn commit(mut self) -> Result<(), FinalState> {
        let answer = self.exchange(COMMIT);
        let _ = self.guard.wait();
        match answer.unwrap_or_default().trim_end() {
            COMMITTED => Ok(()),
            // The watchdog was killed, perhaps during a rollback.
            "" => Err(self.roll_back_here()),
            answer => Err(left(answer)),
        }
    }

    /// Rolls the change back, and returns the state of the host.
    pub(crate) fn roll_back(mut self) -> FinalState {
        let early = self.guard.try_wait().is_ok_and(|ended| ended.is_some());
        let answer = self.exchange(ROLLBACK);
        let _ = self.guard.wait();
        match answer.unwrap_or_default().trim_end() {
            // The watchdog was killed; roll back in this process instead.
            "" => self.roll_back_here(),
            ROLLED_BACK if early => self.roll_back_here(),
            answer => left(answer),
        }
    }

    /// Rolls back in this process.
    fn roll_back_here(&self) -> FinalState {
        left(&summary(roll_back(self.host, &self.order)))
    }

    /// Sends a word to the watchdog and returns its answer.
    fn exchange(&mut self, word: &str) -> std::io::Result<String> {
        // An answer from before the end of the watchdog is still to be read.
        let _ = writeln!(self.stream, "{word}");
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        BufReader::new(&self.stream).read_line(&mut answer)?;
        Ok(answer)
    }
}

/// Returns the state of a host after the watchdog answered `answer`.
fn left(answer: &str) -> FinalState {
    if answer == ROLLED_BACK { FinalState::AsItWas } else { FinalState::Broken(answer.to_owned()) }
}

fn arm(order: &RollbackPlan, lock: &Lock) -> Result<(Child, UnixStream), RestartError> {
    let io = || RestartError::io("start the watchdog");
    let (mut stream, guard_stream) = UnixStream::pair().map_err(io())?;
    let guard = Command::new("/proc/self/exe")
        .args(VERB)
        .stdin(Stdio::from(OwnedFd::from(guard_stream)))
        .stdout(lock.share().map_err(io())?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(io())?;
    let order = serde_json::to_string(order).map_err(|error| io()(error.into()))?;
    let mut answer = String::new();
    writeln!(stream, "{order}")
        .and_then(|()| stream.set_read_timeout(Some(runtime_health::ALIVE)))
        .and_then(|()| BufReader::new(&stream).read_line(&mut answer))
        .map_err(io())?;
    if answer.trim_end() != READY {
        return Err(RestartError::Unguarded(format!("it answered {:?}", answer.trim_end())));
    }
    Ok((guard, stream))
}
