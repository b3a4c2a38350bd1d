//! The process that puts a host back if nobody stops it.
//!
//! It is our own program in a session of its own, so that neither Ctrl-C nor the
//! end of the terminal reaches it. Its standard input is a socket to the process
//! that makes the change: it is told what to do, says `armed`, and waits for a
//! word. `disarm` ends it. `back` has it put the host back, and so has the end of
//! the other process, silence, and SIGTERM, by which a service manager ends
//! all processes of a unit. Its standard output is the lock of the host, which so
//! stays taken until it is done.

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
    host::{
        Host,
        root::Root,
        write::{Access, replace},
    },
    host_path::HostPath,
    transaction::{
        journal::{self, Order},
        rollback::{put_back, said},
    },
};

/// What it says when it watches.
pub(super) const ARMED: &str = "armed";
/// What ends it.
pub(super) const DISARM: &str = "disarm";
/// What it says then.
pub(super) const DISARMED: &str = "disarmed";
/// What has it put the host back.
pub(super) const BACK: &str = "back";

/// The file that tells what it did when nobody listened any more.
pub(crate) fn report() -> HostPath {
    Host::state().join("taken-back")
}

impl Host {
    /// What was taken back when nobody listened any more, and why: news for whoever
    /// looks next. The next change that is made takes it away.
    pub fn taken_back(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.at(&report()).ok()?).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// Runs it: only for our own program, which starts itself so.
///
/// # Errors
/// Standard input is not what it should be, or the host cannot be put back.
pub fn run() -> io::Result<()> {
    // Fails where we lead a session already, which does as well.
    let _ = setsid();
    let stream = net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let watched = runtime.block_on(watch(stream))?;
    let Some(Watched { order, host, mut stream, why }) = watched else { return Ok(()) };
    let words = said(put_back(&host, &order)).replace('\n', " ");
    // Nobody may be there any more.
    let told = runtime.block_on(say(&mut stream, &words));
    if why.is_some() || told.is_err() {
        let why = why.unwrap_or("it was asked to");
        let text = format!("Everything was taken back, since {why}: {words}\n");
        let path = host.at(&report())?;
        replace(&path, text.as_bytes(), Access::ours(0o600))?;
    }
    Ok(())
}

/// A host to be put back.
struct Watched {
    order: Order,
    host: Host,
    stream: BufStream<UnixStream>,
    /// Why, if nobody asked for it.
    why: Option<&'static str>,
}

/// Waits for a word; `None`: it was disarmed.
async fn watch(stream: net::UnixStream) -> io::Result<Option<Watched>> {
    // What is caught does not end us, from now on.
    let mut terminate = signal(SignalKind::terminate())?;
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    let mut stream = BufStream::new(UnixStream::from_std(stream)?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line).map_err(io::Error::other)?;
    let host = Host::new(Root::new(&order.root)?);
    say(&mut stream, ARMED).await?;
    let patience = Duration::from_secs(order.seconds);
    let why = match word(&mut stream, &mut terminate, patience).await {
        Word::Disarm => {
            let removed = journal::remove(&host);
            let words = removed.map_or_else(|error| error.to_string(), |()| DISARMED.to_owned());
            say(&mut stream, &words).await?;
            return Ok(None);
        }
        Word::Back => None,
        Word::Ended => Some("the process that changed the host had ended"),
        Word::Silence => Some("the process that changed the host did not finish in time"),
        Word::Terminated => Some("it was told to end by SIGTERM"),
    };
    Ok(Some(Watched { order, host, stream, why }))
}

async fn say(stream: &mut BufStream<UnixStream>, word: &str) -> io::Result<()> {
    stream.write_all([word, "\n"].concat().as_bytes()).await?;
    stream.flush().await
}

/// What it heard.
enum Word {
    Disarm,
    Back,
    Ended,
    Silence,
    Terminated,
}

async fn word(
    stream: &mut BufStream<UnixStream>,
    terminate: &mut Signal,
    patience: Duration,
) -> Word {
    let mut line = String::new();
    tokio::select! {
        heard = timeout(patience, stream.read_line(&mut line)) => match heard {
            Err(_) => Word::Silence,
            Ok(_) if line.trim_end() == DISARM => Word::Disarm,
            Ok(_) if line.trim_end() == BACK => Word::Back,
            // The other end is gone, in the middle of a word perhaps.
            Ok(_) => Word::Ended,
        },
        _ = terminate.recv() => Word::Terminated,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;

    /// What it hears if `speak` is done to it.
    fn heard(speak: impl FnOnce(net::UnixStream)) -> Word {
        heard_within(Duration::MAX, speak)
    }

    fn heard_within(patience: Duration, speak: impl FnOnce(net::UnixStream)) -> Word {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut stream = BufStream::new(UnixStream::from_std(ours).unwrap());
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            speak(theirs);
            word(&mut stream, &mut terminate, patience).await
        })
    }

    #[test]
    fn whatever_is_not_disarm_puts_the_host_back() {
        assert!(matches!(heard(|mut s| s.write_all(b"disarm\n").unwrap()), Word::Disarm));
        assert!(matches!(heard(|mut s| s.write_all(b"back\n").unwrap()), Word::Back));
        assert!(matches!(heard(|mut s| s.write_all(b"disa").unwrap()), Word::Ended));
        assert!(matches!(heard(drop), Word::Ended));
        let mut open = None;
        let silence = heard_within(Duration::from_millis(1), |s| open = Some(s));
        assert!(matches!(silence, Word::Silence));
        let terminate = |stream| {
            kill_process(getpid(), Kind::TERM).unwrap();
            open = Some(stream);
        };
        assert!(matches!(heard(terminate), Word::Terminated));
    }
}
