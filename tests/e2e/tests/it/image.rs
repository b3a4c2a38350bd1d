//! The program in its image. A statically linked program needs care to resolve names.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::Command,
    thread,
};

use anyhow::{Result, ensure};
use image_swap_e2e::{DEADLINE, Program, root};
use image_swap_testbed::{Product, Wait, loopback, until};

const BY_HOSTS: &str = "by-hosts.example";
const BY_DNS: &str = "by-dns.example";

/// The program connects to an API server of each name, as `nonroot` and with the files
/// of the image alone.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn program_resolves_names_by_hosts_and_dns() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::unpack(&Product::find(&root())?, &folder.path().join("root"))?;
    // `nonroot` has to reach the image.
    for path in [folder.path(), &program.root] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let (own, server) = (loopback(), loopback());
    let etc = program.root.join("etc");
    fs::write(etc.join("hosts"), format!("{own} {BY_HOSTS}\n"))?;
    fs::write(etc.join("resolv.conf"), format!("nameserver {server}\n"))?;
    answer_names(UdpSocket::bind((server, 53))?, own);
    let api_server = TcpListener::bind((own, 0))?;
    api_server.set_nonblocking(true)?;
    for name in [BY_HOSTS, BY_DNS] {
        let port = api_server.local_addr()?.port();
        fs::write(program.root.join("tmp/kubeconfig"), kubeconfig(name, port))?;
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg("--userspec=65532:65532").arg(&program.root);
        command.args(["/usr/bin/image-swap", "deregister", "--kubeconfig", "/tmp/kubeconfig"]);
        let mut child = command.args(["--namespace=a", "--name=a"]).spawn()?;
        // The listener speaks no TLS: the connection alone counts.
        until(&format!("a connection to {name}"), DEADLINE, || match api_server.accept() {
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

/// Answers each query for an address of [`BY_DNS`] with `address`, and any other query
/// with no record (RFC 1035, section 4).
fn answer_names(socket: UdpSocket, address: Ipv4Addr) {
    const QUESTION: usize = 12;
    let name: Vec<u8> = BY_DNS
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let for_address = [name.as_slice(), &[0, 1, 0, 1]].concat();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let known = query[QUESTION..length].starts_with(&for_address);
            let end = QUESTION + name.len() + 4;
            let mut answer = query[..end.min(length)].to_vec();
            // A response without error: one question, one answer or none.
            answer[2..QUESTION].copy_from_slice(&[0x81, 0x80, 0, 1, 0, known.into(), 0, 0, 0, 0]);
            if known {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                answer.extend(address.octets());
            }
            let _ = socket.send_to(&answer, client);
        }
    });
}
