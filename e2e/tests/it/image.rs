//! The image's files as the program sees them, which is linked statically: that
//! it finds names there is not a matter of course.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::Command,
    thread,
};

use anyhow::{Result, ensure};
use image_swap_e2e::{DEADLINE, Stage};
use image_swap_testbed::{Wait, loopback, until};

const BY_HOSTS: &str = "by-hosts.example";
const BY_DNS: &str = "by-dns.example";

/// The program calls for an API server of each name, as `nonroot` and with nothing
/// but the image's files.
pub(crate) fn finds_names_by_its_hosts_file_and_by_dns(stage: &Stage) -> Result<()> {
    stage.step("the image finds names by its hosts file and by DNS");
    let (own, server) = (loopback(), loopback());
    let etc = stage.program.root.join("etc");
    fs::write(etc.join("hosts"), format!("{own} {BY_HOSTS}\n"))?;
    fs::write(etc.join("resolv.conf"), format!("nameserver {server}\n"))?;
    answer_names(UdpSocket::bind((server, 53))?, own);
    let api_server = TcpListener::bind((own, 0))?;
    api_server.set_nonblocking(true)?;
    for name in [BY_HOSTS, BY_DNS] {
        let port = api_server.local_addr()?.port();
        fs::write(stage.program.root.join("tmp/kubeconfig"), kubeconfig(name, port))?;
        let mut program = Command::new("/usr/sbin/chroot");
        program.arg("--userspec=65532:65532").arg(&stage.program.root);
        program.args(["/usr/bin/image-swap", "leave", "--kubeconfig", "/tmp/kubeconfig"]);
        let mut child = program.args(["--namespace=a", "--name=a"]).spawn()?;
        // Nobody speaks TLS there: that it calls is all.
        until(&format!("a call for {name}"), DEADLINE, || match api_server.accept() {
            Ok(_) => Ok(()),
            Err(error) => Err(Wait::NotYet(error.to_string())),
        })?;
        ensure!(!child.wait()?.success(), "there is no API server at {name}");
    }
    Ok(())
}

fn kubeconfig(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{name: a, cluster: {{server: 'https://{name}:{port}'}}}}]\n\
         users: [{{name: a, user: {{token: a}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"
    )
}

/// Answers every question for an address of [`BY_DNS`] with `address`, and any
/// other with nothing (RFC 1035, section 4).
fn answer_names(socket: UdpSocket, address: Ipv4Addr) {
    const QUESTION: usize = 12;
    let name: Vec<u8> = BY_DNS
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let for_address = [name.as_slice(), &[0, 1, 0, 1]].concat();
    thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut asked) {
            let question = &asked[QUESTION..length];
            let known = question.starts_with(&for_address);
            let end = QUESTION + name.len() + 4;
            let mut answer = asked[..end.min(length)].to_vec();
            // An answer, without error; one question, one answer or none.
            answer[2..QUESTION].copy_from_slice(&[0x81, 0x80, 0, 1, 0, known.into(), 0, 0, 0, 0]);
            if known {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                answer.extend(address.octets());
            }
            let _ = socket.send_to(&answer, asker);
        }
    });
}
