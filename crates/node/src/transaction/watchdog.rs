//! The process that rolls a change back unless the change is committed in time.
//!
//! The process is image-swap itself in a separate session, so that neither Ctrl-C nor the end of
//! the terminal reaches it. Its standard input is a socket to the process that makes the change. It
//! reads the rollback plan there, answers `ready`, and waits for an order. `commit` ends it.
//! `rollback` starts the rollback, and so do the end of the other process and silence. SIGTERM
//! starts it too, since a service manager ends all processes of a unit by it. Its standard output
//! is the lock of the host, which is held until it has finished.

use std::{
    io,
    os::{fd::AsFd, unix::net},
    time::Duration,
};

use rustix::process::setsid;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::UnixStream,
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    files::HostPath,
    host::{
        Host,
        root::Root,
        write::{Access, replace},
    },
    transaction::{
        journal::{self, RollbackPlan},
        rollback::roll_back,
    },
};

/// The response of the watchdog once it waits.
pub(super) const READY: &str = "ready";
/// The order that ends the watchdog: the change is committed.
pub(super) const COMMIT: &str = "commit";
/// The response of the watchdog to [`COMMIT`].
pub(super) const COMMITTED: &str = "committed";
/// The order that starts a rollback.
pub(super) const ROLLBACK: &str = "rollback";
/// The answer after a rollback that restored everything.
pub(super) const ROLLED_BACK: &str = "rolled-back";

/// Returns the path of the report of a rollback without a listener.
pub(crate) fn report() -> HostPath {
    Host::state().join("taken-back")
}

impl Host {
    /// Returns the report of a rollback whose parent process had ended. The next change removes
    /// the report.
    pub fn rolled_back(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.at(&report()).ok()?).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// Runs the watchdog; image-swap starts itself for it.
///
/// # Errors
/// If standard input is not the socket, or the host cannot be restored.
pub fn run() -> io::Result<()> {
    // Fails for the leader of a session, which does as well.
    let _ = setsid();
    let stream = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let watched = runtime.block_on(watch(stream))?;
    let Some(PendingRollback { order, host, mut stream, reason }) = watched else { return Ok(()) };
    let words = summary(roll_back(&host, &order)).replace('\n', " ");
    // The other process may have ended.
    let answered = runtime.block_on(send(&mut stream, &words));
    if reason.is_some() || answered.is_err() {
        let words = if words == ROLLED_BACK { "done" } else { &words };
        let reason = reason.unwrap_or("image-swap ordered it");
        let text = format!("Everything was rolled back, since {reason}: {words}\n");
        let path = host.at(&report())?;
        replace(&path, text.as_bytes(), Access::own(0o600))?;
    }
    Ok(())
}

/// A host that is to be rolled back.
struct PendingRollback {
    order: RollbackPlan,
    host: Host,
    stream: BufStream<UnixStream>,
    /// The reason; `None` if the other process sent the word.
    reason: Option<&'static str>,
}

/// Waits for a word; returns `None` if the change was committed.
async fn watch(stream: net::UnixStream) -> io::Result<Option<PendingRollback>> {
    // From here on these signals do not end the process.
    let mut terminate = signal(SignalKind::terminate())?;
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    let mut stream = BufStream::new(UnixStream::from_std(stream)?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let order: RollbackPlan = serde_json::from_str(&line).map_err(io::Error::other)?;
    let host = Host::new(Root::new(&order.root)?);
    send(&mut stream, READY).await?;
    let patience = Duration::from_secs(order.seconds);
    let reason = match word(&mut stream, &mut terminate, patience).await {
        WatchdogWord::Commit => {
            let removed = journal::remove(&host);
            let words = removed.map_or_else(|error| error.to_string(), |()| COMMITTED.to_owned());
            send(&mut stream, &words).await?;
            return Ok(None);
        }
        WatchdogWord::Rollback(reason) => reason,
    };
    Ok(Some(PendingRollback { order, host, stream, reason }))
}

async fn send(stream: &mut BufStream<UnixStream>, word: &str) -> io::Result<()> {
    stream.write_all([word, "\n"].concat().as_bytes()).await?;
    stream.flush().await
}

/// The word or event that ends the wait.
enum WatchdogWord {
    Commit,
    /// The reason for a rollback; `None` if the other process sent the word.
    Rollback(Option<&'static str>),
}

async fn word(
    stream: &mut BufStream<UnixStream>,
    terminate: &mut Signal,
    patience: Duration,
) -> WatchdogWord {
    let mut line = String::new();
    let reason = tokio::select! {
        received = timeout(patience, stream.read_line(&mut line)) => match received {
            Err(_) => "the process that changed the host did not finish in time",
            Ok(_) if line.trim_end() == COMMIT => return WatchdogWord::Commit,
            Ok(_) if line.trim_end() == ROLLBACK => return WatchdogWord::Rollback(None),
            // The other end is gone, in the middle of a word perhaps.
            Ok(_) => "the process that changed the host had ended",
        },
        _ = terminate.recv() => "the watchdog received SIGTERM",
    };
    WatchdogWord::Rollback(Some(reason))
}

/// Returns the answer of the watchdog after a rollback.
pub(super) fn summary(rolled_back: Result<Vec<String>, String>) -> String {
    match rolled_back {
        Ok(stays) if stays.is_empty() => ROLLED_BACK.to_owned(),
        Ok(stays) => stays.join("; "),
        Err(reason) => reason,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;

    /// Returns the word that the watchdog reads after `speak`.
    fn received(speak: impl FnOnce(net::UnixStream)) -> WatchdogWord {
        received_within(Duration::MAX, speak)
    }

    fn received_within(patience: Duration, speak: impl FnOnce(net::UnixStream)) -> WatchdogWord {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stream, peer) = net::UnixStream::pair().unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = BufStream::new(UnixStream::from_std(stream).unwrap());
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            speak(peer);
            word(&mut stream, &mut terminate, patience).await
        })
    }

    #[test]
    fn every_word_but_commit_starts_a_rollback() {
        assert!(matches!(
            received(|mut s| s.write_all(b"commit\n").unwrap()),
            WatchdogWord::Commit
        ));
        let ordered = received(|mut s| s.write_all(b"rollback\n").unwrap());
        assert!(matches!(ordered, WatchdogWord::Rollback(None)));
        let because = |word: WatchdogWord, part: &str| matches!(word, WatchdogWord::Rollback(Some(reason)) if reason.contains(part));
        assert!(because(received(|mut s| s.write_all(b"comm").unwrap()), "had ended"));
        assert!(because(received(drop), "had ended"));
        let mut open = None;
        let silence = received_within(Duration::from_millis(1), |s| open = Some(s));
        assert!(because(silence, "in time"));
        let terminate = |stream| {
            kill_process(getpid(), Kind::TERM).unwrap();
            open = Some(stream);
        };
        assert!(because(received(terminate), "SIGTERM"));
    }

    #[test]
    fn name_of_the_report_stays() {
        assert_eq!(report().as_str(), "/var/lib/image-swap/node/taken-back");
    }
}
