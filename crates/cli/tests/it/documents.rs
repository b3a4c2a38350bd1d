//! Output of commands in documents, compared with the real one.

use std::{env, os::unix::fs::symlink, path::Path, process::Command};

use image_swap_testkit::{commands, documents};

use crate::run::root;

#[test]
fn documented_commands_print_the_documented_output() {
    let program = Path::new(env!("CARGO_BIN_EXE_image-swap")).parent().unwrap();
    let path = format!("{}:{}", program.display(), env::var("PATH").unwrap_or_default());
    // Commands write files beside the examples.
    let folder = tempfile::tempdir().unwrap();
    for name in ["docs", "examples"] {
        symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let mut count = 0;
    for (file, text) in documents(&root()).unwrap() {
        for command in commands(&text, "run") {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec 2>&1\n{}", command.text)]);
            let ran = shell.current_dir(folder.path()).env("PATH", &path).output().unwrap();
            let printed = String::from_utf8(ran.stdout).unwrap();
            let place = format!("{}:{}: {}", file.display(), command.line, command.text);
            assert!(ran.status.success(), "{place}\n{printed}");
            if let Some(shown) = command.difference(&printed) {
                panic!("{place}\nexpected {shown}\n{printed}");
            }
            count += 1;
        }
    }
    assert!(count >= 20, "{count} commands are marked as run");
}
