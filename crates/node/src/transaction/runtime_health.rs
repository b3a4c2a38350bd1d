//! Checks that a runtime answers and pulls after a restart.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cri::{self, CriClient},
    observe::daemon::RuntimeEndpoint,
    transaction::command::PAUSE,
};

/// The time for a runtime to answer after a restart; with many containers it reads much.
pub(super) const ALIVE: Duration = Duration::from_mins(1);

/// The time for the pull of a reference that was pulled before.
pub(super) const PULL: Duration = Duration::from_mins(2);

/// Waits until the runtime at `place` is another process than before, and answers.
pub(super) fn wait(place: &RuntimeEndpoint) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let found = match look(place) {
            Ok(()) => return Ok(()),
            Err(Unhealthy::Dead(found)) => return Err(found),
            Err(Unhealthy::NotYet(found)) => found,
        };
        if start.elapsed() >= ALIVE {
            return Err(format!("after {} s: {found}", ALIVE.as_secs()));
        }
        thread::sleep(PAUSE);
    }
}

/// Returns true if the process that listened at `place` before still does.
pub(super) fn is_the_same(place: &RuntimeEndpoint) -> bool {
    let now = || CriClient::connect(&place.socket).ok()?.peer();
    place.cri && place.pid.is_some() && place.pid == now()
}

/// The reason why a runtime does not answer.
enum Unhealthy {
    NotYet(String),
    /// The CRI plugin is dead: waiting is useless.
    Dead(String),
}

fn look(place: &RuntimeEndpoint) -> Result<(), Unhealthy> {
    if !place.cri {
        return ping(&place.socket).map_err(|error| Unhealthy::NotYet(error.to_string()));
    }
    let not_yet = |error: cri::Error| Unhealthy::NotYet(error.to_string());
    let mut client = CriClient::connect(&place.socket).map_err(not_yet)?;
    let is_new = match (place.pid, client.peer()) {
        (Some(before), Some(now)) if before == now => {
            let found = format!("process {now} still listens: the runtime was not restarted");
            return Err(Unhealthy::NotYet(found));
        }
        (Some(_), Some(_)) => true,
        _ => false,
    };
    match client.version().and_then(|_| client.images()) {
        Ok(_) => Ok(()),
        Err(error) if error.is_dead_plugin() && is_new => {
            Err(Unhealthy::Dead(format!("containerd runs without CRI: {error}")))
        }
        Err(error) => Err(not_yet(error)),
    }
}

/// Pings the Docker Engine API.
fn ping(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ALIVE))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let line = answer.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(std::io::Error::other(format!("expected status 200 of /_ping, found {line:?}")))
}

/// Returns the reference to pull after the restart, and a note about it: of `wanted`, or the
/// images that the host runs, the first that can be pulled now.
pub(super) fn choose(place: &RuntimeEndpoint, wanted: Option<&str>) -> (Option<String>, String) {
    /// The number of references that are tried.
    const TRIES: usize = 3;
    let none = |reason: String| (None, reason);
    if !place.cri {
        return none("no pull is tried after the restart: this runtime has no CRI".to_owned());
    }
    let mut client = match CriClient::connect(&place.socket) {
        Ok(client) => client,
        Err(error) => return none(format!("no pull is tried after the restart: {error}")),
    };
    let images = match wanted {
        Some(image) => vec![image.to_owned()],
        None => client.running().unwrap_or_default(),
    };
    let images = images.into_iter().filter(|image| is_reference(image)).take(TRIES);
    let mut reason =
        "no pull is tried after the restart: no container runs, and --image names no image"
            .to_owned();
    for image in images {
        match client.pull(&image, PULL) {
            Ok(_) => {
                let known =
                    format!("{image} can be pulled now, and must be pulled after the restart");
                return (Some(image), known);
            }
            Err(error) => {
                reason = format!(
                    "{image} cannot be pulled before the restart, so its pull is not tried after it: {error}"
                );
            }
        }
    }
    none(reason)
}

/// Returns true if `image` is a reference; the digest of an image configuration is none.
fn is_reference(image: &str) -> bool {
    !image.starts_with("sha256:") && image_swap_core::reference::Reference::parse(image).is_ok()
}

/// Pulls `image` once more.
pub(super) fn pull(place: &RuntimeEndpoint, image: &str) -> Result<(), cri::Error> {
    CriClient::connect(&place.socket)?.pull(image, PULL).map(drop)
}
