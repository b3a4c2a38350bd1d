//! The command itself, on a host in a directory.

use std::{
    env,
    error::Error,
    fs,
    process::{Command, Stdio},
};

const RUNS: u32 = 50;
/// Linux counts the time of processes in hundredths of a second (`USER_HZ`).
const MS_A_TICK: f64 = 10.0;

const SECRET: &str = include_str!("../../../../examples/registry-secret.yaml");

/// Returns the CPU milliseconds of one `node plan` without changes, by the binary that `IMAGE_SWAP`
/// names. `None` if the variable is unset.
pub(crate) fn plan_unchanged(config: &str) -> Result<Option<f64>, Box<dyn Error>> {
    let Some(binary) = env::var_os("IMAGE_SWAP") else { return Ok(None) };
    let root = tempfile::tempdir()?;
    for directory in ["etc/containerd", "var/lib"] {
        fs::create_dir_all(root.path().join(directory))?;
    }
    fs::write(root.path().join("etc/containerd/config.toml"), config)?;
    let secret = root.path().join("registry-secret.yaml");
    fs::write(&secret, SECRET)?;
    let run = |verb: &str| -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(&binary);
        command.args(["node", verb, "--runtime", "containerd", "--root"]).arg(root.path());
        command.arg("--registry-info").arg(&secret);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("node {verb}: {status}").into()) }
    };
    run("apply")?;
    let before = ticks_of_children()?;
    for _ in 0..RUNS {
        run("plan")?;
    }
    Ok(Some((ticks_of_children()? - before) * MS_A_TICK / f64::from(RUNS)))
}

/// Returns the clock ticks of CPU that awaited child processes used (`cutime` and `cstime` of
/// proc(5)).
fn ticks_of_children() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program is in parentheses and may contain any character.
    let (_, fields) = stat.rsplit_once(") ").ok_or("expected a name in /proc/self/stat")?;
    let ticks = fields.split(' ').skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()?)
}
