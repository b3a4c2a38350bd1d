//! The network of a node's pods.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use crate::{control_plane::ControlPlane, error::Error, janitor::RunDir, port::random, run};

/// A bridge with a network of its own.
#[derive(Debug)]
pub(super) struct Network {
    /// The bridge's name: at most 15 bytes (`IFNAMSIZ`).
    pub(super) bridge: String,
    second: u8,
    third: u8,
}

impl Network {
    /// Makes the bridge, and the way from pods to the API server: what goes to
    /// the Service `kubernetes` is turned to 127.0.0.1, where it listens.
    pub(super) fn make(
        dir: &RunDir,
        id: &str,
        control_plane: &ControlPlane,
    ) -> Result<Self, Error> {
        let network = Self::choose(id)?;
        let Self { bridge, .. } = &network;
        dir.undo(&format!("ip link delete {bridge}"))?;
        ip(&["link", "add", bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", network.address(1)), "dev", bridge])?;
        ip(&["link", "set", bridge, "up"])?;
        // Only so may what comes in by the bridge go to 127.0.0.1
        // (ip-sysctl.rst, `route_localnet`).
        let localnet = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
        fs::write(&localnet, "1").map_err(Error::io(format!("write {localnet}")))?;
        let service = control_plane.network().api_server();
        let target = format!("127.0.0.1:{}", control_plane.port());
        for chain in [format!("PREROUTING -i {bridge}"), "OUTPUT".to_owned()] {
            let rule = format!(
                "{chain} -d {service}/32 -p tcp --dport 443 -m comment --comment {bridge} \
                 -j DNAT --to-destination {target}"
            );
            dir.undo(&format!("iptables --wait -t nat -D {rule}"))?;
            let words = format!("--wait -t nat -A {rule}");
            run::output(Command::new("iptables").args(words.split_whitespace()))?;
        }
        Ok(network)
    }

    /// A network that no route of the machine mentions.
    fn choose(id: &str) -> Result<Self, Error> {
        let routes = ip(&["-4", "route", "show", "table", "all"])?;
        let bridge = format!("isw{id}");
        (0..256)
            .map(|_| {
                let [second, third, ..] = random().to_le_bytes();
                Self { bridge: bridge.clone(), second: 128 + second % 64, third }
            })
            .find(|network| !routes.contains(&format!("10.{}.{}.", network.second, network.third)))
            .ok_or_else(|| {
                Error::unavailable("a free network in 10.128.0.0/10", "remove some of its routes")
            })
    }

    /// The machine's address on the bridge.
    pub(super) fn gateway(&self) -> IpAddr {
        self.address(1).into()
    }

    /// All addresses of the network, as a prefix.
    pub(super) fn prefix(&self) -> String {
        format!("{}/24", self.address(0))
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, self.third, last)
    }
}

fn ip(arguments: &[&str]) -> Result<String, Error> {
    run::output(Command::new("ip").args(arguments))
}
