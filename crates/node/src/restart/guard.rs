//! The process that puts a host back if nobody stops it.
//!
//! It is our own program in a session of its own, so that neither Ctrl-C nor the
//! end of the terminal reaches it. Its standard input is a socket to the process
//! that makes the change: it is told what to do, says `armed`, and waits for a
//! word. `disarm` ends it. `back` has it put the host back, and so has the end of
//! the other process, and silence. Its standard output is the lock of the host,
//! which so stays taken until it is done.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::process::setsid;

use super::{command, order::Order, trial};
use crate::{
    Host, HostPath,
    apply::take_back,
    host::{Access, Root, read, replace},
};

/// What it says when it watches.
pub(super) const ARMED: &str = "armed";
/// What ends it.
pub(super) const DISARM: &str = "disarm";
/// What has it put the host back.
pub(super) const BACK: &str = "back";
/// What it says when the host is as it was.
pub(super) const DONE: &str = "done";

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
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).map_err(io::Error::other)?;
    let host = Host::new(Root::new(&order.root)?);
    writeln!(stream, "{ARMED}")?;
    let why = match word(&stream, &mut lines, Duration::from_secs(order.seconds))? {
        Word::Disarm => return Ok(()),
        Word::Back => "it was asked to",
        Word::Ended => "the process that changed the host had ended",
        Word::Silence => "the process that changed the host did not finish in time",
    };
    let became = put_back(&host, &order);
    let words = became.as_ref().map_or_else(|why| why.replace('\n', " "), |()| DONE.to_owned());
    // Nobody may be there any more.
    let told = writeln!(stream, "{words}");
    if why != "it was asked to" || told.is_err() {
        let text = format!("Everything was taken back, since {why}: {words}\n");
        let path = host.at(&report())?;
        replace(&path, text.as_bytes(), Access::ours(0o600))?;
    }
    Ok(())
}

/// What it heard.
enum Word {
    Disarm,
    Back,
    Ended,
    Silence,
}

fn word(
    stream: &UnixStream,
    lines: &mut BufReader<UnixStream>,
    patience: Duration,
) -> io::Result<Word> {
    let start = Instant::now();
    let mut line = String::new();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(Word::Silence);
        }
        stream.set_read_timeout(Some(left))?;
        match lines.read_line(&mut line) {
            Ok(_) if line.trim_end() == DISARM => return Ok(Word::Disarm),
            Ok(_) if line.trim_end() == BACK => return Ok(Word::Back),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            // The other end is gone, in the middle of a word perhaps.
            Ok(_) | Err(_) => return Ok(Word::Ended),
        }
    }
}

/// Puts the files back, and has the runtime read them again if it may have read ours.
pub(super) fn put_back(host: &Host, order: &Order) -> Result<(), String> {
    let now = host.at(&order.config).and_then(|path| read(&path));
    let restart = now.map_or(true, |now| now != order.config_before());
    let mut errors: Vec<String> =
        take_back(host, &order.steps()).iter().map(ToString::to_string).collect();
    if restart {
        let restarted = command::run(host, &order.command).map_err(|error| error.to_string());
        errors.extend(restarted.and_then(|()| trial::wait(&order.place())).err());
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What it hears if `speak` is said to it.
    fn heard(speak: impl FnOnce(UnixStream) + Send + 'static) -> Word {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let speaker = thread::spawn(move || speak(theirs));
        let mut lines = BufReader::new(ours.try_clone().unwrap());
        let word = word(&ours, &mut lines, Duration::from_millis(200)).unwrap();
        speaker.join().unwrap();
        word
    }

    #[test]
    fn whatever_is_not_disarm_puts_the_host_back() {
        assert!(matches!(heard(|mut s| s.write_all(b"disarm\n").unwrap()), Word::Disarm));
        assert!(matches!(heard(|mut s| s.write_all(b"back\n").unwrap()), Word::Back));
        assert!(matches!(heard(|mut s| s.write_all(b"disa").unwrap()), Word::Ended));
        assert!(matches!(heard(drop), Word::Ended));
        let (_open, other) = UnixStream::pair().unwrap();
        assert!(matches!(heard(move |s| std::mem::forget((s, other))), Word::Silence));
    }
}
