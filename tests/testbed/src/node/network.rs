//! The network between a node and the machine.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
};

use super::space::Space;
use crate::{control_plane::ControlPlane, error::Error, janitor::RunDir, port::random, run};

/// A link between the machine and the network namespace of a node.
///
/// | address | holder |
/// | --- | --- |
/// | `10.S.T.1` | the machine's end of the link |
/// | `10.S.T.2` | the node |
/// | `10.S.T.3` to `.126` | the machine: one for each loopback address that the node can reach |
/// | `10.S.T.129` | the bridge of the pods, in the node |
/// | `10.S.T.130` to `.254` | pods |
///
/// A node reaches the machine, the nodes that it is [joined](Network::join) with, and no
/// other network.
#[derive(Debug)]
pub(super) struct Network {
    /// The name of the machine's end: at most 15 bytes (`IFNAMSIZ`).
    link: String,
    second: u8,
    third: u8,
    /// Loopback addresses of the machine, and the addresses by which the node reaches
    /// them.
    exported: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

/// The last byte of each address.
const MACHINE: u8 = 1;
const NODE: u8 = 2;
const FIRST_EXPORTED: u8 = 3;
const PODS: u8 = 128;

impl Network {
    /// Chooses a network that no route of the machine mentions, and an address for each
    /// loopback address in `reached`.
    pub(super) fn choose(id: &str, reached: &[IpAddr]) -> Result<Self, Error> {
        let routes = ip(&["-4", "route", "show", "table", "all"])?;
        let link = format!("isw{id}");
        let mut network = (0..256)
            .map(|_| {
                let [second, third, ..] = random().to_le_bytes();
                let exported = BTreeMap::new();
                Self { link: link.clone(), second: 128 + second % 64, third, exported }
            })
            .find(|network| !routes.contains(&format!("10.{}.{}.", network.second, network.third)))
            .ok_or_else(|| {
                Error::unavailable("a free network in 10.128.0.0/10", "remove some of its routes")
            })?;
        for address in reached {
            if let IpAddr::V4(address) = address
                && address.is_loopback()
                && !network.exported.contains_key(address)
            {
                let next = u8::try_from(network.exported.len()).unwrap_or(u8::MAX);
                let own = network.address(FIRST_EXPORTED.saturating_add(next));
                network.exported.insert(*address, own);
            }
        }
        Ok(network)
    }

    /// Makes the link, the routes, and the ways to the machine's loopback addresses.
    /// `first` is the network of the cluster's first node, if that is another one: the
    /// machine reaches Services through it, and its address of the API server is published.
    pub(super) fn make(
        &self,
        dir: &RunDir,
        space: &Space,
        control_plane: &ControlPlane,
        first: Option<&Self>,
    ) -> Result<(), Error> {
        let Self { link, .. } = self;
        let services = control_plane.network().prefix();
        let (machine, node) = (self.machine().to_string(), self.node().to_string());
        dir.undo(&format!("ip link delete {link}"))?;
        let pid = space.pid().to_string();
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        ip(&["address", "add", &format!("{machine}/25"), "dev", link])?;
        for own in self.exported.values() {
            ip(&["address", "add", &format!("{own}/32"), "dev", link])?;
        }
        ip(&["link", "set", link, "up"])?;
        let set_up = format!(
            "set -e
             ip link set lo up
             ip address add {node}/25 dev eth0
             ip link set eth0 up
             ip route add {services} via {machine} dev eth0
             echo 1 > /proc/sys/net/ipv4/ip_forward"
        );
        space.run(&["sh", "-c", &set_up])?;
        ip(&["route", "add", &self.pods(), "via", &node, "dev", link])?;
        match first {
            None => drop(ip(&["route", "add", &services, "via", &node, "dev", link])?),
            Some(first) => {
                let server = format!("{}/32", first.machine());
                space.run(&["ip", "route", "add", &server, "via", &machine, "dev", "eth0"])?;
            }
        }
        // Packets from the link may then go to 127.0.0.0/8 (ip-sysctl.rst, `route_localnet`).
        let localnet = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
        fs::write(&localnet, "1").map_err(Error::io(format!("write {localnet}")))?;
        let port = control_plane.port();
        for server in [Some(self), first].into_iter().flatten() {
            let what = format!("-d {}/32 -p tcp --dport {port}", server.machine());
            self.redirect(dir, &what, Ipv4Addr::LOCALHOST)?;
        }
        for (loopback, own) in &self.exported {
            self.redirect(dir, &format!("-d {own}/32 -p tcp"), *loopback)?;
        }
        Ok(())
    }

    /// Links two nodes directly, so that each reaches the other and its pods. The link goes
    /// with either node.
    pub(super) fn join(&self, space: &Space, other: &Self, beside: &Space) -> Result<(), Error> {
        let pid = |space: &Space| space.pid().to_string();
        // Each end is named after the node at the other end.
        let (own_end, other_end) = (other.peer(), self.peer());
        let veth = ["type", "veth", "peer", "name", &other_end, "netns"];
        let own = ["link", "add", &own_end, "netns", &pid(space)];
        ip(&[&own[..], &veth[..], &[&pid(beside)]].concat())?;
        for (space, end, node, to) in
            [(space, own_end, self, other), (beside, other_end, other, self)]
        {
            let (node, far, pods) = (node.node(), to.node(), to.pods());
            let set_up = format!(
                "set -e
                 ip address add {node}/32 dev {end}
                 ip link set {end} up
                 ip route add {far}/32 dev {end} src {node}
                 ip route add {pods} via {far} dev {end} onlink"
            );
            space.run(&["sh", "-c", &set_up])?;
        }
        Ok(())
    }

    /// Returns the name of a link to this node: at most 15 bytes.
    fn peer(&self) -> String {
        format!("p{}", self.link)
    }

    /// Redirects packets of the node that match `what` to a loopback address.
    fn redirect(&self, dir: &RunDir, what: &str, to: Ipv4Addr) -> Result<(), Error> {
        let Self { link, .. } = self;
        let rule = format!(
            "PREROUTING -i {link} {what} -m comment --comment {link} -j DNAT --to-destination {to}"
        );
        dir.undo(&format!("iptables --wait -t nat -D {rule}"))?;
        let words = format!("--wait -t nat -A {rule}");
        run::output(Command::new("iptables").args(words.split_whitespace())).map(drop)
    }

    /// Returns the address by which the node reaches `address`.
    pub(super) fn seen(&self, address: IpAddr) -> IpAddr {
        let exported = |address| self.exported.get(&address).copied();
        match address {
            IpAddr::V4(v4) => exported(v4).map_or(address, IpAddr::V4),
            IpAddr::V6(_) => address,
        }
    }

    /// Returns the machine's address on the link.
    pub(super) const fn machine(&self) -> Ipv4Addr {
        self.address(MACHINE)
    }

    /// Returns the node's address.
    pub(super) const fn node(&self) -> Ipv4Addr {
        self.address(NODE)
    }

    /// Returns the network of the pods, as a prefix.
    pub(super) fn pods(&self) -> String {
        format!("{}/25", self.address(PODS))
    }

    const fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, self.third, last)
    }
}

fn ip(arguments: &[&str]) -> Result<String, Error> {
    run::output(Command::new("ip").args(arguments))
}
