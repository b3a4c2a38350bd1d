//! Where the SDK is: named by `HELM_PYTHON`, or installed once into a cache.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// The SDK, as pip names it.
const SDK: &str = "helm-python-sdk==0.2.2";

/// A Python that has the SDK, or what to do to get one.
pub(crate) fn python() -> Result<PathBuf, String> {
    if let Some(python) = env::var_os("HELM_PYTHON") {
        return Ok(python.into());
    }
    let cache = cache().ok_or("expected a home directory, found none: set XDG_CACHE_HOME")?;
    let home = cache.join(SDK.replace("==", "-"));
    let python = home.join("bin/python");
    installed(&cache, &home, &python)
        .map_err(|error| {
            format!(
                "expected {SDK} in {}, found: {error}\n\
                 It takes python3 with venv and pip (Debian: apt-get install python3-venv), or \
                 HELM_PYTHON, a Python that has it.",
                home.display()
            )
        })
        .map(|()| python)
}

fn cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("image-swap"))
}

/// Installs it if it is not there. Tests that run at the same time wait for the one that does.
fn installed(cache: &Path, home: &Path, python: &Path) -> io::Result<()> {
    // Written last: what is there is whole. The Python that it was made from may be gone.
    let done = home.join("installed");
    let is_there = || done.exists() && python.exists();
    if is_there() {
        return Ok(());
    }
    fs::create_dir_all(cache)?;
    let lock = File::create(cache.join("helm-python-sdk.lock"))?;
    lock.lock()?;
    if is_there() {
        return Ok(());
    }
    writeln!(io::stderr(), "installing {SDK} into {}, once", home.display())?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))?;
    run(Command::new(python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary=:all:",
        SDK,
    ]))?;
    File::create(&done)?.sync_all()
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    // Python says why on either.
    let told = [output.stdout, output.stderr].concat();
    Err(io::Error::other(String::from_utf8_lossy(&told).trim().to_owned()))
}
