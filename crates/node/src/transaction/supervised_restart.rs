//! A change that is taken back unless it is found to be good.

use std::{
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    host::{Host, lock::Lock},
    observe::{Seen, daemon::Place},
    plan::Plan,
    runtime::kind::Runtime,
    transaction::{
        Progress, Restarting, command,
        error::{Left, RestartError},
        journal::{self, Order, Undo},
        preflight,
        rollback::{DONE, put_back, said},
        runtime_health,
        watchdog::{ARMED, BACK, DISARM, DISARMED},
    },
};

/// The verb of our own program that is the guard.
const VERB: [&str; 2] = ["node", "guard"];
/// How long the guard waits for a word: longer than all that is done meanwhile.
const PATIENCE: Duration = Duration::from_mins(6);

/// A change on its way, and its guard.
pub(crate) struct Guarded<'a> {
    host: &'a Host,
    order: Order,
    place: Place,
    image: Option<String>,
    known: String,
    guard: Child,
    stream: UnixStream,
}

impl<'a> Guarded<'a> {
    /// Tries the configuration that `plan` makes, and arms the guard. Nothing of
    /// the host has changed when this returns.
    pub(crate) fn begin(
        host: &'a Host,
        lock: &Lock,
        plan: &Plan,
        seen: &Seen,
        restarting: &Restarting,
        told: Progress<'_>,
    ) -> Result<Self, RestartError> {
        let runtime = seen.observed.runtime;
        let config = &seen.observed.config;
        let file = plan.written(config).or_else(|| seen.observed.files.file(config));
        if let (Runtime::Containerd, Some(file)) = (runtime, file) {
            told("trying the new configuration with a containerd of its own");
            preflight::preflight(host, seen, file)?;
        }
        let place = seen.daemon.place();
        let (image, known) = runtime_health::choose(&place, restarting.image.as_deref());
        told(&known);
        let command = restarting.command.clone().unwrap_or_else(|| command::default(host, runtime));
        let undo = plan.undo(&seen.observed);
        let order = Order {
            root: host.root().path().to_owned(),
            undo: undo.iter().filter_map(|step| Undo::of(step, plan)).collect(),
            config: seen.observed.config.clone(),
            command,
            socket: place.socket.clone(),
            cri: place.cri,
            pid: place.pid,
            seconds: PATIENCE.as_secs(),
            restart: false,
        };
        journal::write(host, &order)
            .map_err(RestartError::io(format!("write {}", journal::path())))?;
        let armed = arm(&order, lock).inspect_err(|_| {
            // Nothing was changed yet: what stays is put back as it is.
            let _ = journal::remove(host);
        });
        let (guard, stream) = armed?;
        Ok(Self { host, order, place, image, known, guard, stream })
    }

    /// Restarts the runtime, and sees that it is back and pulls. What is known then.
    pub(crate) fn restart(&mut self, told: Progress<'_>) -> Result<String, RestartError> {
        let ended = self.guard.try_wait().map_err(RestartError::io("look after the guard"))?;
        if let Some(status) = ended {
            return Err(RestartError::Unguarded { found: format!("it ended ({status})") });
        }
        command::run(self.host, &self.order.command)?;
        told("waiting for the runtime to answer");
        runtime_health::wait(&self.place).map_err(|found| RestartError::Away { found })?;
        let Some(image) = &self.image else {
            return Ok(format!("the runtime answers again; {}", self.known));
        };
        runtime_health::pull(&self.place, image)
            .map_err(|source| RestartError::NoPull { image: image.clone(), source })?;
        Ok(format!("the runtime answers again, and pulls {image}"))
    }

    /// The change is good: it stays, unless it was taken back just now.
    pub(crate) fn disarm(mut self) -> Result<(), Left> {
        let said = self.exchange(DISARM);
        let _ = self.guard.wait();
        match said.unwrap_or_default().trim_end() {
            DISARMED => Ok(()),
            // Somebody ended it, on its way back perhaps.
            "" => Err(self.put_back()),
            said => Err(left(said)),
        }
    }

    /// Has everything taken back, and says how the host is then.
    pub(crate) fn take_back(mut self) -> Left {
        let early = self.guard.try_wait().is_ok_and(|ended| ended.is_some());
        let said = self.exchange(BACK);
        let _ = self.guard.wait();
        match said.unwrap_or_default().trim_end() {
            // Somebody ended it, and we may have gone on meanwhile: then it is ours to do.
            "" => self.put_back(),
            DONE if early => self.put_back(),
            said => left(said),
        }
    }

    /// Does what the guard would have done.
    fn put_back(&self) -> Left {
        left(&said(put_back(self.host, &self.order)))
    }

    /// Says a word and hears what the guard says to it.
    fn exchange(&mut self, word: &str) -> std::io::Result<String> {
        // What it said before it went away is still to be read.
        let _ = writeln!(self.stream, "{word}");
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = String::new();
        BufReader::new(&self.stream).read_line(&mut said)?;
        Ok(said)
    }
}

/// How a host is of which the guard `said` this.
fn left(said: &str) -> Left {
    if said == DONE { Left::AsItWas } else { Left::Broken(said.to_owned()) }
}

fn arm(order: &Order, lock: &Lock) -> Result<(Child, UnixStream), RestartError> {
    let io = || RestartError::io("start the process that takes changes back");
    let (mut ours, theirs) = UnixStream::pair().map_err(io())?;
    let guard = Command::new("/proc/self/exe")
        .args(VERB)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(lock.share().map_err(io())?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(io())?;
    let order = serde_json::to_string(order).map_err(|error| io()(error.into()))?;
    let mut answer = String::new();
    writeln!(ours, "{order}")
        .and_then(|()| ours.set_read_timeout(Some(runtime_health::ALIVE)))
        .and_then(|()| BufReader::new(&ours).read_line(&mut answer))
        .map_err(io())?;
    if answer.trim_end() != ARMED {
        return Err(RestartError::Unguarded { found: format!("{:?}", answer.trim_end()) });
    }
    Ok((guard, ours))
}
