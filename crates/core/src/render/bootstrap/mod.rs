//! A script that configures the containerd of a new machine before the machine joins a cluster.
//!
//! The script adds the files of [`CONTAINERD`] below the directory that `config_path` names, and
//! `config_path` itself where that takes one more file. It is POSIX, for dash, busybox and bash.
//! Templates of cloud-init, Go, Terraform and Flux leave it unchanged: it has none of
//! [`TEMPLATE_MARKS`].

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::{
    declaration::{Credential, Declaration},
    render::{CONTAINERD, Format, Options, Rendered, RenderedFile},
};

/// The script with names in place of its values.
const SCRIPT: &str = include_str!("script.sh");
/// The lines of the script that restart containerd by the service manager of the machine.
const RESTART: &str = "\
  if [ -d /run/systemd/system ]; then
    systemctl reset-failed containerd
    systemctl restart containerd
  else
    rc-service containerd restart || service containerd restart
  fi";
/// The line that ends a text in the script.
const END: &str = "END";
/// The name of the file that contains the certificates of authorities.
const CA: &str = "ca.crt";
/// The name of the script.
pub const NAME: &str = "bootstrap.sh";

/// The sequences that template languages interpret: jinja, which cloud-init runs on the user data
/// of Cluster API, Go templates, Terraform, and the `envsubst` of Flux and clusterctl.
pub const TEMPLATE_MARKS: [&str; 6] = ["{{", "{%", "{#", "${", "%{", "<%"];

/// The size in bytes above which a script takes a large part of the user data that clouds accept:
/// 16 KiB on Amazon EC2, which contains the data of kubeadm too.
pub const LARGE: usize = 8 * 1024;

/// The note on credentials that the script omits.
pub const NO_CREDENTIALS: &str = "user name and password are left out: the metadata service of a \
                                  machine shows them to its pods; the agent adds them after the \
                                  node has joined, and --show-credentials includes them";

/// Renders the script for `declaration`. Credentials are in it only with
/// [`Options::show_credentials`]. `restart` is a shell command that restarts containerd; `None`
/// uses the service manager of the machine.
pub fn bootstrap(declaration: &Declaration, options: Options, restart: Option<&str>) -> Rendered {
    let mut rendered = render_for_machine(&CONTAINERD, declaration, options);
    if !rendered.files.is_empty() {
        let secret = rendered.files.iter().any(|file| file.secret);
        let text = script(&rendered.files, restart);
        rendered.files = vec![RenderedFile { path: NAME.to_owned(), text, secret }];
    }
    rendered
}

/// Renders `declaration` in `format` for the user data of machines. Credentials are left out, not
/// redacted, without [`Options::show_credentials`].
pub(super) fn render_for_machine(
    format: &Format,
    declaration: &Declaration,
    options: Options,
) -> Rendered {
    let mut declared = declaration.clone();
    let registry = declared.registry.as_mut();
    let omitted = registry.filter(|it| !options.show_credentials && !it.username.is_empty());
    let has_omitted = omitted.is_some();
    if let Some(registry) = omitted {
        registry.username = Credential::default();
    }
    let mut rendered = format.render(&declared, options);
    if has_omitted {
        rendered.notes.push(NO_CREDENTIALS);
    }
    rendered
}

/// Returns true if `text` has a sequence that a template language interprets.
pub fn has_template_mark(text: &str) -> bool {
    TEMPLATE_MARKS.iter().any(|mark| text.contains(mark))
}

/// Returns the script that writes `files`.
fn script(files: &[RenderedFile], restart: Option<&str>) -> String {
    let restart = restart.map(|command| [" sh -c ", &word(command)].concat());
    let (hosts, authorities) = hosts(files);
    let mut script = String::new();
    for (number, line) in SCRIPT.lines().enumerate() {
        let code = line.trim_start();
        match code {
            "@RESTART@" => script.push_str(restart.as_deref().unwrap_or(RESTART)),
            "@HOSTS@" => script.push_str(&hosts),
            "@AUTHORITIES@" => script.push_str(&authorities),
            // The comments of the first lines describe the script to an administrator.
            _ if code.is_empty() || (code.starts_with('#') && number > 2) => continue,
            _ => {
                let indent = (line.len() - code.len()) / 2;
                let _ = write!(script, "{:indent$}{code}", "");
            }
        }
        script.push('\n');
    }
    script
}

/// Returns the lines that write the files of each host, and the functions that print the
/// certificates of authorities, which many hosts share.
fn hosts(files: &[RenderedFile]) -> (String, String) {
    let mut authorities: Vec<&str> = Vec::new();
    let mut hosts = String::new();
    for file in files {
        let Some((host, name)) = file.path.rsplit_once('/').filter(|(_, name)| *name != CA) else {
            continue;
        };
        let _ = write!(hosts, " begin {} && ", word(host));
        let ca = [host, "/", CA].concat();
        if let Some(RenderedFile { text, .. }) = files.iter().find(|file| file.path == ca) {
            let number = authorities.iter().position(|known| known == text).unwrap_or_else(|| {
                authorities.push(text);
                authorities.len() - 1
            });
            let _ = write!(hosts, "ca_{number} | put \"$dir/{CA}\" 644 \"$keep\" && ");
        }
        let mode = if file.secret { 600 } else { 644 };
        hosts += &with_input(&format!("put \"$dir/{name}\" {mode}"), &file.text);
    }
    let functions = authorities.iter().enumerate().map(|(number, text)| {
        let body = with_input("cat", text);
        format!("ca_{number}() {{\n {body}}}\n")
    });
    (hosts.trim_end().to_owned(), functions.collect::<String>().trim_end().to_owned())
}

/// Returns the lines that run `command` with `text` on its standard input.
fn with_input(command: &str, text: &str) -> String {
    let is_plain = |byte: u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    if text.bytes().all(is_plain)
        && text.ends_with('\n')
        && !has_template_mark(text)
        && text.lines().all(|line| line != END)
    {
        return format!("{command} <<'{END}'\n{text}{END}\n");
    }
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'\n' => escaped.push_str("\\n"),
            b' '..=b'~' if !b"'\\{}$%<#".contains(&byte) => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "\\0{byte:03o}");
            }
        }
    }
    format!("printf %b '{escaped}' | {command}\n")
}

/// Returns `text` as one word of a shell.
fn word(text: &str) -> String {
    ["'", &text.replace('\'', "'\\''"), "'"].concat()
}
