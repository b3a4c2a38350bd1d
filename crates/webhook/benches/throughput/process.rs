//! A server process: its addresses, CPU time and memory.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use image_swap_load::{Outcome, sample};

/// A server process, killed when the value drops.
pub(crate) struct Process {
    child: Child,
    /// The address for reviews, over TLS.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// Prints the server's addresses for the parent process.
pub(crate) fn announce(address: SocketAddr, admin: SocketAddr) {
    println!("{address} {admin}");
}

impl Process {
    /// Starts `binary`, which prints its addresses by [`announce`].
    pub(crate) fn start(binary: &Path, arguments: &[&OsStr]) -> Outcome<Self> {
        let mut child = Command::new(binary).args(arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (address, admin) = line.trim().split_once(' ').ok_or("no announcement")?;
        Ok(Self { address: address.parse()?, admin: admin.parse()?, child })
    }

    /// Starts the `image-swap` at `binary`.
    pub(crate) fn start_binary(binary: &Path, directory: &Path) -> Outcome<Self> {
        let mut child = Command::new(binary)
            .args(["webhook", "--mirrors", sample::RULES])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .arg("--certificate-dir")
            .arg(directory)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut printed = |label: &str| -> Outcome<SocketAddr> {
            for line in lines.by_ref() {
                if let Some(url) = line?.strip_prefix(label) {
                    let server = url.split('/').next().unwrap_or_default();
                    return Ok(server.replace("localhost", "127.0.0.1").parse()?);
                }
            }
            Err(format!("expected a line with {label}, found none").into())
        };
        let address = printed("listening on https://")?;
        let admin = printed("probes and metrics: http://")?;
        // A full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, admin })
    }

    /// Returns true if `/readyz` reports readiness.
    pub(crate) fn is_ready(&self) -> Outcome<bool> {
        Ok(self.get("/readyz")?.starts_with("HTTP/1.1 200 "))
    }

    /// Returns the mean duration of a review in seconds, from the server's metrics.
    pub(crate) fn mean_admission(&self) -> Outcome<f64> {
        let metrics = self.get("/metrics")?;
        let value = |name: &str| -> Outcome<f64> {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name));
            Ok(found.ok_or(format!("no {name}"))?.trim().parse()?)
        };
        Ok(value("image_swap_admission_duration_seconds_sum")?
            / value("image_swap_admission_duration_seconds_count")?)
    }

    fn get(&self, path: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Returns the CPU time of the process in seconds: `utime` and `stime` of proc(5), in ticks
    /// of 10 ms.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the name, in parentheses, and may hold anything.
        let fields = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / 100.0)
    }

    /// Returns the peak of the process's resident memory, in MiB.
    pub(crate) fn peak_mib(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
